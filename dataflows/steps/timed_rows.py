"""Records of several inputs that a shard holds until their time has come.

What comes between two ticks is taken in together, whatever order it came in, and then called for in
the order of event time. So what is said follows from the records and the ticks, in every run.
`InEventTime` calls for it record by record, `TimedRows` by a kernel of the step's own.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamrec.connectors.log import Headers
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.packed import pack, unpack
from streamrec.dataflows.job.topics import Topic
from streamrec.dataflows.steps.event_clock import EventClock
from streamrec.dataflows.steps.held import Original, TimedRecord
from streamrec.dataflows.steps.records import RecordBatch, ShardRecords, ShardTicks
from streamrec.models.keyed.kernels import HIGH, LOW
from streamrec.models.keyed.rows import NEVER_MS, KeyedRows
from streamrec.schemas.columns import Bytes, Numbers, strings, take
from streamrec.schemas.hashing import hash128
from streamrec.schemas.placing import keys_of
from streamrec.schemas.reasons import Reason

if TYPE_CHECKING:  # steps run without the engine, which a job wires
    from streamrec.dataflows.job.job import Job

# What a row is: a record that has come since the last tick, one that waits for its time, a timer;
# what stands behind these is the step's own.
ARRIVED, WAITS, TIMER, OWN = range(4)
KINDS = ("arrived", "waits", "timer")  # for a person to read
# Words of a row; the step's own come behind. AT: when it is called. AFTER: of one that has come,
# the last tick of its lane.
WORDS = ("what", "topic", "partition", "offset", "time_ms", "log_ms", "at_ms", "after")
WHAT, TOPIC, PARTITION, OFFSET, TIME, LOG, AT, AFTER = range(len(WORDS))
FIRST_OWN = len(WORDS)
_PARTS = ("shard_key", "key", "value", "headers")
_ROW_BYTES = 200  # of a row, beside its parts
_FARTHEST_MS = 1 << 53  # of an event time


class _Tick(NamedTuple):
    number: int
    time_ms: int


class TimedRows:
    """One shard. Write `run`; wire it as `job.keep(lambda: MyStep(job))`.

    Time is event time, as records and ticks tell it (docs/delivery.md, "What time it is"): a record
    is called when the newest one is `late_ms` ahead of it, or as much has passed without any. One
    that comes later than that fails as `too_late`. At most `max_bytes` are held, with the originals
    of the records, for `errors`: the last that come beyond that fail as `state_full`.

    A step that sets `takes_late` is called with late records, too: at the time that the shard had
    come to (`AT`), not at their own. What it says must not depend on the order of times, then.

    A row holds a record's `numbers` (integer fields) as words and its `texts` (string or bytes
    fields) as parts, 0 and empty where its topic has no such field, and the words `marks`, 0 at
    first, for the step. `word("cents")` says which column of `rows.words` it is.
    """

    numbers: ClassVar[tuple[str, ...]] = ()
    texts: ClassVar[tuple[str, ...]] = ()
    marks: ClassVar[tuple[str, ...]] = ()
    takes_late: ClassVar[bool] = False

    def __init__(self, job: "Job", late_ms: int = 10_000, max_bytes: int = 512 * 1024**2) -> None:
        self.tick = -1  # the number of the tick that is being taken in
        self.topics = job.inputs  # what rows name by number
        self.rows = KeyedRows((*WORDS, *self.numbers, *self.marks), (*_PARTS, *self.texts))
        self._late_ms = late_ms
        self._max_bytes = max_bytes
        self._sources = job.sources
        self._lanes = job.settings.lanes
        self._clock = EventClock(late_ms)
        self._reached: dict[tuple[str, int], int] = {}  # by topic and lane, its last tick
        self._ticks: list[_Tick] = []  # that not all lanes have come to
        self._newest_tick = -1
        self._arrived: list[NDArray[np.int64]] | None = []  # slots; None: to be looked up
        self._held_bytes = 0  # of what was taken in

    def run(self, until_ms: int) -> Iterable[Any]:
        """Call what is due before a time, in order, and what comes of it. Rows that are done with
        must be let go (`let_go`)."""
        raise NotImplementedError

    @classmethod
    def word(cls, name: str) -> int:
        """The column of one of `numbers` or `marks`."""
        return FIRST_OWN + (*cls.numbers, *cls.marks).index(name)

    def let_go(self, slots: NDArray[np.int64]) -> None:
        """Remove rows (n,), each once."""
        self._held_bytes -= int(self._sizes(slots).sum())
        self.rows.remove(slots)

    # What `job.keep` asks for.

    def update(self, items: list[ShardRecords | ShardTicks]) -> list[Any]:
        """Take in what has come; when all lanes have come to a tick, call what is due."""
        out: list[Any] = []
        is_tick = False
        for item in items:
            if isinstance(item, ShardRecords):
                out += self._arrive(item)
                continue
            is_tick = True
            for tick in item.ticks:
                self._reached[tick.topic, tick.lane] = tick.number
                if tick.number > self._newest_tick:
                    self._newest_tick = tick.number
                    self._ticks.append(_Tick(tick.number, tick.time_ms))
        if is_tick and len(self._reached) == self._lanes * len(self.topics):
            done = min(self._reached.values())
            while self._ticks and self._ticks[0].number <= done:
                out += self._take_in(self._ticks.pop(0))
        return out

    def changed(self, whole: bool) -> tuple[pa.Table, dict[str, Any]]:
        """What changed since the last call, or all, and small facts."""
        table = pack(self._parts(whole))
        self._arrived = None  # slots may be others now
        return table, {
            "late_ms": self._late_ms,
            "topics": list(self.topics),
            "reached": [[*place, number] for place, number in sorted(self._reached.items())],
            "ticks": [list(tick) for tick in self._ticks],
            "newest_tick": self._newest_tick,
            "tick": self.tick,
            "held_bytes": self._held_bytes,
            "clock": self._clock.facts(),
        }

    def restore(self, tables: Sequence[pa.Table], facts: dict[str, Any]) -> None:
        """Become the shard that said this. Raises ValueError for saved inputs that are gone."""
        gone = [topic for topic in facts["topics"] if topic not in self.topics]
        if gone:
            raise ValueError(
                f"saved state expected the inputs {', '.join(facts['topics'])}, got "
                f"{', '.join(self.topics)}; what is held of {gone[0]} has no other place"
            )
        held = unpack(tables, "rows")
        # Topics may be read in another order now.
        numbers = np.array([self.topics.index(topic) for topic in facts["topics"]], np.int64)
        if numbers.tolist() == list(range(len(numbers))):
            self.rows.restore(held)
        else:
            self.rows.restore([_renumbered(table, numbers) for table in held])
            self.rows.note_changed(np.flatnonzero(self.rows.rows.state))
        self._reached = {(topic, lane): number for topic, lane, number in facts["reached"]}
        self._ticks = [_Tick(*tick) for tick in facts["ticks"]]
        self._newest_tick, self.tick = facts["newest_tick"], facts["tick"]
        self._held_bytes = facts["held_bytes"]
        self._clock.restore(facts["clock"])
        self._arrived = None

    def _parts(self, whole: bool) -> dict[str, pa.Table]:
        """What is saved."""
        return {"rows": self.rows.changed(whole)}

    # In between.

    def _arrive(self, item: ShardRecords) -> list[Failed]:
        batch, rows = item.batch, item.rows
        failed = _unusable(batch, rows)
        if failed:
            rows = rows[~np.isin(rows, list(failed))]
            if not len(rows):
                return list(failed.values())
        n = len(rows)
        keys = take(batch.keys, rows)
        originals = batch.origins.originals(batch.origin_rows[rows])
        after = np.array(
            [self._reached.get((batch.topic, lane), -1) for lane in range(self._lanes)], np.int64
        )
        partitions = batch.partitions[rows]
        words = np.zeros((n, self.rows.words.shape[1]), np.int64)
        words[:, WHAT] = ARRIVED
        words[:, TOPIC] = self.topics.index(batch.topic)
        words[:, PARTITION], words[:, OFFSET] = partitions, batch.offsets[rows]
        words[:, TIME] = words[:, AT] = batch.times_ms[rows]
        words[:, LOG] = [detail.timestamp_ms for _, detail in originals]
        words[:, AFTER] = after[partitions % self._lanes]
        order = np.zeros((n, 4), np.int64)
        order[:, 1:] = words[:, [TOPIC, PARTITION, OFFSET]]
        parts = {
            "shard_key": keys,
            "key": strings([detail.key for _, detail in originals]),
            "value": strings([value for value, _ in originals]),
        }
        for name in self.numbers:
            numbers = batch.columns.get(name)
            if numbers is not None:
                assert isinstance(numbers, Numbers), name
                words[:, self.word(name)] = numbers.values[rows]
        for name in self.texts:
            texts = batch.columns.get(name)
            if texts is not None:
                assert isinstance(texts, Bytes), name
                parts[name] = take(texts, rows)
        if any(detail.headers for _, detail in originals):
            parts["headers"] = strings([written_headers(detail.headers) for _, detail in originals])
        slots = self.rows.add(hash128(keys), np.full(n, NEVER_MS), order, words, parts)
        if self._arrived is not None:
            self._arrived.append(slots)
        return list(failed.values())

    def _take_in(self, tick: _Tick) -> Iterator[Any]:
        """All that comes before a tick, and what is due by then."""
        self.tick = tick.number
        slots = self._come_before(tick)
        words = self.rows.words[slots]
        order = np.lexsort((words[:, OFFSET], words[:, PARTITION], words[:, TOPIC], words[:, TIME]))
        slots, times_ms = slots[order], words[order, TIME]
        late = self._clock.are_late(times_ms, self._late_ms)
        at_ms = times_ms
        if late.any():
            earliest_ms = self._clock.now_ms - self._late_ms
            if self.takes_late:
                at_ms = np.where(late, earliest_ms, times_ms)
            else:
                yield from self._refuse(
                    slots[late],
                    Reason.TOO_LATE,
                    f"event time expected at least {earliest_ms} (the time of the shard at the "
                    f"last tick less {self._late_ms} ms), got {{time_ms}}",
                )
                slots, times_ms = slots[~late], times_ms[~late]
                at_ms, late = times_ms, late[~late]
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
            at_ms, late = at_ms[~full], late[~full]
        self._held_bytes += int(sizes.sum())
        self.rows.words[slots, WHAT] = WAITS
        self.rows.words[slots, AT] = at_ms
        self.rows.set_due(slots, at_ms)
        # What comes late says nothing of what time it is.
        hashes = self.rows.rows.fixed[slots[~late]][:, [HIGH, LOW]]
        for time_ms, high, low in self._clock.move(times_ms[~late], hashes, tick.time_ms):
            yield from self._refute(time_ms, high, low)
        yield from self.run(self._clock.now_ms - self._late_ms)

    def _come_before(self, tick: _Tick) -> NDArray[np.int64]:
        """Slots of the records that do; the others stay."""
        rows = self.rows
        if self._arrived is None:
            held = np.flatnonzero(rows.rows.state)
            self._arrived = [held[rows.words[held, WHAT] == ARRIVED]]
        arrived = np.concatenate([np.zeros(0, np.int64), *self._arrived])
        is_before = rows.words[arrived, AFTER] < tick.number
        self._arrived = [arrived[~is_before]]
        before: NDArray[np.int64] = arrived[is_before]
        return before

    def _sizes(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes of rows (n,), as they count against the bound."""
        spans = self.rows.rows.spans[slots]
        sizes: NDArray[np.int64] = np.maximum(spans[:, 1::2], 0).sum(axis=1)
        return sizes + _ROW_BYTES

    def _refuse(self, slots: NDArray[np.int64], reason: Reason, message: str) -> Iterator[Failed]:
        for record in self.records_at(slots):
            yield record.fail(reason, message.format(time_ms=record.time_ms))
        self.rows.remove(slots)

    def _refute(self, time_ms: int, high: int, low: int) -> Iterator[Failed]:
        """A key's times up to one that others do not bear out: what waits for them would wait for
        ever."""
        slots = self.rows.of_key(high, low)
        words = self.rows.words[slots]
        times_ms = words[:, TIME]
        is_meant = (self._clock.far_ms < times_ms) & (times_ms <= time_ms)
        slots = slots[(words[:, WHAT] == WAITS) & is_meant]
        self._held_bytes -= int(self._sizes(slots).sum())
        yield from self._refuse(
            slots,
            Reason.INVALID_VALUE,
            "event time expected one that other keys bear out, got {time_ms}, far ahead of them",
        )

    def records_at(
        self, slots: NDArray[np.int64], values: Sequence[Any] | None = None
    ) -> list[TimedRecord]:
        """The records of rows (n,); `values` are what they say, which else is left out."""
        if not len(slots):
            return []
        words = self.rows.words[slots]
        shard_keys, keys, raw = (spans_of(self.rows.part(name, slots)) for name in _PARTS[:3])
        columns = [words[:, c].tolist() for c in (TOPIC, PARTITION, OFFSET, TIME, LOG)]
        originals = map(Original, keys, raw, self.headers_at(slots), columns.pop())
        texts = [(each or b"").decode(errors="replace") for each in shard_keys]
        return [
            TimedRecord(
                self.topics[topic],
                partition,
                offset,
                key,
                time_ms,
                value,
                original,
                self._sources[topic],
            )
            for topic, partition, offset, time_ms, key, value, original in zip(
                *columns, texts, values or [None] * len(slots), originals, strict=True
            )
        ]

    def headers_at(self, slots: NDArray[np.int64]) -> list[Headers]:
        """Of the records of rows (n,)."""
        held = self.rows.part("headers", slots)
        if not held.lengths.any():
            return [[] for _ in range(len(slots))]
        return [read_headers(each) for each in spans_of(held)]

    def inputs_at(self, slots: NDArray[np.int64]) -> "HeldInputs":
        """The records of rows (n,), as `Records.inputs`: row i is that of `slots[i]`. They are kept
        as they are now."""
        words = self.rows.words[slots][:, [TOPIC, PARTITION, OFFSET, LOG]]
        parts = [self.rows.part(name, slots) for name in _PARTS[1:]]
        return HeldInputs(self.topics, self._sources, words, parts)


class HeldInputs:
    """Records that rows held, behind some outputs."""

    def __init__(
        self,
        topics: Sequence[str],
        sources: Sequence[Topic],
        words: NDArray[np.int64],
        parts: Sequence[Bytes],
    ) -> None:
        """`words` (n, 4) are number of the topic, partition, offset and the log's time; `parts`
        key, value and headers as they are held."""
        self._topics = topics
        self._sources = sources
        self._words = words
        self._parts = parts

    @property
    def topic(self) -> list[str]:
        return [self._topics[number] for number in self._words[:, 0].tolist()]

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(m, 2): partition and offset of chosen rows."""
        return self._words[rows][:, 1:3]

    def fail(
        self, row: int, reason: Reason, message: str, error: Exception | None = None
    ) -> Failed:
        """The failure of one row."""
        topic, partition, offset, log_ms = self._words[row].tolist()
        key, value, headers = (
            None if part.valid is not None and not part.valid[row] else part.bytes_at(row)
            for part in self._parts
        )
        original = Original(key, value, read_headers(headers), log_ms)
        record = TimedRecord(
            self._topics[topic], partition, offset, "", 0, None, original, self._sources[topic]
        )
        return record.fail(reason, message)


def _unusable(batch: RecordBatch, rows: NDArray[np.int64]) -> dict[int, Failed]:
    """By row, what has no key or no time to be held by."""
    failed: dict[int, Failed] = {}
    times_ms = batch.times_ms[rows]
    for row in rows[(times_ms < 0) | (times_ms > _FARTHEST_MS)].tolist():
        what = f"event time expected Unix milliseconds >= 0, got {batch.times_ms[row]}"
        failed[row] = batch.fail(row, Reason.INVALID_VALUE, what)
    keys = [key or b"" for key in keys_of(take(batch.keys, rows))]
    if not _is_text(b"\n".join(keys)):
        for row, key in zip(rows.tolist(), keys, strict=True):
            if not _is_text(key):
                what = f"key expected UTF-8, got {key[:60]!r}"
                failed[row] = batch.fail(row, Reason.INVALID_VALUE, what)
    return failed


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _renumbered(table: pa.Table, numbers: NDArray[np.int64]) -> pa.Table:
    """Saved rows with other numbers for their topics, by which they are in order, too."""
    for name in (WORDS[TOPIC], "order_1"):
        column = pa.array(numbers[table[name].to_numpy()])
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def written_headers(headers: Headers) -> bytes | None:
    """As JSON; None: there are none."""
    if not headers:
        return None
    return json.dumps([(name, None if v is None else v.hex()) for name, v in headers]).encode()


def read_headers(written: bytes | None) -> Headers:
    """The inverse."""
    if not written:
        return []
    return [(name, None if v is None else bytes.fromhex(v)) for name, v in json.loads(written)]


def spans_of(column: Bytes) -> list[bytes | None]:
    """A column's values, None where it is null."""
    found = keys_of(column)
    if column.valid is not None:
        found = [
            each if valid else None
            for each, valid in zip(found, column.valid.tolist(), strict=True)
        ]
    return found


__all__ = ["HeldInputs", "TimedRows"]
