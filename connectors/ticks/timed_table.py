"""A compacted topic as a map with its versions by tick, so that every run reads the same of it.

At a tick the table is what its topic holds before the ends that the tick has for it: of a key the
last record there. A tick of another dataflow, which knows nothing of the topic, moves nothing.
Where the topic has grown, so that a key stands in several partitions, it is the
one with the newest time of the log; of those with one time, that of the highest partition.

Compaction removes the older of two records of a key once both are older than
`min.compaction.lag.ms`. So a version is there for as long as its tick is not older than that.
"""

import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from typing_extensions import override

from streamrec.connectors.log import (
    Log,
    LogError,
    LogReader,
    OffsetOutOfRangeError,
    RawBatch,
    UnreachableError,
)
from streamrec.connectors.patience import TELL_EVERY_S, is_time_to_tell
from streamrec.connectors.reading import read_range, records_of
from streamrec.connectors.table import GONE, Decode, Follower, decoded
from streamrec.connectors.ticks.tick import TickCodec

_logger = logging.getLogger(__name__)

_BATCH_MESSAGES = 1_000
_POLL_S = 0.02  # so long a tick may wait
_TICKS_AHEAD = 5_000  # that are read before anybody asks for them
_RETRY_S = 5.0
_LET_GO_EVERY_S = 1.0
# The engine makes the shards of a process one after another: before all are there, it is not known
# which versions they need.
SETTLE_S = 60.0

Ends = Mapping[int, int]  # of the table's topic: by partition, the offset of the next record


class ByTicks(Protocol):
    """One shard of a step that goes by ticks."""

    @property
    def tick(self) -> int:
        """The number of the tick that is being taken in; it does not go back."""


class TimedTable(Follower):
    """One for each process, whose shards read it at their own ticks.

    It waits until it has read what a tick needs, and holds the versions of every key from the
    oldest tick on that a shard has come to, or all that the topic has until it knows. A value that
    cannot be decoded is logged and passed over: the key keeps the one before.
    """

    def __init__(
        self,
        log: Log,
        topic: str,
        codec: TickCodec,
        decode: Decode,
        moved: Callable[[Mapping[int, int]], object] = lambda positions: None,
    ) -> None:
        """`moved` is told how far it has read."""
        super().__init__(log, topic)
        self._codec = codec
        self._decode = decode
        self._tell_moved = moved
        self._held = self._filled = _Versions()  # two while it is loaded anew
        self._steps: weakref.WeakSet[ByTicks] = weakref.WeakSet()
        self._settles_at = 0.0
        self._lets_go_at = 0.0
        # Of the thread and of those who wait for it:
        self._changed = threading.Condition()
        self._reached: dict[int, int] = {}
        self._pending: dict[int, Ends | None] = {}  # by tick; None: no tick knows the topic yet
        self._last: Ends | None = None  # as the last tick that was read has it
        self._passed: dict[int, Ends] = {}  # ticks up to whose ends it has read
        self._floor = -1  # versions of earlier ticks have been let go of
        self._lowest: int | None = None  # tick that was asked for
        self._highest = -1  # the same
        self._ticks_from: int | None = None  # where reading of ticks began
        self._ticks_to = -1  # the last one that was read
        self._is_short = False  # a tick was asked for that lies below the floor
        self._failure: Exception | None = None
        self._trouble = ""  # why it does not move at present

    def open(self) -> "TimedTable":
        """Load, then follow."""
        self._check_lag()
        readers = _Readers(self._loaded())
        self._reached = dict(self.positions)
        self._tell_moved(self._reached)
        name = f"table {self.topic}"
        threading.Thread(
            target=_run, args=(weakref.ref(self), readers), name=name, daemon=True
        ).start()
        return self

    def at_tick_of(self, step: ByTicks) -> "TableAtTick":
        """The table as it is at the tick that a step takes in. What the step has left behind is
        not held for it."""
        if not hasattr(step, "tick"):
            raise TypeError(
                f"at_tick_of expected a step that goes by ticks, made by its super().__init__, got "
                f"{type(step).__name__}"
            )
        with self._changed:
            self._steps.add(step)
            self._settles_at = time.monotonic() + SETTLE_S
        return TableAtTick(self, step)

    def get(self, key: str | bytes, tick: int, default: Any = None) -> Any:
        """A key's value at a tick, as `receive` shows it; not to be altered. Waits until it is
        known. Raises UnreachableError when patience is at its end, or the process is to stop."""
        name = key.encode() if isinstance(key, str) else key
        while True:
            ends = self._ends_at(tick)
            held = self._held
            found = held.at(name, ends)
            if self._floor <= tick:  # else it may have been let go of meanwhile
                break
        if found is not None:
            return default if found.value is GONE else found.value
        if held.may_miss(name, ends) and is_time_to_tell(f"topic {self.topic} may miss versions"):
            _logger.warning(
                "topic %s: at tick %d key %r expected a version, or none yet; compaction may have "
                "removed it: min.compaction.lag.ms expected to be longer than the oldest tick that "
                "is read again is old",
                self.topic,
                tick,
                name.decode(errors="replace"),
            )
        return default

    def version(self, tick: int) -> list[int]:
        """What the table was at a tick: for partition 0 and on, the offset of the next record; -1:
        the partition was not there. Equal versions of a topic are equal tables."""
        ends = self._ends_at(tick)
        return [ends.get(p, -1) for p in range(max(ends, default=-1) + 1)]

    def may_miss(self, key: str | bytes, tick: int) -> bool:
        """Whether a key that has no value at a tick may have had one that compaction or retention
        has removed since."""
        name = key.encode() if isinstance(key, str) else key
        return self._held.may_miss(name, self._ends_at(tick))

    @override
    def apply(self, batch: RawBatch) -> int:
        self._filled.add(batch, self._decode)
        return len(batch)

    # Of those who ask.

    def _ends_at(self, tick: int) -> Ends:
        """The topic's ends at a tick, once it has been read up to them."""
        ends = self._passed.get(tick)
        if ends is not None and tick >= self._floor:
            return ends
        wait = self._log.patience.wait()
        tell_at = time.monotonic() + TELL_EVERY_S
        with self._changed:
            while True:
                if self._failure is not None:
                    raise self._failure
                ends = self._passed.get(tick)
                if ends is not None and tick >= self._floor:
                    return ends
                self._lowest = tick if self._lowest is None else min(self._lowest, tick)
                self._highest = max(self._highest, tick)
                self._is_short |= tick < self._floor
                if not wait.left_s():
                    asked = "asked to stop" if self._log.patience.stopping() else "gave up"
                    raise UnreachableError(f"{asked} while {self._waits_for(tick)}")
                if time.monotonic() > tell_at:
                    _logger.warning("%s; waiting", self._waits_for(tick))
                    tell_at += TELL_EVERY_S
                self._changed.wait(_POLL_S)

    def _waits_for(self, tick: int) -> str:
        ends = self._pending.get(tick)
        what = f"topic {self.topic!r}: expected to be read up to tick {tick}, "
        if ends is None:
            what += f"got no such tick on topic {self._codec.topic!r} yet"
        else:
            behind = [
                f"partition {p} at offset {self._reached.get(p, 0)} of {end}"
                for p, end in sorted(ends.items())
                if self._reached.get(p, 0) < end
            ]
            what += f"got {', '.join(behind) or 'what is loaded again'}"
        return what + (f" ({self._trouble})" if self._trouble else "")

    def _check_lag(self) -> None:
        with closing(self._log.admin()) as admin:
            configs = admin.describe(self.topic).configs
        is_compacted = "compact" in configs.get("cleanup.policy", "")
        if is_compacted and configs.get("min.compaction.lag.ms", "0") == "0":
            _logger.warning(
                "topic %s: min.compaction.lag.ms expected to be longer than an outage, or than the "
                "range of a replay is old, got 0: what runs again may miss versions",
                self.topic,
            )

    # Of the thread.

    def _loaded(self) -> LogReader:
        self._filled = _Versions()
        reader = self.load()
        self._filled.loaded = dict(self.positions)
        self._held = self._filled
        return reader

    def _step(self, readers: "_Readers") -> None:
        """Read what has come."""
        self._load_again(readers)
        self._read_ticks(readers)
        reader = readers.table
        self._assign_new(reader)
        for batch in reader.poll(_BATCH_MESSAGES, _POLL_S):
            self.take_in(batch)
        reached = {p: max(at, reader.position(self.topic, p)) for p, at in self.positions.items()}
        has_moved = reached != self._reached
        with self._changed:
            self._reached = reached
            self._trouble = ""
            self._pass_ticks()
            self._changed.notify_all()
        if has_moved:
            self._tell_moved(reached)
        if time.monotonic() >= self._lets_go_at:
            self._let_go()
            self._lets_go_at = time.monotonic() + _LET_GO_EVERY_S

    def _load_again(self, readers: "_Readers") -> None:
        """Where somebody needs versions that were let go of."""
        if not self._is_short:
            return
        readers.table.close()
        readers.table = self._loaded()
        with self._changed:
            self._is_short, self._floor, self._ticks_from = False, -1, None
            self._passed.clear()

    def _read_ticks(self, readers: "_Readers") -> None:
        """From the lowest that was asked for."""
        with self._changed:
            lowest, begun = self._lowest, self._ticks_from
            if lowest is None:
                return
            known = len(self._pending) + len(self._passed)
        if readers.ticks is None:
            readers.ticks = self._log.reader()
        if begun is None or lowest < begun:
            with closing(self._log.admin()) as admin:
                low, high = admin.bounds(self._codec.topic)[0]
            if lowest > high:
                return  # not written yet
            readers.ticks.assign(self._codec.topic, {0: self._known_before(lowest, low)})
            with self._changed:
                self._pending.clear()  # read again, so that they come in order
                self._last = None
                self._ticks_from, self._ticks_to = lowest, lowest - 1
        elif known >= _TICKS_AHEAD and self._highest <= self._ticks_to:
            return
        for batch in readers.ticks.poll(_BATCH_MESSAGES):
            with self._changed:
                for record in records_of(batch):
                    tick = self._codec.tick(record.offset, record.value, record.headers)
                    if tick is not None:
                        self._last = tick.ends.get(self.topic, self._last)
                        self._pending[tick.number] = self._last
                    self._ticks_to = record.offset

    def _known_before(self, number: int, low: int) -> int:
        """The last tick up to a number that knows the topic; the number itself where none does."""
        end, count = number + 1, 100
        while end > low:
            start = max(low, end - count)
            ticks = [
                self._codec.tick(record.offset, record.value, record.headers)
                for record in read_range(self._log, self._codec.topic, {0: start}, {0: end})
            ]
            known = [tick.number for tick in ticks if tick is not None and self.topic in tick.ends]
            if known:
                return known[-1]
            end, count = start, 4 * count
        return number

    def _assign_new(self, reader: LogReader) -> None:
        """Partitions that a tick knows and that are not read yet are read whole."""
        known = {p for ends in self._pending.values() if ends is not None for p in ends}
        new = sorted(known - self.positions.keys())
        if new:
            with closing(self._log.admin()) as admin:
                bounds = admin.bounds(self.topic)
            begins = {p: bounds[p].low for p in new if p in bounds}
            reader.assign(self.topic, begins)
            self.positions.update(begins)
            _logger.info("topic %s: new partitions %s", self.topic, sorted(begins))

    def _pass_ticks(self) -> None:
        """Of what is pending. Ticks of before the first one that knows the topic have its table."""
        ends: Ends | None = None
        for number in sorted(self._pending, reverse=True):
            ends = self._pending[number] or ends
            if ends is not None and all(self._reached.get(p, 0) >= e for p, e in ends.items()):
                self._passed[number] = ends
                del self._pending[number]

    def _let_go(self) -> None:
        """Of what no step will ask for."""
        with self._changed:
            steps = [step.tick for step in self._steps]
            floor = min(steps, default=-1)
            ends = self._passed.get(floor)
            if ends is None or floor <= self._floor or time.monotonic() < self._settles_at:
                return
            self._floor = self._ticks_from = floor
            self._lowest = floor
            for number in [each for each in self._passed if each < floor]:
                del self._passed[number]
            for number in [each for each in self._pending if each < floor]:
                del self._pending[number]
        self._held.let_go(ends)

    def _fail(self, error: Exception) -> None:
        """Whoever asks is told."""
        with self._changed:
            self._failure = error
            self._changed.notify_all()


class TableAtTick:
    """A table as it is at the tick that a step takes in."""

    def __init__(self, table: TimedTable, step: ByTicks) -> None:
        self._table = table
        self._step = step

    def get(self, key: str | bytes, default: Any = None) -> Any:
        """A key's value, as `receive` shows it; not to be altered."""
        return self._table.get(key, self._step.tick, default)

    def version(self) -> list[int]:
        """What the table is, for outputs that name it: for partition 0 and on, the offset of the
        next record; -1: the partition is not there."""
        return self._table.version(self._step.tick)

    def may_miss(self, key: str | bytes) -> bool:
        """Whether a key that has no value now may have had one, which compaction has removed."""
        return self._table.may_miss(key, self._step.tick)


class _Version(NamedTuple):
    """One record of a key."""

    partition: int
    offset: int
    log_ms: int
    value: Any  # or GONE


class _Versions:
    """What was read of the topic, by key. One thread writes while others read."""

    def __init__(self) -> None:
        self.loaded: Ends = {}  # how far it was loaded: compaction may have come before
        self._of: dict[bytes, list[_Version]] = {}  # in each partition in order
        self._next: dict[int, int] = {}  # by partition
        self._gaps: dict[int, int] = {}  # by partition, the first offset where no record stands
        self._several: set[bytes] = set()  # keys with several, or a tombstone

    def add(self, batch: RawBatch, decode: Decode) -> None:
        self._look_for_gaps(batch)
        times_ms = batch.times_ms.tolist()
        for row, key, value in decoded(batch, decode):
            offset = int(batch.offsets[row])
            versions = self._of.setdefault(key, [])
            versions.append(_Version(batch.partition, offset, times_ms[row], value))
            if len(versions) > 1 or value is GONE:
                self._several.add(key)

    def _look_for_gaps(self, batch: RawBatch) -> None:
        p, offsets = batch.partition, batch.offsets
        expected = np.concatenate([[self._next.get(p, 0)], offsets[:-1] + 1])
        gaps = expected[offsets != expected]
        if len(gaps):
            self._gaps.setdefault(p, int(gaps[0]))
        self._next[p] = int(offsets[-1]) + 1

    def at(self, key: bytes, ends: Ends) -> _Version | None:
        """The version before some ends; None: there is none."""
        newest: dict[int, _Version] = {}
        for version in self._of.get(key, ()):
            if _is_before(version, ends):
                newest[version.partition] = version
        if len(newest) > 1:
            return max(newest.values(), key=lambda version: (version.log_ms, version.partition))
        return next(iter(newest.values()), None)

    def may_miss(self, key: bytes, ends: Ends) -> bool:
        if all(ends.get(p, 0) >= end for p, end in self.loaded.items()):
            return False  # all that came later was read as it came
        versions = self._of.get(key, ())
        # Compaction that removes a version removes those before it, too.
        if any(_is_before(version, ends) for version in versions):
            return False
        partitions = {version.partition for version in versions} or ends
        return any(ends.get(p, 0) > self._gaps.get(p, self._next.get(p, 0)) for p in partitions)

    def let_go(self, ends: Ends) -> None:
        """Of what a later version replaces before some ends."""
        for key in list(self._several):
            versions = self._of[key]
            last = {v.partition: v for v in versions if _is_before(v, ends)}
            kept = [v for v in versions if not _is_before(v, ends) or last[v.partition] is v]
            if all(v.value is GONE and _is_before(v, ends) for v in kept):
                del self._of[key]
                self._several.discard(key)
                continue
            self._of[key] = kept
            if len(kept) == 1 and kept[0].value is not GONE:
                self._several.discard(key)


def _is_before(version: _Version, ends: Ends) -> bool:
    return version.offset < ends.get(version.partition, 0)


@dataclass(slots=True)
class _Readers:
    """Of the thread alone."""

    table: LogReader
    ticks: LogReader | None = None  # None: no tick was asked for yet

    def close(self) -> None:
        self.table.close()
        if self.ticks is not None:
            self.ticks.close()


def _run(table_ref: "weakref.ref[TimedTable]", readers: _Readers) -> None:
    """Until nobody else holds the table."""
    while (table := table_ref()) is not None:
        pause_s = 0.0
        try:
            table._step(readers)
        except OffsetOutOfRangeError as error:  # ticks that are gone do not come back
            table._fail(error)
            break
        except LogError as error:  # the log may come back
            _logger.error("topic %s: cannot be followed now: %s", table.topic, error)
            table._trouble, pause_s = str(error), _RETRY_S
        except Exception as error:  # noqa: BLE001  # whoever asks raises it
            table._fail(error)
            break
        del table
        time.sleep(pause_s)
    readers.close()


__all__ = ["TableAtTick", "TimedTable"]
