"""`InEventTime`: logic over several inputs that goes record by record, in event time, with timers.

What comes between two ticks is taken in together, whatever order it came in, and then called for in
the order of event time. So what is said follows from the records and the ticks, in every run.
"""

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamrec.connectors.log import Headers
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.packed import pack, unpack
from streamrec.dataflows.job.topics import Topic
from streamrec.dataflows.job.values import KeyedValues
from streamrec.dataflows.steps.decode_records import reader_of
from streamrec.dataflows.steps.event_clock import EventClock
from streamrec.dataflows.steps.held import Original, Output, Record, Timer
from streamrec.dataflows.steps.records import ShardRecords, ShardTicks
from streamrec.models.keyed.kernels import HIGH, LOW
from streamrec.models.keyed.rows import NEVER_MS, KeyedRows
from streamrec.schemas.columns import Bytes, strings, take
from streamrec.schemas.hashing import hash128
from streamrec.schemas.placing import keys_of
from streamrec.schemas.reasons import Reason
from streamrec.schemas.row_values import plain_rows

if TYPE_CHECKING:  # steps run without the engine, which a job wires
    from streamrec.dataflows.job.job import Job

# What a row is: a record that has come since the last tick, one that waits for its time, a timer.
_ARRIVED, _WAITS, _TIMER = range(3)
# at_ms: when it is called. after: of one that has come, the last tick of its lane.
_WORDS = ("what", "topic", "partition", "offset", "time_ms", "log_ms", "at_ms", "after")
_WHAT, _TOPIC, _PARTITION, _OFFSET, _TIME, _LOG, _AT, _AFTER = range(len(_WORDS))
_PARTS = ("shard_key", "key", "value", "headers", "name")
_ROW_BYTES = 200  # of a row, beside its parts

Said = Iterable[Output | Failed]


class _Tick(NamedTuple):
    number: int
    time_ms: int


class InEventTime:
    """One shard. Write `on_record` and `on_timer`; wire it as `job.keep(lambda: MyStep(job))`.

    Time is event time, as records and ticks tell it (docs/delivery.md, "What time it is"): a record
    is called when the newest one is `late_ms` ahead of it, or as much has passed without any. One
    that comes later than that fails as `too_late`. Records of a time come before timers of it, and
    by topic, partition and offset among themselves; a timer asked for the past is called at once.
    Nothing that a call needs may come from anywhere else (no clock, no chance).

    `values` keeps plain values by key. At most `max_bytes` are held of records and timers (with the
    originals of their records, for `errors`): the last that come beyond that fail as `state_full`.
    Some 2 us a record and 1 us a timer in memory of 200 bytes and their own each.

        class Remind(InEventTime):
            def on_record(self, record):
                self.call(record, record.time_ms + HOUR_MS, "remind")
                return ()

            def on_timer(self, timer):
                yield timer.record.output(MAILS, user_id=timer.record.key)
    """

    def __init__(self, job: "Job", late_ms: int = 10_000, max_bytes: int = 512 * 1024**2) -> None:
        self.values = KeyedValues()
        self.now_ms = 0  # of the call at hand
        self.tick = -1  # the number of the tick that is being taken in
        self._late_ms = late_ms
        self._max_bytes = max_bytes
        self._topics = job.inputs
        self._sources = job.sources
        self._lanes = job.settings.lanes
        self._decoders = [job.decoder(topic) for topic in job.sources]
        self._readers = [reader_of(topic) for topic in job.sources]
        self._rows = KeyedRows(_WORDS, _PARTS)
        self._clock = EventClock(late_ms)
        self._reached: dict[tuple[str, int], int] = {}  # by topic and lane, its last tick
        self._ticks: list[_Tick] = []  # that not all lanes have come to
        self._newest_tick = -1
        self._arrived: list[NDArray[np.int64]] | None = []  # slots; None: to be looked up
        self._held_bytes = 0  # of what was taken in
        # While calls are made:
        self._until_ms = 0
        self._asked: dict[str, dict[int, Timer]] = {}  # by key and a number, not called yet
        self._soon: list[tuple[Any, ...]] = []  # a heap of those that are called before it ends
        self._gone: set[int] = set()  # slots of what was called or cancelled
        self._count = 0

    def on_record(self, record: Record) -> Said:
        """A record's time has come. Returns or yields its outputs and failures."""
        raise NotImplementedError

    def on_timer(self, timer: Timer) -> Said:
        """The time of a call that was asked for."""
        raise NotImplementedError

    def call(self, record: Record, at_ms: int, name: str) -> None:
        """Ask for `on_timer` at an event time; the record is kept for it until then."""
        if not isinstance(record.original, Original):
            raise ValueError(f"a call expected a record that is at hand, got {record}")
        timer = Timer(name, max(at_ms, self.now_ms), record)
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

    def earlier(self, topic: Topic, partition: int, offset: int, key: str) -> Record:
        """A record whose time has been, to say more of it: without its value. Should that fail, its
        original is looked for among the timers of its key."""
        name = self._topics[self._sources.index(topic)]
        return Record(name, partition, offset, key, self.now_ms, None, self._find)

    def _find(self, record: Record) -> Original | None:
        for timer in self.timers_of(record.key):
            found = timer.record
            if found[:3] == record[:3] and isinstance(found.original, Original):
                return found.original
        return None

    def timers_of(self, key: str, name: str | None = None) -> list[Timer]:
        """The timers of a key that were asked for and not called or cancelled yet, or those of one
        name; in order of time. Costs half a millisecond."""
        slots = np.array(self._timer_slots(key, name), np.int64)
        names = _texts(self._rows.part("name", slots))
        times_ms = self._rows.words[slots, _AT].tolist()
        records = self._records(slots, with_values=True)
        found = [Timer(*each) for each in zip(names, times_ms, records, strict=True)]
        found += [t for t in self._asked.get(key, {}).values() if name in (None, t.name)]
        return sorted(found, key=lambda timer: (timer.at_ms, *self._place(timer.record)))

    def _timer_slots(self, key: str, name: str | None) -> list[int]:
        """Rows of timers that are held and were not called or cancelled."""
        low, high = hash128(strings([key]))[0].tolist()
        slots = self._rows.of_key(high, low)
        slots = slots[self._rows.words[slots, _WHAT] == _TIMER]
        found: list[int] = slots.tolist()
        if name is not None:
            names = _texts(self._rows.part("name", slots))
            found = [slot for slot, own in zip(found, names, strict=True) if own == name]
        return [slot for slot in found if slot not in self._gone]

    # What `job.keep` asks for.

    def update(self, items: list[ShardRecords | ShardTicks]) -> list[Output | Failed]:
        """Take in what has come; when all lanes have come to a tick, call what is due."""
        out: list[Output | Failed] = []
        is_tick = False
        for item in items:
            if isinstance(item, ShardRecords):
                self._arrive(item)
                continue
            is_tick = True
            for tick in item.ticks:
                self._reached[tick.topic, tick.lane] = tick.number
                if tick.number > self._newest_tick:
                    self._newest_tick = tick.number
                    self._ticks.append(_Tick(tick.number, tick.time_ms))
        if is_tick and len(self._reached) == self._lanes * len(self._topics):
            done = min(self._reached.values())
            while self._ticks and self._ticks[0].number <= done:
                out += self._take_in(self._ticks.pop(0))
        return out

    def changed(self, whole: bool) -> tuple[pa.Table, dict[str, Any]]:
        """What changed since the last call, or all, and small facts."""
        table = pack({"rows": self._rows.changed(whole), "values": self.values.changed(whole)})
        self._arrived = None  # slots may be others now
        return table, {
            "late_ms": self._late_ms,
            "topics": list(self._topics),
            "reached": [[*place, number] for place, number in sorted(self._reached.items())],
            "ticks": [list(tick) for tick in self._ticks],
            "newest_tick": self._newest_tick,
            "tick": self.tick,
            "held_bytes": self._held_bytes,
            "clock": self._clock.facts(),
        }

    def restore(self, tables: Sequence[pa.Table], facts: dict[str, Any]) -> None:
        """Become the shard that said this. Raises ValueError for saved inputs that are gone."""
        self._rows.restore(unpack(tables, "rows"))
        self.values.restore(unpack(tables, "values"))
        gone = [topic for topic in facts["topics"] if topic not in self._topics]
        if gone:
            raise ValueError(
                f"saved state expected the inputs {', '.join(facts['topics'])}, got "
                f"{', '.join(self._topics)}; what is held of {gone[0]} has no other place"
            )
        # Topics may be read in another order now.
        numbers = np.array([self._topics.index(topic) for topic in facts["topics"]], np.int64)
        if numbers.tolist() != list(range(len(numbers))):
            held = np.flatnonzero(self._rows.rows.state)
            own = self._rows.words[held, _TOPIC]
            self._rows.words[held, _TOPIC] = numbers[own]
            self._rows.note_changed(held)
        self._reached = {(topic, lane): number for topic, lane, number in facts["reached"]}
        self._ticks = [_Tick(*tick) for tick in facts["ticks"]]
        self._newest_tick, self.tick = facts["newest_tick"], facts["tick"]
        self._held_bytes = facts["held_bytes"]
        self._clock.restore(facts["clock"])
        self._arrived = None

    # In between.

    def _arrive(self, item: ShardRecords) -> None:
        batch, rows = item.batch, item.rows
        n = len(rows)
        keys = take(batch.keys, rows)
        originals = batch.origins.originals(batch.origin_rows[rows])
        after = np.array(
            [self._reached.get((batch.topic, lane), -1) for lane in range(self._lanes)], np.int64
        )
        partitions = batch.partitions[rows]
        words = np.empty((n, len(_WORDS)), np.int64)
        words[:, _WHAT] = _ARRIVED
        words[:, _TOPIC] = self._topics.index(batch.topic)
        words[:, _PARTITION], words[:, _OFFSET] = partitions, batch.offsets[rows]
        words[:, _TIME] = words[:, _AT] = batch.times_ms[rows]
        words[:, _LOG] = [detail.timestamp_ms for _, detail in originals]
        words[:, _AFTER] = after[partitions % self._lanes]
        order = np.zeros((n, 4), np.int64)
        order[:, 1:] = words[:, [_TOPIC, _PARTITION, _OFFSET]]
        parts = {
            "shard_key": keys,
            "key": strings([detail.key for _, detail in originals]),
            "value": strings([value for value, _ in originals]),
        }
        if any(detail.headers for _, detail in originals):
            parts["headers"] = strings([_written(detail.headers) for _, detail in originals])
        slots = self._rows.add(hash128(keys), np.full(n, NEVER_MS), order, words, parts)
        if self._arrived is not None:
            self._arrived.append(slots)

    def _take_in(self, tick: _Tick) -> Iterator[Output | Failed]:
        """All that comes before a tick, and what is due by then."""
        self.tick = tick.number
        slots = self._come_before(tick)
        words = self._rows.words[slots]
        order = np.lexsort(
            (words[:, _OFFSET], words[:, _PARTITION], words[:, _TOPIC], words[:, _TIME])
        )
        slots, times_ms = slots[order], words[order, _TIME]
        earliest_ms = self._clock.now_ms - self._late_ms
        late = times_ms < earliest_ms
        if late.any():
            yield from self._refuse(
                slots[late],
                Reason.TOO_LATE,
                f"event time expected at least {earliest_ms} (the time of the shard at the last "
                f"tick less {self._late_ms} ms), got {{time_ms}}",
            )
            slots, times_ms = slots[~late], times_ms[~late]
        sizes = self._sizes(slots)
        full = self._held_bytes + np.cumsum(sizes) > self._max_bytes
        if full.any():
            yield from self._refuse(
                slots[full],
                Reason.STATE_FULL,
                f"what a shard holds expected at most {self._max_bytes} bytes, got more with this "
                "record",
            )
            slots, times_ms, sizes = slots[~full], times_ms[~full], sizes[~full]
        self._held_bytes += int(sizes.sum())
        self._rows.words[slots, _WHAT] = _WAITS
        self._rows.set_due(slots, times_ms)
        hashes = self._rows.rows.fixed[slots][:, [HIGH, LOW]]
        for time_ms, high, low in self._clock.move(times_ms, hashes, tick.time_ms):
            yield from self._refute(time_ms, high, low)
        yield from self._call_all(self._clock.now_ms - self._late_ms)

    def _come_before(self, tick: _Tick) -> NDArray[np.int64]:
        """Slots of the records that do; the others stay."""
        rows = self._rows
        if self._arrived is None:
            held = np.flatnonzero(rows.rows.state)
            self._arrived = [held[rows.words[held, _WHAT] == _ARRIVED]]
        arrived = np.concatenate([np.zeros(0, np.int64), *self._arrived])
        is_before = rows.words[arrived, _AFTER] < tick.number
        self._arrived = [arrived[~is_before]]
        before: NDArray[np.int64] = arrived[is_before]
        return before

    def _sizes(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes of rows (n,), as they count against the bound."""
        spans = self._rows.rows.spans[slots]
        sizes: NDArray[np.int64] = np.maximum(spans[:, 1::2], 0).sum(axis=1)
        return sizes + _ROW_BYTES

    def _refuse(self, slots: NDArray[np.int64], reason: Reason, message: str) -> Iterator[Failed]:
        for record in self._records(slots, with_values=False):
            yield record.fail(reason, message.format(time_ms=record.time_ms))
        self._rows.remove(slots)

    def _refute(self, time_ms: int, high: int, low: int) -> Iterator[Failed]:
        """A key's time that others do not bear out: what waits for it would wait for ever."""
        slots = self._rows.of_key(high, low)
        words = self._rows.words[slots]
        slots = slots[(words[:, _WHAT] == _WAITS) & (words[:, _TIME] == time_ms)]
        self._held_bytes -= int(self._sizes(slots).sum())
        yield from self._refuse(
            slots,
            Reason.INVALID_VALUE,
            "event time expected one that other keys bear out, got {time_ms}, far ahead of them",
        )

    def _call_all(self, until_ms: int) -> Iterator[Output | Failed]:
        """What is due before a time, in order, and what is asked for meanwhile."""
        slots = self._rows.due(until_ms)
        self._until_ms = until_ms
        words = self._rows.words[slots]
        names = _texts(self._rows.part("name", slots))
        records = self._records(slots, with_values=True)
        columns = [words[:, column].tolist() for column in (_WHAT, _AT, _TOPIC)]
        for slot, what, at_ms, topic, name, record in zip(
            slots.tolist(), *columns, names, records, strict=True
        ):
            if self._soon:
                place = (at_ms, what == _TIMER, topic, record.partition, record.offset)
                while self._soon and self._soon[0][: len(place)] < place:
                    yield from self._call_first()
            if slot in self._gone:
                continue
            self._gone.add(slot)
            self.now_ms = at_ms
            if what == _TIMER:
                yield from self.on_timer(Timer(name, at_ms, record))
            else:
                yield from self.on_record(record)
        while self._soon:
            yield from self._call_first()
        self._until_ms = 0
        gone = np.array(sorted(self._gone), np.int64)
        self._gone.clear()
        self._held_bytes -= int(self._sizes(gone).sum())
        self._rows.remove(gone)
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
        topics = [self._topics.index(record.topic) for record in records]
        words = np.empty((n, len(_WORDS)), np.int64)
        words[:, _WHAT], words[:, _TOPIC], words[:, _AFTER] = _TIMER, topics, -1
        words[:, _PARTITION] = [record.partition for record in records]
        words[:, _OFFSET] = [record.offset for record in records]
        words[:, _TIME] = [record.time_ms for record in records]
        originals = [cast("Original", record.original) for record in records]
        words[:, _LOG] = [original.timestamp_ms for original in originals]
        words[:, _AT] = [timer.at_ms for timer in timers]
        order = np.ones((n, 4), np.int64)
        order[:, 1:] = words[:, [_TOPIC, _PARTITION, _OFFSET]]
        keys = strings([record.key for record in records])
        parts = {
            "shard_key": keys,
            "key": strings([original.key for original in originals]),
            "value": strings([original.value for original in originals]),
            "name": strings([timer.name for timer in timers]),
        }
        if any(original.headers for original in originals):
            parts["headers"] = strings([_written(original.headers) for original in originals])
        at_ms = np.ascontiguousarray(words[:, _AT])
        slots = self._rows.add(hash128(keys), at_ms, order, words, parts)
        self._held_bytes += int(self._sizes(slots).sum())

    def _place(self, record: Record) -> tuple[int, int, int]:
        return self._topics.index(record.topic), record.partition, record.offset

    def _records(self, slots: NDArray[np.int64], with_values: bool) -> list[Record]:
        """The records of rows; `with_values` False: without what they say."""
        if not len(slots):
            return []
        words = self._rows.words[slots]
        topics = words[:, _TOPIC].tolist()
        shard_keys, keys, values, headers = (
            _spans(self._rows.part(name, slots)) for name in _PARTS[:4]
        )
        carried = [_read(each) for each in headers]
        said: list[Any] = [None] * len(slots)
        if with_values:
            for topic in set(topics):
                own = [row for row, each in enumerate(topics) if each == topic]
                for row, value in zip(own, self._values(topic, own, values, carried), strict=True):
                    said[row] = value
        columns = [words[:, c].tolist() for c in (_PARTITION, _OFFSET, _TIME, _LOG)]
        originals = map(Original, keys, values, carried, columns.pop())
        texts = [(each or b"").decode(errors="replace") for each in shard_keys]
        places, times_ms = zip(topics, *columns[:2], strict=True), columns[2]
        return [
            Record(self._topics[topic], partition, offset, key, time_ms, value, original)
            for (topic, partition, offset), key, time_ms, value, original in zip(
                places, texts, times_ms, said, originals, strict=True
            )
        ]

    def _values(
        self, topic: int, own: list[int], raw: list[bytes | None], headers: list[Headers]
    ) -> list[Any]:
        decoded = self._decoders[topic]().decode(
            [raw[row] for row in own], lambda row: headers[own[row]]
        )
        if decoded.failures:  # it was read when it came, so what says how has gone
            failure = decoded.failures[0]
            raise RuntimeError(
                f"a record of topic {self._topics[topic]!r} that is held expected to be readable "
                f"as it was, got {failure.message}"
            )
        return plain_rows(self._readers[topic], decoded.columns, len(own))


def _written(headers: Headers) -> bytes | None:
    """As JSON; None: there are none."""
    if not headers:
        return None
    return json.dumps([(name, None if v is None else v.hex()) for name, v in headers]).encode()


def _read(written: bytes | None) -> Headers:
    if not written:
        return []
    return [(name, None if v is None else bytes.fromhex(v)) for name, v in json.loads(written)]


def _spans(column: Bytes) -> list[bytes | None]:
    """A column's values, None where it is null."""
    found = keys_of(column)
    if column.valid is not None:
        found = [
            each if valid else None
            for each, valid in zip(found, column.valid.tolist(), strict=True)
        ]
    return found


def _texts(column: Bytes) -> list[str]:
    return [(each or b"").decode() for each in keys_of(column)]


__all__ = ["InEventTime"]
