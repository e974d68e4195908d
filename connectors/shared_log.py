"""A log whose clients do not grow with the number of topics: one of each kind for each thread.

A dataflow of many topics opens a reader, a writer and an admin for each, and on Kafka every one of
these is a client with threads and connections of its own. Through a `SharedLog` they are *views* of
one reader, one writer and one admin of the thread, opened with the first view and closed with the
last one.

- *A reader* is polled by whichever view is; what came for the others waits for them. Of a view
  behind which too much waits (its steps are slow) the partitions are given back, and taken up again
  where they were when it has caught up: it holds up nobody. A partition that several
  views want, as where models take one topic, is read once and dealt to each from where it is; one
  that is far behind the others reads it by a reader of its own, until the next start.
- *A writer* is flushed whole: one view's flush waits for what the others have written.
- *Transactional writers* are one for a name: the sinks of a lane name the lane alone (`LogSink`).
  A commit commits what all topics of the lane have written since the last one. That may be a part
  of an epoch, where another sink has not written all of its own; it is no less exact, since a
  restart reads back from each sink's last durable snapshot what was committed since, in however
  many transactions, and takes back what was not. No record of the next epoch can be among it: the
  engine begins that one when all sinks have saved this one. Opening the first view of a name shuts
  out whoever wrote under it, for all topics at once, before any of them looks where it ends.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.batch_part import part as part_of
from streamrec.connectors.log import (
    Headers,
    Log,
    LogAdmin,
    LogAppender,
    LogError,
    LogReader,
    LogWriter,
    OffsetBounds,
    Outgoing,
    RawBatch,
    SchemaRegistry,
    TopicInfo,
    TopicSpec,
    TransactionalWriter,
)
from streamrec.connectors.patience import Patience
from streamrec.connectors.per_thread import PerThread

if TYPE_CHECKING:
    from streamrec.connectors.leases.holder import Claim
    from streamrec.connectors.leases.lease import Lease

# What may wait for one view before its partitions are given back.
_WAITING_MESSAGES = 8_000
_WAITING_BYTES = 32 * 1024 * 1024
# How far the reader goes back for one of several views of a partition.
_BACK_MESSAGES = 8_000


class _Closes(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=_Closes)
Place = tuple[str, int]  # topic and partition


class _Counted(Generic[T]):
    """A client for as long as somebody uses it."""

    def __init__(self, open_one: Callable[[], T]) -> None:
        self._open_one = open_one
        self._users = 0
        self._opened: T | None = None

    def take(self) -> T:
        if self._opened is None:
            self._opened = self._open_one()
        self._users += 1
        return self._opened

    @property
    def in_use(self) -> bool:
        return self._users > 0

    def give_back(self) -> None:
        self._users -= 1
        if not self._users and self._opened is not None:
            opened, self._opened = self._opened, None
            opened.close()


class SharedLog:
    """A Log in front of another. Its readers and writers stay in the thread that opened them."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._readers = PerThread(lambda: _Counted(lambda: _Demultiplexer(log)))
        self._writers = PerThread(lambda: _Counted(log.writer))
        self._admins = PerThread(lambda: _Counted(log.admin))
        self._lanes: dict[str, tuple[int, _Counted[TransactionalWriter]]] = {}  # by name: thread
        self._lock = threading.Lock()

    @property
    def patience(self) -> Patience:
        return self._log.patience

    @property
    def unshared(self) -> Log:
        """The log behind it, for clients that move from one thread to another."""
        return self._log

    def reader(self, ends: bool = False) -> "ReaderView":
        return ReaderView(self._readers(), lambda: self._log.reader(ends=True))

    def writer(self) -> "WriterView":
        return WriterView(self._writers())

    def appender(self) -> LogAppender:
        return self._log.appender()

    def transactional_writer(self, name: str, timeout_s: float) -> "TransactionalView":
        thread = threading.get_ident()
        with self._lock:
            found = self._lanes.get(name)
            if found is None or not found[1].in_use:
                counted = _Counted(lambda: self._log.transactional_writer(name, timeout_s))
                found = self._lanes[name] = (thread, counted)
        if found[0] != thread:
            raise LogError(
                f"{self.describe_target()}: transactions of {name!r} expected to be written by one "
                "worker, got two"
            )
        return TransactionalView(found[1])

    def admin(self) -> "AdminView":
        return AdminView(self._admins())

    def registry(self) -> SchemaRegistry:
        return self._log.registry()

    def describe_target(self) -> str:
        return self._log.describe_target()

    def lease(
        self, name: str, claim: "Claim", locks: Path | None, on_lost: Callable[[str], None]
    ) -> "Lease":
        return self._log.lease(name, claim, locks, on_lost)

    def handed_over(self) -> int:
        return self._log.handed_over()


@dataclass(eq=False)
class _Part:
    """What a view reads."""

    wanted: dict[Place, int] = field(default_factory=dict)  # next offset that is dealt to it
    waiting: deque[RawBatch] = field(default_factory=deque)
    messages: int = 0
    size: int = 0
    is_away: bool = False  # nothing is dealt to it now

    def add(self, batch: RawBatch) -> None:
        self.waiting.append(batch)
        self.messages += len(batch)
        self.size += _size(batch)

    def take(self, max_messages: int) -> list[RawBatch]:
        """What waits, at most so many."""
        taken: list[RawBatch] = []
        left = max_messages
        while self.waiting and left > 0:
            batch = self.waiting.popleft()
            if len(batch) > left:
                self.waiting.appendleft(part_of(batch, left, len(batch)))
                batch = part_of(batch, 0, left)
            taken.append(batch)
            left -= len(batch)
            self.messages -= len(batch)
            self.size -= _size(batch)
        return taken


class _Demultiplexer:
    """One reader of a thread, and who wants what of it."""

    def __init__(self, log: Log) -> None:
        self.reader: LogReader = log.reader(ends=True)
        self._wanting: dict[Place, list[_Part]] = {}  # to whom records of a partition are dealt

    def is_near(self, topic: str, positions: Mapping[int, int]) -> bool:
        """Whether nobody reads these, or those who do are about there: the reader goes back as far
        as it must, and they get nothing twice."""
        return all(
            self._next((topic, partition)) - at <= _BACK_MESSAGES
            for partition, at in positions.items()
            if (topic, partition) in self._wanting
        )

    def assign(self, part: _Part, topic: str, positions: Mapping[int, int]) -> None:
        fresh: dict[int, int] = {}
        back: dict[int, int] = {}
        for partition, at in positions.items():
            place = (topic, partition)
            if place not in self._wanting:
                fresh[partition] = at
            elif at < self._next(place):
                back[partition] = at
            self._wanting.setdefault(place, []).append(part)
            part.wanted[place] = at
        if back:
            self.reader.unassign(topic, list(back))
        if fresh or back:
            self.reader.assign(topic, fresh | back)

    def _next(self, place: Place) -> int:
        """What the reader of a partition is dealt next, or earlier."""
        return min(part.wanted[place] for part in self._wanting[place])

    def _leave(self, part: _Part) -> None:
        """Deal a view no more."""
        for topic, positions in _by_topic(part.wanted).items():
            alone = []
            for partition in positions:
                wanting = self._wanting[topic, partition]
                wanting.remove(part)
                if not wanting:
                    del self._wanting[topic, partition]
                    alone.append(partition)
            if alone:
                self.reader.unassign(topic, alone)

    def poll(self, part: _Part, max_messages: int, timeout_s: float) -> list[RawBatch]:
        """For one view: what waits for it, or else what has come."""
        give_up = time.monotonic() + timeout_s
        while True:
            taken = part.take(max_messages)
            if taken or part.is_away:
                return taken
            self._deal(self.reader.poll(max_messages, max(0.0, give_up - time.monotonic())))
            if not part.waiting and time.monotonic() >= give_up:
                return []

    def _deal(self, batches: list[RawBatch]) -> None:
        for batch in batches:
            place = (batch.topic, batch.partition)
            for part in list(self._wanting.get(place, ())):  # none: of a view that was closed
                at = part.wanted[place]
                # No message twice, whatever is dealt.
                first = int(np.searchsorted(batch.offsets, at))
                if first == len(batch):
                    continue
                part.add(batch if not first else part_of(batch, first, len(batch)))
                part.wanted[place] = int(batch.offsets[-1]) + 1
                if part.messages > _WAITING_MESSAGES or part.size > _WAITING_BYTES:
                    part.is_away = True
                    self._leave(part)

    def bring_back(self, part: _Part) -> bool:
        """Deal to a view again that took too little; False: others have gone too far ahead."""
        wanted = _by_topic(part.wanted)
        if not all(self.is_near(topic, positions) for topic, positions in wanted.items()):
            return False
        part.is_away = False
        for topic, positions in wanted.items():
            self.assign(part, topic, positions)
        return True

    def position(self, part: _Part, topic: str, partition: int) -> int:
        for batch in part.waiting:
            if (batch.topic, batch.partition) == (topic, partition):
                return int(batch.offsets[0])
        at, place = part.wanted[topic, partition], (topic, partition)
        if part.is_away or at > self._next(place):
            return at
        return max(at, self.reader.position(topic, partition))

    def drop(self, part: _Part) -> None:
        if not part.is_away:
            self._leave(part)
        part.wanted.clear()
        part.waiting.clear()

    def close(self) -> None:
        self.reader.close()


def _by_topic(wanted: Mapping[Place, int]) -> dict[str, dict[int, int]]:
    found: dict[str, dict[int, int]] = {}
    for (topic, partition), at in wanted.items():
        found.setdefault(topic, {})[partition] = at
    return found


def _size(batch: RawBatch) -> int:
    return sum(map(len, filter(None, batch.values)))


class ReaderView:
    """A LogReader: a part of the thread's."""

    def __init__(
        self, counted: "_Counted[_Demultiplexer]", open_own: Callable[[], LogReader]
    ) -> None:
        self._counted = counted
        self._shared = counted.take()
        self._part = _Part()
        self._open_own = open_own
        self._own: LogReader | None = None  # once it is far behind others of the same partitions
        self._owns: set[Place] = set()
        self._closed = False

    def assign(self, topic: str, positions: Mapping[int, int]) -> None:
        if not self._part.is_away and self._shared.is_near(topic, positions):
            self._shared.assign(self._part, topic, positions)
        else:
            self._assign_own(topic, positions)

    def _assign_own(self, topic: str, positions: Mapping[int, int]) -> None:
        if self._own is None:
            self._own = self._open_own()
        self._own.assign(topic, positions)
        self._owns.update((topic, partition) for partition in positions)

    def unassign(self, topic: str, partitions: Iterable[int]) -> None:
        raise LogError(
            f"topic {topic!r}: a view expected to be closed, not to give back partitions"
        )

    def poll(self, max_messages: int, timeout_s: float = 0.0) -> list[RawBatch]:
        found: list[RawBatch] = []
        if self._own is not None:
            found = self._own.poll(max_messages, 0.0 if self._part.wanted else timeout_s)
        left = max_messages - sum(map(len, found))
        if self._part.wanted and left > 0:
            found = found + self._shared.poll(self._part, left, 0.0 if found else timeout_s)
            if self._part.is_away and not self._part.waiting:
                self._come_back()
        return found

    def _come_back(self) -> None:
        """Read on, for itself where others of the same partitions have gone too far ahead."""
        if self._shared.bring_back(self._part):
            return
        behind, self._part = self._part, _Part()
        for topic, positions in _by_topic(behind.wanted).items():
            self._assign_own(topic, positions)

    def commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        self._shared.reader.commit(group, topic, offsets)

    def position(self, topic: str, partition: int) -> int:
        if self._own is not None and (topic, partition) in self._owns:
            return self._own.position(topic, partition)
        return self._shared.position(self._part, topic, partition)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._own is not None:
            self._own.close()
        self._shared.drop(self._part)
        self._counted.give_back()


W = TypeVar("W", bound=LogWriter)


class _Writes(Generic[W]):
    """What all views of a writer do."""

    def __init__(self, counted: "_Counted[W]") -> None:
        self._counted = counted
        self._writer = counted.take()
        self._closed = False

    def write(self, topic: str, messages: Iterable[Outgoing]) -> None:
        self._writer.write(topic, messages)

    def write_columns(
        self,
        topic: str,
        partition: int,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        headers: Sequence[Headers] | None = None,
        times_ms: NDArray[np.int64] | None = None,
    ) -> None:
        self._writer.write_columns(topic, partition, keys, values, headers, times_ms)

    def flush(self, timeout_s: float) -> None:
        self._writer.flush(timeout_s)


class WriterView(_Writes[LogWriter]):
    """A LogWriter: the thread's."""

    def close(self) -> None:
        """Flush; the last one releases."""
        if not self._closed:
            self._closed = True
            try:
                self._writer.flush(30.0)
            finally:
                self._counted.give_back()


class TransactionalView(_Writes[TransactionalWriter]):
    """A TransactionalWriter: that of its name."""

    def commit(self, timeout_s: float) -> None:
        self._writer.commit(timeout_s)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._counted.give_back()


class AdminView:
    """A LogAdmin: the thread's."""

    def __init__(self, counted: "_Counted[LogAdmin]") -> None:
        self._counted = counted
        self._admin = counted.take()
        self._closed = False

    def topics(self) -> list[str]:
        return self._admin.topics()

    def describe(self, topic: str) -> TopicInfo:
        return self._admin.describe(topic)

    def create(self, spec: TopicSpec) -> None:
        self._admin.create(spec)

    def add_partitions(self, topic: str, total: int) -> None:
        self._admin.add_partitions(topic, total)

    def delete(self, topic: str) -> None:
        self._admin.delete(topic)

    def bounds(self, topic: str) -> dict[int, OffsetBounds]:
        return self._admin.bounds(topic)

    def ends(self, topic: str, committed: bool = False) -> dict[int, int]:
        return self._admin.ends(topic, committed)

    def offsets_at(self, topic: str, timestamp_ms: int) -> dict[int, int]:
        return self._admin.offsets_at(topic, timestamp_ms)

    def identity(self, topic: str) -> str | None:
        return self._admin.identity(topic)

    def committed(self, group: str, topic: str, within_s: float | None = None) -> dict[int, int]:
        return self._admin.committed(group, topic, within_s)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._counted.give_back()


__all__ = ["SharedLog"]
