"""`InEventTime`: logic over several inputs, record by record, in event time, with timers."""

import heapq
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from typing_extensions import override

from streamrec.connectors.log import Headers
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.packed import unpack
from streamrec.dataflows.job.topics import Topic
from streamrec.dataflows.job.values import KeyedValues
from streamrec.dataflows.steps.decode_records import reader_of
from streamrec.dataflows.steps.held import Original, Output, TimedRecord, Timer
from streamrec.dataflows.steps.timed_rows import (
    AFTER,
    AT,
    LOG,
    OFFSET,
    PARTITION,
    TIME,
    TIMER,
    TOPIC,
    WHAT,
    TimedRows,
    spans_of,
    written_headers,
)
from streamrec.schemas.columns import Bytes, strings
from streamrec.schemas.hashing import hash128
from streamrec.schemas.placing import keys_of
from streamrec.schemas.row_values import plain_rows

if TYPE_CHECKING:  # steps run without the engine, which a job wires
    from streamrec.dataflows.job.job import Job

Said = Iterable[Output | Failed]


class InEventTime(TimedRows):
    """One shard. Write `on_record` and `on_timer`; wire it as `job.keep(lambda: MyStep(job))`.

    Time is event time, as records and ticks tell it (docs/delivery.md, "What time it is"): a record
    is called when the newest one is `late_ms` ahead of it, or as much has passed without any. One
    that comes later than that fails as `too_late`. Records of a time come before timers of it, and
    by topic, partition and offset among themselves; a timer asked for the past is called at once.
    Nothing that a call needs may come from anywhere else (no clock, no chance).

    `values` keeps plain values by key. At most `max_bytes` are held of records and timers (with the
    originals of their records, for `errors`): the last that come beyond that fail as `state_full`.
    A record and a timer take some 10 us together, and 200 bytes and their own each while they are
    held; `TimedRows` does the same in kernels, at a third of that or less.

        class Remind(InEventTime):
            def on_record(self, record):
                self.call(record, record.time_ms + HOUR_MS, "remind")
                return ()

            def on_timer(self, timer):
                yield timer.record.output(MAILS, user_id=timer.record.key)
    """

    texts: ClassVar[tuple[str, ...]] = ("name",)  # of a timer

    def __init__(self, job: "Job", late_ms: int = 10_000, max_bytes: int = 512 * 1024**2) -> None:
        super().__init__(job, late_ms, max_bytes)
        self.values = KeyedValues()
        self.now_ms = 0  # of the call at hand
        self._decoders = [job.decoder(topic) for topic in job.sources]
        self._readers = [reader_of(topic) for topic in job.sources]
        # While calls are made:
        self._until_ms = 0
        self._asked: dict[str, dict[int, Timer]] = {}  # by key and a number, not called yet
        self._soon: list[tuple[Any, ...]] = []  # a heap of those that are called before it ends
        self._gone: set[int] = set()  # slots of what was called or cancelled
        self._count = 0

    def on_record(self, record: TimedRecord) -> Said:
        """A record's time has come. Returns or yields its outputs and failures."""
        raise NotImplementedError

    def on_timer(self, timer: Timer) -> Said:
        """The time of a call that was asked for."""
        raise NotImplementedError

    def call(self, record: TimedRecord, at_ms: int, name: str) -> None:
        """Ask for `on_timer` at an event time; the record is kept for it until then. Raises
        TypeError for a time that is no whole number."""
        if not isinstance(record.original, Original):
            raise ValueError(f"a call expected a record that is at hand, got {record}")
        # A fraction would be lost when the timer is saved, and another time be told after that.
        timer = Timer(name, max(operator.index(at_ms), self.now_ms), record)
        self._count += 1
        if timer.at_ms < self._until_ms:
            place = self._place(record)
            heapq.heappush(self._soon, (timer.at_ms, True, *place, self._count, record.key))
        self._asked.setdefault(record.key, {})[self._count] = timer

    def cancel(self, key: str, name: str | None = None) -> None:
        """Forget the timers of a key, or those of one name. Costs some 20 us."""
        asked = self._asked.get(key, {})
        for count in [c for c, timer in asked.items() if name in (None, timer.name)]:
            del asked[count]
        self._gone.update(self._timer_slots(key, name))

    def earlier(self, topic: Topic, partition: int, offset: int, key: str) -> TimedRecord:
        """A record whose time has been, to say more of it: without its value. Should that fail, its
        original is looked for among the timers of its key."""
        name = self.topics[self._sources.index(topic)]
        return TimedRecord(name, partition, offset, key, self.now_ms, None, self._find, topic)

    def _find(self, record: TimedRecord) -> Original | None:
        for timer in self.timers_of(record.key):
            found = timer.record
            if found[:3] == record[:3] and isinstance(found.original, Original):
                return found.original
        return None

    def timers_of(self, key: str, name: str | None = None) -> list[Timer]:
        """The timers of a key that were asked for and not called or cancelled yet, or those of one
        name; in order of time. Costs half a millisecond."""
        slots = np.array(self._timer_slots(key, name), np.int64)
        names = _texts(self.rows.part("name", slots))
        times_ms = self.rows.words[slots, AT].tolist()
        records = self._with_values(slots)
        found = [Timer(*each) for each in zip(names, times_ms, records, strict=True)]
        found += [t for t in self._asked.get(key, {}).values() if name in (None, t.name)]
        return sorted(found, key=lambda timer: (timer.at_ms, *self._place(timer.record)))

    def _timer_slots(self, key: str, name: str | None) -> list[int]:
        """Rows of timers that are held and were not called or cancelled."""
        low, high = hash128(strings([key]))[0].tolist()
        slots = self.rows.of_key(high, low)
        slots = slots[self.rows.words[slots, WHAT] == TIMER]
        found: list[int] = slots.tolist()
        if name is not None:
            names = _texts(self.rows.part("name", slots))
            found = [slot for slot, own in zip(found, names, strict=True) if own == name]
        return [slot for slot in found if slot not in self._gone]

    @override
    def restore(self, tables: Sequence[pa.Table], facts: dict[str, Any]) -> None:
        super().restore(tables, facts)
        self.values.restore(unpack(tables, "values"))

    @override
    def _parts(self, whole: bool) -> dict[str, pa.Table]:
        return {**super()._parts(whole), "values": self.values.changed(whole)}

    @override
    def run(self, until_ms: int) -> Iterator[Output | Failed]:
        """What is due before a time, in order, and what is asked for meanwhile."""
        slots = self.rows.due(until_ms)
        self._until_ms = until_ms
        words = self.rows.words[slots]
        names = _texts(self.rows.part("name", slots))
        records = self._with_values(slots)
        columns = [words[:, column].tolist() for column in (WHAT, AT, TOPIC)]
        for slot, what, at_ms, topic, name, record in zip(
            slots.tolist(), *columns, names, records, strict=True
        ):
            if self._soon:
                place = (at_ms, what == TIMER, topic, record.partition, record.offset)
                while self._soon and self._soon[0][: len(place)] < place:
                    yield from self._call_first()
            if slot in self._gone:
                continue
            self._gone.add(slot)
            self.now_ms = at_ms
            if what == TIMER:
                yield from self.on_timer(Timer(name, at_ms, record))
            else:
                yield from self.on_record(record)
        while self._soon:
            yield from self._call_first()
        self._until_ms = 0
        gone = np.array(sorted(self._gone), np.int64)
        self._gone.clear()
        self.let_go(gone)
        self._add_timers()

    def _call_first(self) -> Iterator[Output | Failed]:
        *_, count, key = heapq.heappop(self._soon)
        timer = self._asked.get(key, {}).pop(count, None)
        if timer is not None:  # else it was cancelled
            self.now_ms = timer.at_ms
            yield from self.on_timer(timer)

    def _add_timers(self) -> None:
        """Those that were asked for and are not due yet."""
        timers = [timer for of_key in self._asked.values() for timer in of_key.values()]
        self._asked.clear()
        if not timers:
            return
        n, records = len(timers), [timer.record for timer in timers]
        topics = [self.topics.index(record.topic) for record in records]
        words = np.zeros((n, self.rows.words.shape[1]), np.int64)
        words[:, WHAT], words[:, TOPIC], words[:, AFTER] = TIMER, topics, -1
        words[:, PARTITION] = [record.partition for record in records]
        words[:, OFFSET] = [record.offset for record in records]
        words[:, TIME] = [record.time_ms for record in records]
        originals = [cast("Original", record.original) for record in records]
        words[:, LOG] = [original.timestamp_ms for original in originals]
        words[:, AT] = [timer.at_ms for timer in timers]
        order = np.ones((n, 4), np.int64)
        order[:, 1:] = words[:, [TOPIC, PARTITION, OFFSET]]
        keys = strings([record.key for record in records])
        parts = {
            "shard_key": keys,
            "key": strings([original.key for original in originals]),
            "value": strings([original.value for original in originals]),
            "name": strings([timer.name for timer in timers]),
        }
        if any(original.headers for original in originals):
            parts["headers"] = strings(
                [written_headers(original.headers) for original in originals]
            )
        at_ms = np.ascontiguousarray(words[:, AT])
        slots = self.rows.add(hash128(keys), at_ms, order, words, parts)
        self._held_bytes += int(self._sizes(slots).sum())

    def _place(self, record: TimedRecord) -> tuple[int, int, int]:
        return self.topics.index(record.topic), record.partition, record.offset

    def _with_values(self, slots: NDArray[np.int64]) -> list[TimedRecord]:
        """The records of rows, with what they say."""
        if not len(slots):
            return []
        topics = self.rows.words[slots, TOPIC].tolist()
        raw = spans_of(self.rows.part("value", slots))
        headers = self.headers_at(slots)
        said: list[Any] = [None] * len(slots)
        for topic in set(topics):
            own = [row for row, each in enumerate(topics) if each == topic]
            for row, value in zip(own, self._values(topic, own, raw, headers), strict=True):
                said[row] = value
        return self.records_at(slots, said)

    def _values(
        self, topic: int, own: list[int], raw: list[bytes | None], headers: Sequence[Headers]
    ) -> list[Any]:
        decoded = self._decoders[topic]().decode(
            [raw[row] for row in own], lambda row: headers[own[row]]
        )
        if decoded.failures:  # it was read when it came, so what says how has gone
            failure = decoded.failures[0]
            raise RuntimeError(
                f"a record of topic {self.topics[topic]!r} that is held expected to be readable "
                f"as it was, got {failure.message}"
            )
        return plain_rows(self._readers[topic], decoded.columns, len(own))


def _texts(column: Bytes) -> list[str]:
    return [(each or b"").decode() for each in keys_of(column)]


__all__ = ["InEventTime"]
