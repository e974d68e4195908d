"""The sink over a log: encoded records, in order for each partition of the topic.

- *Unit of parallelism*: a lane, as in `connectors.source`: partition p of the topic is written by
  lane `p % lanes`. The lanes of a worker share one writer.
- *A snapshot* waits until everything written in the epoch is acknowledged, so that the engine never
  takes an epoch for done whose output could still be lost. It holds, for each partition of the
  lane, the offset at which the log then ended, or from which it must be read again.
- *After a crash* the engine repeats what came after the last snapshot, and the log may already hold
  any part of that. So a resumed lane first reads the log from its snapshot to its end, learns from
  each record which input it answers, and drops these answers when they come again. A lane without
  a snapshot reads from where the log ended when the recovery directory was new (OutputStart).
- *After a second crash* the log may hold answers that the run before had read back and not yet come
  to again. So while some of these are waited for, a snapshot holds the offset of the first of them.
- *In transactions* each lane writes under a name of its own, whatever worker has it, so that
  opening it shuts out the worker that had it before. The transactions of an epoch are committed by
  its snapshot. What was committed when the engine's own snapshot was not yet is read back as above.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from streamrec.connectors.ending import Ending
from streamrec.connectors.log import (
    Log,
    LogAdmin,
    LogError,
    LogReader,
    LogWriter,
    Outgoing,
    RawBatch,
    TransactionalWriter,
    UnreachableError,
)
from streamrec.connectors.out import Out
from streamrec.connectors.per_thread import PerThread
from streamrec.connectors.reading import read_to
from streamrec.connectors.source import lane_name
from streamrec.connectors.written_once import write_once

_logger = logging.getLogger(__name__)

_READ_BACK_MESSAGES = 10_000  # a poll

Source = tuple[int, int]  # partition and offset of the input that a record answers
# Of those records that are ours: the input, and the offset of the record itself.
SourcesOf = Callable[[RawBatch], list[tuple[Source, int]]]
Written = dict[Source, tuple[int, int]]  # partition and offset of the answer


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

    recorded = json.loads(write_once(folder / f"{topic}.json", found))
    offsets = {int(partition): offset for partition, offset in recorded["offsets"].items()}
    return OutputStart(recorded["partitions"], offsets)


SinkPosition = dict[int, int]  # partition to the offset at which it ended


@dataclass(frozen=True, slots=True)
class Transactions:
    """How a topic is written in transactions."""

    prefix: str  # of the writers' names: what tells this dataflow from others
    timeout_s: float  # longer than an epoch


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """How a topic is written. Without `sources_of` and `start` a crash may repeat records."""

    topic: str
    lanes: int = 8
    flush_timeout_s: float = 120.0
    sources_of: Callable[[], SourcesOf] | None = None  # called once for each worker that resumes
    start: Callable[[], OutputStart] | None = None
    ending: Ending | None = None  # is told when a lane has flushed for the last time
    transactions: Transactions | None = None  # None: each record is visible when it is written
    # Asked before records are handed to the writer and before an epoch is done: returns when this
    # process still is the one that may, and raises, or ends it, when it is not.
    holding: Callable[[], object] = lambda: None
    on_write: Callable[[int], object] = lambda count: None  # told how many records were written


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
        self._position = dict(resume or {})
        self._written = shared.open_lane(lane, resume)
        self._reached: dict[int, int] = {}  # by source partition, while something was written

    def write_batch(self, values: list[Out]) -> None:
        with self._shared.failing():
            self._shared.options.holding()
        for out in values:
            if self._written:
                out = self._without_written(out)
            if out.values:
                with self._shared.failing():
                    self._shared.write(self._lane, out)

    def _without_written(self, out: Out) -> Out:
        """Drop what the log already holds from before the crash."""
        assert out.sources is not None
        found = []
        for index, (partition, offset) in enumerate(out.sources.tolist()):
            self._reached[partition] = max(offset, self._reached.get(partition, -1))
            if self._written.pop((partition, offset), None) is not None:
                found.append(index)
        return out.without(found) if found else out

    def snapshot(self) -> SinkPosition:
        with self._shared.failing():
            self._shared.options.holding()
            self._position.update(self._shared.flushed_ends(self._lane))
        if not self._written:
            return dict(self._position)
        # Inputs come in order, and all of an epoch have come when it is closed: what was passed
        # without coming again (another dataflow's answer, an error that did not repeat) never will.
        self._written = {
            source: place
            for source, place in self._written.items()
            if source[1] > self._reached.get(source[0], -1)
        }
        awaited = dict(self._position)
        for partition, offset in self._written.values():
            awaited[partition] = min(offset, awaited.get(partition, offset))
        return awaited

    def close(self) -> None:
        self._shared.close_lane()


@dataclass
class _SharedWriter:
    """One writer for the lanes of a worker, and what a resumed lane needs."""

    log: Log
    options: SinkOptions
    lanes_open: int = 0
    ends: dict[int, int] | None = None  # None: something was written since they were asked for
    reader: LogReader | None = None
    sources_of: SourcesOf | None = None
    admin: LogAdmin = field(init=False)
    in_lanes: dict[int, TransactionalWriter] = field(default_factory=dict)
    writer: LogWriter | None = None  # of all lanes; None: each has its own
    failed: bool = False

    def __post_init__(self) -> None:
        if self.options.transactions is None:
            self.writer = self.log.writer()
        self.admin = self.log.admin()
        self.start = None if self.options.start is None else self.options.start()

    def open_lane(self, lane: int, resume: SinkPosition | None) -> Written:
        """Count a lane in; returns the inputs whose answers the log already holds, and where."""
        self.lanes_open += 1
        if self.options.ending is not None:
            self.options.ending.sink_opened()
        transactions = self.options.transactions
        if transactions is not None:
            # Before looking where the topic ends: from here on nobody else can add to it.
            name = f"{transactions.prefix}.{self.options.topic}.{lane_name(lane)}"
            self.in_lanes[lane] = self.log.transactional_writer(name, transactions.timeout_s)
        if self.options.sources_of is None or self.start is None:
            return {}
        position = {p: end for p, end in self.start.offsets.items() if self._is_of(p, lane)}
        position.update(resume or {})
        bounds = self.admin.bounds(self.options.topic)
        ends = {p: bound.high for p, bound in bounds.items()}
        # Answers that retention has removed cannot be told from those never written.
        position = {p: max(at, bounds[p].low) for p, at in position.items() if p in bounds}
        behind = {p: at for p, at in position.items() if at < ends[p]}
        if not behind:
            return {}
        written = self._read_back(behind, ends)
        _logger.info(
            "output topic %s: lane %d found %d records from before the restart",
            self.options.topic,
            lane,
            len(written),
        )
        return written

    def _is_of(self, partition: int, lane: int) -> bool:
        return partition % self.options.lanes == lane

    def _read_back(self, behind: dict[int, int], ends: dict[int, int]) -> Written:
        assert self.options.sources_of is not None
        if self.reader is None:
            self.reader = self.log.reader(ends=True)
        if self.sources_of is None:
            self.sources_of = self.options.sources_of()
        self.reader.assign(self.options.topic, behind)
        written = Written()
        for batch in read_to(
            self.reader,
            self.options.topic,
            behind,
            ends,
            self.log.patience,
            _READ_BACK_MESSAGES,
            stalled_s=self.options.flush_timeout_s,
        ):
            for source, offset in self.sources_of(batch):
                written[source] = (batch.partition, offset)
        return written

    def write(self, lane: int, out: Out) -> None:
        self.ends = None
        if self.reader is not None:  # all lanes are open: what it would fetch is our own output
            self.reader.close()
            self.reader = None
        writer = self.writer or self.in_lanes[lane]
        self.options.on_write(len(out.values))
        if out.headers is None:
            writer.write_columns(self.options.topic, out.partition, out.keys, out.values)
            return
        writer.write(
            self.options.topic,
            [
                Outgoing(key, value, headers, partition=out.partition)
                for key, value, headers in zip(out.keys, out.values, out.headers, strict=True)
            ],
        )

    def flushed_ends(self, lane: int) -> SinkPosition:
        """Where the lane's partitions end once everything written is acknowledged; nothing when a
        restart would not read them back."""
        if self.ends is None:
            self._flush_or_commit()
            self.ends = {} if self.options.sources_of is None else self._ends_now()
        return {p: end for p, end in self.ends.items() if self._is_of(p, lane)}

    def _ends_now(self) -> SinkPosition:
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
            if self.reader is not None:
                self.reader.close()
