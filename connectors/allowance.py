"""How many records of a topic a source may hand out now, where what answers them is slow.

A model that is called in the worker's own thread gets batches that take `cut_s`, by what its calls
took so far. A model that answers later (`dataflows.job.later`) has at most `records_max` records
waiting, of `bytes_max` in all, so that memory and snapshots stay small while its topic grows.
"""

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count as numbers
from itertools import islice

Firsts = Callable[[], Mapping[int, int]]  # by partition, the first offset that waits

_STALE_S = 1.0  # a lane that has not asked for so long wants no more
_NEWEST = 0.5  # weight of the newest call in what a record takes


@dataclass(slots=True)
class _Count:
    records: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Waiting:
    records: int
    bytes: int
    firsts: "Firsts"


@dataclass(slots=True)
class _Turn:
    worker: Hashable
    asked_s: float
    is_served: bool = False  # in this round of its worker


@dataclass
class Allowance:
    """Of one topic, for all lanes and workers of a process. May be called by several threads.

    *Waiting* is what a step has taken and not answered: it says so each time that this changes.
    *On the way* is what a worker's lanes were given in its current round: by its next one a step of
    the same worker has taken it, or it has failed before, so that nothing has to account for it. A
    step in another thread may take it some milliseconds later, so that the bound is passed by what
    a round or two hand out, and never waits for what will not come.

    >>> allowance = Allowance(records_max=2)
    >>> allowance.share("worker", 0, 3, [10, 10, 10])
    2
    >>> allowance.begin_round("worker")
    >>> allowance.waits("step", 2, 20, lambda: {0: 7})
    >>> allowance.share("worker", 0, 1, [10])
    0
    """

    records_max: int | None = 256  # waiting and on the way; None: no bound, of bytes either
    bytes_max: int = 16 << 20  # of values; one that is larger goes alone
    cut_s: float | None = None  # what a worker is given in a round takes; None: calls are not cut
    now_s: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _given: dict[Hashable, _Count] = field(default_factory=dict)  # by worker, in its round
    _waiting: dict[Hashable, _Waiting] = field(default_factory=dict)  # by who holds them
    _turns: dict[int, _Turn] = field(default_factory=dict)  # of lanes that want more
    _served: dict[int, int] = field(default_factory=dict)  # by lane, when: a number that grows
    _numbers: Iterator[int] = field(default_factory=numbers)
    _large: int | None = None  # a lane whose next record must wait until there is room for it
    _record_s: float | None = None

    # What the source asks.

    def begin_round(self, worker: Hashable) -> None:
        """All lanes of a worker were asked: what they were given has come to where it goes."""
        with self._lock:
            self._given.pop(worker, None)
            for turn in self._turns.values():
                turn.is_served &= turn.worker != worker

    def share(self, worker: Hashable, lane: int, wanted: int, sizes: Iterable[int]) -> int:
        """How many of the records that a lane has (one or more) it may hand out now. `sizes`, in
        bytes, are gone through no further than that. Of lanes that want more than there is, the one
        that was served longest ago comes first."""
        with self._lock:
            self._ask(worker, lane)
            count = min(self._by_records(lane), self._by_time(worker, lane), wanted)
            size = 0
            if self.records_max is not None and count:
                count, size = self._by_bytes(lane, islice(sizes, count))
            if count:
                given = self._given.setdefault(worker, _Count())
                given.records += count
                given.bytes += size
                self._turns[lane].is_served = True
                self._served[lane] = next(self._numbers)
            if count == wanted:
                del self._turns[lane]
            return count

    def waiting(self) -> int:
        """How many records wait for their answers."""
        with self._lock:
            return sum(each.records for each in self._waiting.values())

    def is_idle(self) -> bool:
        """Whether no record waits for its answer."""
        return not self._waiting

    def unanswered(self) -> dict[int, int]:
        """By partition, the first offset that waits for its answer."""
        found: dict[int, int] = {}
        with self._lock:
            waiting = list(self._waiting.values())
        for each in waiting:
            for partition, offset in each.firsts().items():
                found[partition] = min(offset, found.get(partition, offset))
        return found

    # What those tell who answer.

    def took(self, records: int, seconds: float) -> None:
        """A call with so many records took so long."""
        if records:
            found_s = seconds / records
            with self._lock:
                before_s = found_s if self._record_s is None else self._record_s
                self._record_s = before_s + _NEWEST * (found_s - before_s)

    def waits(self, holder: Hashable, records: int, size: int, firsts: Firsts) -> None:
        """What now waits for its answer with one holder (a shard of a step): how many records, and
        the bytes of their values. `firsts` may be asked by another thread, as long as any wait."""
        with self._lock:
            if records:
                self._waiting[holder] = _Waiting(records, size, firsts)
            else:
                self._waiting.pop(holder, None)

    # How a share is found; the lock is held.

    def _ask(self, worker: Hashable, lane: int) -> None:
        now_s = self.now_s()
        if lane in self._turns:
            self._turns[lane].asked_s = now_s
        else:
            self._turns[lane] = _Turn(worker, now_s)
        for other in [
            each for each, turn in self._turns.items() if turn.asked_s < now_s - _STALE_S
        ]:
            del self._turns[other]
        if self._large not in self._turns:
            self._large = None

    def _by_records(self, lane: int) -> int:
        if self.records_max is None:
            return 1 << 62
        if self._large not in (None, lane):
            return 0
        free = self.records_max - sum(each.records for each in self._held())
        return _fair(free, lane, self._line(lane))

    def _by_time(self, worker: Hashable, lane: int) -> int:
        if self.cut_s is None:
            return 1 << 62
        # Before the first call nothing is known, and a record may take a second.
        most = 1 if self._record_s is None else max(1, int(self.cut_s / max(self._record_s, 1e-9)))
        given = self._given.get(worker)
        line = [each for each in self._line(lane) if self._turns[each].worker == worker]
        return _fair(most - (given.records if given else 0), lane, line)

    def _line(self, lane: int) -> list[int]:
        """The lanes that have still to be served in this round."""
        line = [each for each, turn in self._turns.items() if each == lane or not turn.is_served]
        return sorted(line, key=lambda each: self._served.get(each, -1))

    def _by_bytes(self, lane: int, sizes: Iterable[int]) -> tuple[int, int]:
        """How many of these there is room for, and what they take."""
        room = self.bytes_max - sum(each.bytes for each in self._held())
        count = total = 0
        self._large = None
        for size in sizes:
            if total + size > room:
                if count:
                    break
                if self._held():
                    self._large = lane  # the others would take what becomes free
                    return 0, 0
            count, total = count + 1, total + size
        return count, total

    def _held(self) -> list[_Count | _Waiting]:
        return [*self._waiting.values(), *self._given.values()]


def _fair(free: int, lane: int, line: list[int]) -> int:
    """What a lane gets of what is free, where others stand in line, too.

    >>> [_fair(10, lane, [7, 8, 9]) for lane in (7, 8, 9)]
    [3, 3, 3]
    >>> [_fair(2, lane, [7, 8, 9]) for lane in (7, 8, 9)]
    [1, 1, 0]
    """
    share = max(1, free // len(line))
    return max(0, min(share, free - share * line.index(lane)))


__all__ = ["Allowance", "Firsts"]
