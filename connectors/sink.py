"""The sink over a log: encoded records, in order for each partition of the topic.

- *Unit of parallelism*: a lane, as in `connectors.source`: partition p of the topic is written by
  lane `p % lanes`. The lanes of a worker share one writer.
- *A snapshot* waits until everything written in the epoch is acknowledged, so that the engine never
  takes an epoch for done whose output could still be lost. It holds, for each partition of the
  lane, the offset at which the log then ended, or from which it must be read again.
- *After a crash* the engine repeats what came after the last snapshot, and the log may already hold
  any part of that. So a resumed lane first reads the log from its snapshot to its end, learns from
  each record which output it is (`out.OutputId`), and drops these when they come again, in whatever
  order. A lane without a snapshot reads from where the log ended when the recovery directory was
  new (OutputStart).
- *After a second crash* the log may hold outputs that the run before had read back and not yet come
  to again. So a snapshot holds the ids of those that are still awaited: as many as one epoch that
  was broken off had written, and fewer with each that comes. Where outputs come when their input is
  read, those of inputs that were passed are awaited no more; where they come late, all are until
  they come, or for a day of running.
- *One fate*: an output that stands in another topic of the dataflow, as an error does where there
  was an answer, is not written a second time in this one. So a snapshot holds where the others end,
  too, and they are read from there.
- *In transactions* each lane writes under a name of its own, whatever worker has it, so that
  opening it shuts out the worker that had it before. The transactions of an epoch are committed by
  its snapshot. What was committed when the engine's own snapshot was not yet is read back as above.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamrec.connectors.ending import Ending
from streamrec.connectors.log import (
    Log,
    LogAdmin,
    LogError,
    LogReader,
    LogWriter,
    RawBatch,
    TransactionalWriter,
    UnreachableError,
)
from streamrec.connectors.out import Out, OutputId
from streamrec.connectors.per_thread import PerThread
from streamrec.connectors.reading import read_to
from streamrec.connectors.source import lane_name
from streamrec.connectors.starts import check_identity
from streamrec.connectors.written_once import write_once

_logger = logging.getLogger(__name__)

_READ_BACK_MESSAGES = 10_000  # a poll

_AWAITED_S = 86_400.0  # of running, for outputs that come late
_OTHERS_S = 1.0  # how often it is asked where other topics end

IdsOf = Callable[[RawBatch], list[OutputId]]  # of those records that are ours


@dataclass(frozen=True, slots=True)
class OutputStart:
    """An output topic as it was when a recovery directory was new."""

    partitions: int  # records are spread over these, also when the topic grows later
    offsets: dict[int, int]  # where each partition ended


def output_start(folder: Path, topic: str, admin: LogAdmin) -> OutputStart:
    """Read, or record at the first start, how an output topic began.

    The key's partition must be the same when a crash makes the flow repeat itself; and what a run
    wrote that was killed before its first snapshot must be found.
    """

    def found() -> bytes:
        bounds = admin.bounds(topic)
        ends = {str(p): bound.high for p, bound in bounds.items()}
        return json.dumps({"partitions": len(bounds), "offsets": ends}).encode()

    check_identity(folder / f"{topic}.id", admin, topic)
    recorded = json.loads(write_once(folder / f"{topic}.json", found))
    offsets = {int(partition): offset for partition, offset in recorded["offsets"].items()}
    return OutputStart(recorded["partitions"], offsets)


@dataclass(frozen=True, slots=True)
class SinkPosition:
    """What a restart of a lane needs."""

    ends: dict[int, int]  # of each partition of the lane: what is from there on is read back
    awaited: frozenset[OutputId] = frozenset()  # read back, and not come again yet
    awaited_s: float = _AWAITED_S  # of running, for how much longer
    others: dict[str, dict[int, int]] = field(default_factory=dict)  # ends of other topics
    elsewhere: frozenset[OutputId] = frozenset()  # read back from these, and not come again yet

    def beside(self) -> dict[str, Any]:
        """All but the ends, as plain values."""
        return {
            "awaited": [tuple(each) for each in sorted(self.awaited)],
            "awaited_s": self.awaited_s,
            "others": self.others,
            "elsewhere": [tuple(each) for each in sorted(self.elsewhere)],
        }

    @classmethod
    def of_plain(cls, ends: dict[int, int], beside: Mapping[str, Any] | None) -> "SinkPosition":
        """The inverse. Snapshots of before have nothing beside."""
        if not beside:
            return cls(ends)
        awaited, elsewhere = (
            frozenset(OutputId(*each) for each in beside[name]) for name in ("awaited", "elsewhere")
        )
        return cls(ends, awaited, beside["awaited_s"], beside["others"], elsewhere)


@dataclass(frozen=True, slots=True)
class Written:
    """A topic of outputs, as a restart reads it back."""

    topic: str
    ids_of: Callable[[], IdsOf]  # called once for each worker that resumes
    start: Callable[[], OutputStart]


@dataclass(frozen=True, slots=True)
class Transactions:
    """How a topic is written in transactions."""

    prefix: str  # of the writers' names: what tells this dataflow from others
    timeout_s: float  # longer than an epoch
    shared: bool = False  # by all topics of a lane (`connectors.shared_log`)


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """How a topic is written. Without `written` a crash may repeat records."""

    topic: str
    lanes: int = 8
    flush_timeout_s: float = 120.0
    written: Written | None = None
    # Asked when a lane is opened: topics in which an output may stand instead of this one.
    others: Callable[[], Iterable[Written]] = tuple
    late: bool = False  # outputs may come long after their input
    ending: Ending | None = None  # is told when a lane has flushed for the last time
    transactions: Transactions | None = None  # None: each record is visible when it is written
    # Asked before records are handed to the writer and before an epoch is done: returns when this
    # process still is the one that may, and raises, or ends it, when it is not.
    holding: Callable[[], object] = lambda: None
    on_write: Callable[[Out], object] = lambda out: None  # told what was written
    carried: Callable[[Out], Out] | None = None  # gives records their headers of traces


class LogSink:
    """Writes one topic. For any engine that routes `out` to the lane `out.lane(lanes)`."""

    def __init__(self, log: Log, options: SinkOptions) -> None:
        self._log = log
        self._options = options
        self._shared = PerThread(lambda: _SharedWriter(log, options))

    def list_parts(self) -> list[str]:
        return [lane_name(lane) for lane in range(self._options.lanes)]

    def open_lane(self, name: str, resume: SinkPosition | None) -> "SinkLane":
        """One of `list_parts`, in the thread that will write it."""
        return SinkLane(self._shared(), int(name.removeprefix("lane-")), resume)


class SinkLane:
    """One lane: the partitions p of the topic with p % lanes == lane."""

    def __init__(self, shared: "_SharedWriter", lane: int, resume: SinkPosition | None) -> None:
        self._shared = shared
        self._lane = lane
        self._position = dict(resume.ends) if resume else {}
        self._awaited, self._elsewhere = shared.open_lane(lane, resume)
        known = resume.awaited | resume.elsewhere if resume else frozenset()
        is_new = not known or not known.issuperset(self._awaited | self._elsewhere)
        left_s = _AWAITED_S if is_new or resume is None else resume.awaited_s
        self._awaited_until_s = time.monotonic() + left_s
        # By topic and partition of the input, while something is awaited.
        self._reached: dict[tuple[str, int], int] = {}

    def write_batch(self, values: list[Out]) -> None:
        with self._shared.failing():
            self._shared.options.holding()
        for out in values:
            if self._awaited or self._elsewhere:
                out = self._without_written(out)
            if out.values:
                if self._shared.options.carried is not None:
                    out = self._shared.options.carried(out)
                with self._shared.failing():
                    self._shared.write(self._lane, out)

    def _without_written(self, out: Out) -> Out:
        """Drop what the log already holds from before the crash."""
        assert out.sources is not None
        found = []
        for index, output in enumerate(out.sources.ids()):
            place = (output.topic, output.partition)
            self._reached[place] = max(output.offset, self._reached.get(place, -1))
            if output in self._awaited:
                self._awaited.discard(output)
                found.append(index)
            elif output in self._elsewhere:
                found.append(index)
        return out.without(found) if found else out

    def _forget(self) -> None:
        """What can come no more is awaited no more."""
        if time.monotonic() > self._awaited_until_s:
            if self._awaited:
                _logger.warning(
                    "output topic %s: %d outputs that are there did not come again within %.0f h "
                    "of running, and are awaited no more: the first is %s",
                    self._shared.options.topic,
                    len(self._awaited),
                    _AWAITED_S / 3600,
                    min(self._awaited),
                )
            self._awaited.clear()
            self._elsewhere = frozenset()
        if not self._shared.options.late:
            # Inputs come in order, and all of an epoch have come when it is closed: what was passed
            # without coming again (an error that did not repeat) never will.
            self._awaited = set(self._not_reached(self._awaited))
            self._elsewhere = frozenset(self._not_reached(self._elsewhere))

    def _not_reached(self, outputs: Iterable[OutputId]) -> Iterator[OutputId]:
        for each in outputs:
            if each.offset > self._reached.get((each.topic, each.partition), -1):
                yield each

    def snapshot(self) -> SinkPosition:
        with self._shared.failing():
            self._shared.options.holding()
            self._position.update(self._shared.flushed_ends(self._lane))
            others = self._shared.other_ends()
        if self._awaited or self._elsewhere:
            self._forget()
        left_s = self._awaited_until_s - time.monotonic()
        awaited = frozenset(self._awaited)
        return SinkPosition(dict(self._position), awaited, left_s, others, self._elsewhere)

    def close(self) -> None:
        self._shared.close_lane()


@dataclass
class _SharedWriter:
    """One writer for the lanes of a worker, and what a resumed lane needs."""

    log: Log
    options: SinkOptions
    lanes_open: int = 0
    ends: dict[int, int] | None = None  # None: something was written since they were asked for
    ends_of_others: dict[str, dict[int, int]] = field(default_factory=dict)
    others_asked_s: float = -_OTHERS_S
    readers: dict[str, LogReader] = field(default_factory=dict)  # by topic, while lanes are opened
    ids_of: dict[str, IdsOf] = field(default_factory=dict)
    elsewhere: frozenset[OutputId] | None = None  # None: the others were not read back yet
    admin: LogAdmin = field(init=False)
    in_lanes: dict[int, TransactionalWriter] = field(default_factory=dict)
    writer: LogWriter | None = None  # of all lanes; None: each has its own
    failed: bool = False

    def __post_init__(self) -> None:
        if self.options.transactions is None:
            self.writer = self.log.writer()
        self.admin = self.log.admin()
        self.written = self.options.written
        if self.written is not None:
            self.written.start()  # what is not recorded yet is as it is now
        self.others = {each.topic: each for each in self.options.others()}

    def open_lane(
        self, lane: int, resume: SinkPosition | None
    ) -> tuple[set[OutputId], frozenset[OutputId]]:
        """Count a lane in; returns the outputs that the log already holds, in the partitions of the
        lane, and in other topics."""
        self.lanes_open += 1
        if self.options.ending is not None:
            self.options.ending.sink_opened()
        transactions = self.options.transactions
        if transactions is not None:
            # Before looking where the topic ends: from here on nobody else can add to it.
            topic = "" if transactions.shared else f".{self.options.topic}"
            name = f"{transactions.prefix}{topic}.{lane_name(lane)}"
            self.in_lanes[lane] = self.log.transactional_writer(name, transactions.timeout_s)
        if self.written is None:
            return set(), frozenset()
        start = self.written.start()
        position = {p: end for p, end in start.offsets.items() if self._is_of(p, lane)}
        position.update(resume.ends if resume else {})
        awaited = set(self._read_back(self.written, position))
        if awaited:
            _logger.info(
                "output topic %s: lane %d found %d records from before the restart",
                self.options.topic,
                lane,
                len(awaited),
            )
        if resume is not None:
            awaited |= resume.awaited
        if self.elsewhere is None:
            # As any lane has it: no output of the epoch that was broken off was written before the
            # snapshots of the one before. Not there: saved by a version that did not look.
            others = {topic: each.start().offsets for topic, each in self.others.items()}
            if resume is not None:
                others = {t: at for t, at in resume.others.items() if t in self.others}
            self.elsewhere = frozenset(
                each
                for topic, position in others.items()
                for each in self._read_back(self.others[topic], position)
            )
        return awaited, self.elsewhere | (resume.elsewhere if resume else frozenset())

    def _is_of(self, partition: int, lane: int) -> bool:
        return partition % self.options.lanes == lane

    def _read_back(self, written: Written, position: Mapping[int, int]) -> Iterator[OutputId]:
        """The outputs that stand from a position on to where the topic ends now.

        A transaction that is still open in another topic is one of a lane that was killed, and is
        taken back when that lane is opened, or one of a lane that goes on and waits for this one:
        what is committed before it is all. Of its own topic a lane has shut out who had it.
        """
        topic = written.topic
        bounds = self.admin.bounds(topic)
        ends = self.admin.ends(topic, committed=topic != self.options.topic)
        # Answers that retention has removed cannot be told from those never written.
        position = {p: max(at, bounds[p].low) for p, at in position.items() if p in bounds}
        behind = {p: at for p, at in position.items() if at < ends.get(p, 0)}
        if not behind:
            return
        if topic not in self.readers:
            self.readers[topic] = self.log.reader(ends=True)
            self.ids_of[topic] = written.ids_of()
        self.readers[topic].assign(topic, behind)
        for batch in read_to(
            self.readers[topic],
            topic,
            behind,
            ends,
            self.log.patience,
            _READ_BACK_MESSAGES,
            stalled_s=self.options.flush_timeout_s,
        ):
            yield from self.ids_of[topic](batch)

    def write(self, lane: int, out: Out) -> None:
        self.ends = None
        if self.readers:  # all lanes are open: what they would fetch is our own output
            self._close_readers()
        writer = self.writer or self.in_lanes[lane]
        self.options.on_write(out)
        writer.write_columns(
            self.options.topic, out.partition, out.keys, out.values, out.headers, out.times_ms
        )

    def flushed_ends(self, lane: int) -> dict[int, int]:
        """Where the lane's partitions end once everything written is acknowledged; nothing when a
        restart would not read them back."""
        if self.readers:  # all lanes are open
            self._close_readers()
        if self.ends is None:
            self._flush_or_commit()
            self.ends = {} if self.written is None else self._ends_now()
        return {p: end for p, end in self.ends.items() if self._is_of(p, lane)}

    def other_ends(self) -> dict[str, dict[int, int]]:
        """Where the other topics ended, a moment ago: what is read from there on may be more than
        need be, and is not less."""
        now_s = time.monotonic()
        if self.others and now_s - self.others_asked_s > _OTHERS_S:
            self.others_asked_s = now_s
            try:
                self.ends_of_others = {topic: self.admin.ends(topic) for topic in self.others}
            except UnreachableError as error:
                _logger.warning("where other topics end is not known anew: %s", error)
        return self.ends_of_others

    def _close_readers(self) -> None:
        for reader in self.readers.values():
            reader.close()
        self.readers = {}

    def _ends_now(self) -> dict[int, int]:
        """As patient as flushing is: a broker that is away must not end the flow sooner."""
        give_up = time.monotonic() + self.options.flush_timeout_s
        while True:
            try:
                return self.admin.ends(self.options.topic)
            except UnreachableError as error:
                if time.monotonic() > give_up:
                    raise
                _logger.warning("snapshot waits for topic %s: %s", self.options.topic, error)

    def _flush_or_commit(self) -> None:
        """For all lanes of the worker: the first snapshot of an epoch does it for the others."""
        timeout_s = self.options.flush_timeout_s
        if self.writer is not None:
            self.writer.flush(timeout_s)
            return
        for writer in self.in_lanes.values():
            writer.commit(timeout_s)

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Tell what ends the flow, and remember it: while the engine ends itself it closes every
        lane, and an error there aborts the process before the first one was shown."""
        try:
            yield
        except LogError as error:
            if not self.failed:
                _logger.error("output topic %s: %s", self.options.topic, error)
            self.failed = True
            raise

    def close_lane(self) -> None:
        """The engine closes what it drops after a crash, too: a transaction that is open then is
        not committed; its epoch will run again."""
        if self.failed:
            return
        if self.writer is not None:
            self.writer.flush(self.options.flush_timeout_s)
        if self.options.ending is not None:
            self.options.ending.sink_closed()
        self.lanes_open -= 1
        if not self.lanes_open:
            for writer in (self.writer, *self.in_lanes.values()):
                if writer is not None:
                    writer.close()
            self.admin.close()
            self._close_readers()
