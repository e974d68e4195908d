"""The source over a log: partitions of a topic, read in micro-batches.

- *Unit of parallelism*: a lane. A topic's partition p belongs to lane `p % lanes`, so the lanes,
  which the engine spreads over workers and keys its recovery by, stay the same while the topic
  grows. All lanes of a worker share one reader (a Kafka consumer each would cost threads and small
  fetches).
- *A snapshot* holds, for each partition of the lane, the offset of the next message.
- *A poll* never blocks: while little comes in, messages gather for `gather_ms` between polls.
- *With an allowance* a lane hands out no more than what answers its topic can take, a finite run
  ends when all of it is answered, and progress that is shown stays before what is not.
- *With ticks* a lane hands over what comes before a tick, the tick, and so on (`ticks.gate`).
- *After a crash* what was read since the last snapshot is read again. Where a partition began that
  no snapshot knows is on disk from the first start on (`SourceStart`): a crash before the first
  snapshot must begin there again, whatever `latest` or the group's offsets say by then.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from streamrec.connectors.allowance import Allowance
from streamrec.connectors.batch_part import part
from streamrec.connectors.ending import Ending
from streamrec.connectors.log import (
    Log,
    LogAdmin,
    LogError,
    LogReader,
    OffsetBounds,
    OffsetOutOfRangeError,
    RawBatch,
    UnreachableError,
)
from streamrec.connectors.per_thread import PerThread
from streamrec.connectors.starts import Positions, SourceStart, Start, positions_at
from streamrec.connectors.ticks.gate import Gate, GateOptions
from streamrec.connectors.ticks.tick import LaneTick

_logger = logging.getLogger(__name__)

_LOOK_AT_GROUP_S = 2.0  # no longer: its coordinator may be away while partitions can be read
_LOOK_AGAIN_S = 300.0  # after a group could not be looked at


class SourceReport(Protocol):
    """Is told how a source is doing, by several threads."""

    def began(self, topic: str, positions: Mapping[int, int], resumed: int) -> None:
        """A worker reads these partitions from here; `resumed` of them from a snapshot."""

    def read(self, topic: str, batches: Sequence[RawBatch], positions: Mapping[int, int]) -> None:
        """Records were read, or none; `positions` are the next offsets of their partitions."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How a topic is read."""

    topic: str
    group: str
    start: Start = field(default_factory=Start)
    follow: bool = True  # False: stop at the ends that the partitions had when the source started
    lanes: int = 8
    batch_messages: int = 1_000
    gather_ms: int = 5
    discover_s: float = 10.0  # how often to look for new partitions
    commit: bool = True  # commit group offsets, so that lag shows
    offsets_decide: bool = False  # nothing else says where the next start begins
    skip_lost: bool = False  # go on when retention removed what was to be read; False: stop
    remember_start: SourceStart | None = None  # None: nothing is kept over a restart
    ending: Ending | None = None  # commits where the source ended; None: nobody does
    stopping: Callable[[], bool] = lambda: False  # asked at each poll; true: end, as at the end
    report: SourceReport | None = None
    ticks: GateOptions | None = None  # None: records are handed over as they come
    allowance: Allowance | None = None  # None: as many as there are; not with ticks

    def positions(self, admin: LogAdmin) -> Positions:
        """Where the partitions begin that no snapshot knows."""
        find = positions_at if self.remember_start is None else self.remember_start
        return find(self.start, admin, self.group, self.topic)


def lane_name(lane: int) -> str:
    return f"lane-{lane:03d}"


class LogSource:
    """Emits `RawBatch`es of one topic. For any engine that deals its lanes out to workers."""

    def __init__(self, log: Log, options: SourceOptions) -> None:
        self._log = log
        self._options = options
        # A reader is for one thread.
        self._shared = PerThread(lambda: _SharedReader(log, options))

    def list_parts(self) -> list[str]:
        return [lane_name(lane) for lane in range(self._options.lanes)]

    def open_lane(
        self, name: str, resume: Positions | None, tick: int | None = None
    ) -> "SourceLane":
        """One of `list_parts`, in the thread that will read it. `tick` is the last one that a
        resumed lane had come to."""
        return SourceLane(self._shared(), int(name.removeprefix("lane-")), resume, tick)


class SourceLane:
    """One lane: the partitions p of the topic with p % lanes == lane."""

    def __init__(
        self,
        shared: "_SharedReader",
        lane: int,
        resume: Positions | None,
        tick: int | None = None,
    ) -> None:
        self._shared = shared
        self._lane = lane
        self._round = -1
        self._durable: Positions = {}  # to be shown as the group's progress
        self._ended = False
        self._next = shared.open_lane(lane, resume, tick)
        if shared.gate is not None:
            self.next_batch = self._next_with_ticks  # type: ignore[method-assign, assignment]
        self._allowed = None
        if shared.options.allowance is not None:
            self._allowed = _Allowed(shared, lane, shared.options.allowance)
            self.next_batch = self._next_allowed  # type: ignore[method-assign]

    @property
    def ended(self) -> bool:
        """Whether there is no more to come: the end was reached, or a stop asked for."""
        return self._ended

    def next_batch(self) -> list[RawBatch]:
        if self._shared.options.stopping():
            self._ended = True
            raise StopIteration
        batches = self._shared.take(self._lane, self._round)
        self._round = self._shared.round
        for batch in batches:
            self._next[batch.partition] = int(batch.offsets[-1]) + 1
        options = self._shared.options
        if batches and options.report is not None:
            options.report.read(options.topic, batches, self._next)
        if not batches and self._shared.ended(self._lane, self._next):
            self._ended = True
            raise StopIteration
        return batches

    def _next_allowed(self) -> list[RawBatch]:
        shared, allowed = self._shared, self._allowed
        assert allowed is not None
        if shared.options.stopping():
            self._ended = True
            raise StopIteration
        queue = shared.take(self._lane, self._round)
        self._round = shared.round
        batches = allowed.take(queue)
        for batch in batches:
            self._next[batch.partition] = int(batch.offsets[-1]) + 1
        if batches and shared.options.report is not None:
            shared.options.report.read(shared.options.topic, batches, self._next)
        if not queue and shared.ended(self._lane, self._next) and allowed.is_over():
            self._ended = True
            raise StopIteration
        return batches

    def _next_with_ticks(self) -> list[RawBatch | LaneTick]:
        shared = self._shared
        if shared.options.stopping():
            self._ended = True
            raise StopIteration
        handed = shared.take_gated(self._lane, self._round, self._next)
        self._round = shared.round
        if handed and shared.options.report is not None:
            batches = [each for each in handed if isinstance(each, RawBatch)]
            shared.options.report.read(shared.options.topic, batches, self._next)
        if not handed and shared.gate is not None and shared.gate.has_ended(self._lane):
            self._ended = True
            raise StopIteration
        return handed

    @property
    def tick(self) -> int | None:
        """The last one that was handed over; None: there are none."""
        return None if self._shared.gate is None else self._shared.gate.reached(self._lane)

    def next_awake(self) -> datetime | None:
        if self._allowed is not None and self._allowed.waits:
            return self._shared.soon()
        return self._shared.awake_at

    def snapshot(self) -> Positions:
        # The engine lets a source into epoch N only when N - 1 is durable, so what the previous
        # snapshot held is safe now and may be shown as the group's progress.
        if self._allowed is None:
            self._shared.commit_soon(self._durable)
        else:
            self._shared.commit_soon(self._allowed.answered(self._durable))
        self._durable = self._shared.shown(self._lane, self._next)
        options = self._shared.options
        if options.report is not None:
            options.report.read(options.topic, (), self._durable)
        return dict(self._next)

    def close(self) -> None:
        # The engine also closes what it drops when another process has died. What was read then
        # has not been processed, and its end must not be taken for the group's progress.
        ended = self._shared.shown(self._lane, self._next) if self._ended else {}
        self._shared.close_lane(self._lane, ended)


class _Allowed:
    """What a lane hands out where there is an allowance."""

    def __init__(self, shared: "_SharedReader", lane: int, allowance: Allowance) -> None:
        self.waits = False  # for its turn
        self._shared = shared
        self._lane = lane
        self._allowance = allowance
        self._handed_in = 0  # round in which the lane handed out its last records
        self._answered: Positions = {}

    def take(self, queue: list[RawBatch]) -> list[RawBatch]:
        """As much of what has come for the lane as may be handed out; the rest waits."""
        if not queue:
            self.waits = False
            return queue
        wanted = sum(map(len, queue))
        sizes = (len(value or b"") for batch in queue for value in batch.values)
        count = self._allowance.share(self._shared, self._lane, wanted, sizes)
        self.waits = count < wanted
        if count:
            self._handed_in = self._shared.round
        if not self.waits:
            return queue
        batches, rest = _cut(queue, count)
        self._shared.put_back(self._lane, rest)
        return batches

    def is_over(self) -> bool:
        """Whether all that was handed out is answered. What was handed out in the round before has
        come to the step that answers it, or failed on the way."""
        return self._allowance.is_idle() and self._shared.round > self._handed_in + 1

    def answered(self, durable: Positions) -> Positions:
        """At a snapshot: what may be shown as progress. `durable` are the positions of an epoch of
        which nothing is on its way any more; what of it waits now was not answered by then, and
        what does not was answered, but is acknowledged only with the epoch that now ends."""
        shown, waiting = self._answered, self._allowance.unanswered()
        self._answered = {p: min(at, waiting.get(p, at)) for p, at in durable.items()}
        return shown


def _cut(queue: list[RawBatch], count: int) -> tuple[list[RawBatch], list[RawBatch]]:
    """The first `count` records, and the others."""
    first: list[RawBatch] = []
    for index, batch in enumerate(queue):
        if count < len(batch):
            head = [part(batch, 0, count)] if count else []
            return [*first, *head], [part(batch, count, len(batch)), *queue[index + 1 :]]
        first.append(batch)
        count -= len(batch)
    return first, []


class _SharedReader:
    """One reader for the lanes of a worker: polls once a round and deals out what came."""

    def __init__(self, log: Log, options: SourceOptions) -> None:
        self.options = options
        # An end where no message stands is an end too: for a finite run, and for the lag.
        self._reader: LogReader = log.reader(ends=True)
        self._admin: LogAdmin = log.admin()
        self._queues: dict[int, list[RawBatch]] = {}
        self._known: set[int] = set()
        self._progress: Positions = {}  # durable, not committed yet
        self._committed: Positions = {}
        self._began: Positions = {}
        self._resumed = 0
        self._look_at_group_s = 0.0
        self._foreign: Positions = {}  # offsets that others committed, and that were told
        self._ends: Positions = {}
        self._discover_at = time.monotonic() + options.discover_s
        self.round = 0
        self.awake_at: datetime | None = None
        self._ends = self._admin.ends(options.topic)
        if options.remember_start is not None:
            options.remember_start.check(self._admin, options.topic)
        self.gate: Gate | None = None
        if options.ticks is not None:
            self.gate = Gate(log, options.topic, options.lanes, options.ticks)
        if options.commit:
            self._reader.commit(options.group, options.topic, {})

    def open_lane(self, lane: int, resume: Positions | None, tick: int | None = None) -> Positions:
        self._queues[lane] = []
        if self.gate is not None:
            self.gate.open_lane(lane, tick)
        return self._assign_new(lane, resume or {}, at_start=True)

    def _assign_new(self, lane: int, resume: Positions, at_start: bool) -> Positions:
        """Assign the partitions of a lane that are not read yet; returns their positions."""
        options = self.options
        bounds = self._admin.bounds(options.topic)
        mine = [p for p in bounds if p % options.lanes == lane and p not in self._known]
        fresh = [p for p in mine if p not in resume]
        # A partition found later is read whole: its first messages may be older than the find.
        starts = options.positions(self._admin) if fresh and at_start else {}
        positions = {p: resume.get(p, starts.get(p, bounds[p].low)) for p in mine}
        lost = {p: at for p, at in positions.items() if at < bounds[p].low}
        if lost:
            self._tell_loss(lost, bounds)
            positions |= {p: bounds[p].low for p in lost}
        if at_start:
            self._began |= positions
            self._resumed += len(mine) - len(fresh)
        if positions:
            self._reader.assign(options.topic, positions)
            self._known.update(positions)
        return positions

    def _tell_loss(self, lost: Positions, bounds: Mapping[int, OffsetBounds]) -> None:
        """Records that were to be read are gone: stop, or say so and go on, as the option says."""
        spans = ", ".join(
            f"partition {p} from offset {at} to {bounds[p].low - 1}" for p, at in lost.items()
        )
        count = sum(bounds[p].low - at for p, at in lost.items())
        what = (
            f"topic {self.options.topic!r}: expected to go on where reading had stopped, but up to "
            f"{count} records are gone that were never read: {spans}; retention removed them"
        )
        if not self.options.skip_lost:
            raise OffsetOutOfRangeError(
                f"{what}; to go on without them, with all state kept, set "
                "STREAMREC_LOST_RECORDS=skip; let retention.ms be longer than an outage"
            )
        _logger.error("%s; going on without them", what)

    def take(self, lane: int, lane_round: int) -> list[RawBatch]:
        """What has come for a lane. The first lane to come twice starts the next round."""
        if lane_round == self.round:
            self._poll()
        batches = self._queues[lane]
        if batches:
            self._queues[lane] = []
        return batches

    def put_back(self, lane: int, batches: list[RawBatch]) -> None:
        """What a lane took and may not hand out yet."""
        self._queues[lane] = batches

    def soon(self) -> datetime:
        """When to ask again."""
        return datetime.fromtimestamp(time.time() + self.options.gather_ms / 1000, UTC)

    def take_gated(
        self, lane: int, lane_round: int, positions: Positions
    ) -> list[RawBatch | LaneTick]:
        """The same with ticks. Moves `positions`."""
        assert self.gate is not None
        if lane_round == self.round:
            self._poll()
        topic, reader = self.options.topic, self._reader

        def has_passed(partition: int, end: int) -> bool:
            if partition not in self._known:
                positions.update(self._assign_new(lane, {}, at_start=False))
                return positions.get(partition, 0) >= end
            return reader.position(topic, partition) >= end

        queue, most = self._queues[lane], self.options.batch_messages
        return list(self.gate.take(lane, queue, positions, has_passed, most))

    def _wants_more(self) -> bool:
        """Whether to read on, though there are records that no lane has taken."""
        queued = sum(len(b) for queue in self._queues.values() for b in queue)
        if queued < self.options.batch_messages:
            return True
        # What waits for a tick is no reason to let a lane wait that has not come to the last one.
        return self.gate is not None and any(map(self.gate.has_more, self._queues))

    def _poll(self) -> None:
        options = self.options
        if self.round == 0 and options.report is not None:  # all lanes of the worker are open
            options.report.began(options.topic, self._began, self._resumed)
        self.round += 1
        if options.allowance is not None:
            options.allowance.begin_round(self)
        count = 0
        self._commit()
        if self.gate is not None and self.gate.poll():
            count = options.batch_messages  # something may go on now
        # A lane that the engine holds back at the end of an epoch keeps its queue: let it.
        if self._wants_more():
            for batch in self._reader.poll(options.batch_messages):
                count += len(batch)
                queue = self._queues.get(batch.partition % options.lanes)
                if queue is not None:  # a lane of a finite run that has ended wants no more
                    queue.append(batch)
        if count >= options.batch_messages // 2:
            self.awake_at = None
        else:
            self.awake_at = self.soon()
        if options.follow and time.monotonic() >= self._discover_at:
            self._discover()
            if (
                options.offsets_decide
                and options.commit
                and time.monotonic() >= self._look_at_group_s
            ):
                self._look_for_foreign_commits()
            self._discover_at = time.monotonic() + options.discover_s

    def _discover(self) -> None:
        """Look for new partitions: one question while there are none. A broker that is away is no
        reason to stop, since the reader waits for it."""
        topic = self.options.topic
        try:
            if self._known.issuperset(self._admin.bounds(topic)):
                return
            for lane in self._queues:
                found = self._assign_new(lane, {}, at_start=False)
                if found:
                    _logger.info("topic %s: new partitions %s", topic, sorted(found))
        except UnreachableError as error:
            _logger.warning("topic %s: cannot look for new partitions: %s", topic, error)

    def _look_for_foreign_commits(self) -> None:
        """Where the group's offsets decide, say what others' would make the next start skip."""
        group, topic = self.options.group, self.options.topic
        try:
            found = self._admin.committed(group, topic, _LOOK_AT_GROUP_S)
        except LogError as error:
            _logger.warning("topic %s: cannot look at group %r: %s", topic, group, error)
            self._look_at_group_s = time.monotonic() + _LOOK_AGAIN_S
            return
        # Our own may be on their way, so that only what lies ahead of them is another's.
        ahead = {p: at for p, at in found.items() if at > self._committed.get(p, at)}
        told, self._foreign = self._foreign, ahead
        for partition in sorted(p for p, at in ahead.items() if told.get(p) != at):
            ours = self._committed[partition]
            _logger.error(
                "topic %s, partition %d: another consumer committed offset %d under group %r, "
                "where this run is at %d: a restart now would skip %d records; give that consumer "
                "a group of its own, or this run a recovery directory (-r)",
                topic,
                partition,
                ahead[partition],
                group,
                ours,
                ahead[partition] - ours,
            )

    def shown(self, lane: int, positions: Positions) -> Positions:
        """Positions of a lane as the group's progress: behind what holds no message (transaction
        markers, aborted and compacted records), as far as the reader has come."""
        if self._queues.get(lane):
            return dict(positions)  # the reader is ahead of the lane
        topic = self.options.topic
        return {p: max(at, self._reader.position(topic, p)) for p, at in positions.items()}

    def ended(self, lane: int, positions: Positions) -> bool:
        """Whether a finite run has read everything that the lane's partitions held at the start."""
        if self.options.follow:
            return False
        lanes = self.options.lanes
        mine = {p: end for p, end in self._ends.items() if p % lanes == lane}
        topic = self.options.topic
        return all(
            positions.get(p, 0) >= end or self._reader.position(topic, p) >= end
            for p, end in mine.items()
        )

    def commit_soon(self, positions: Positions) -> None:
        """Record progress with the next poll: one request for all lanes, not one each."""
        self._progress.update(positions)

    def _commit(self) -> None:
        if self._progress and self.options.commit:
            self._reader.commit(self.options.group, self.options.topic, self._progress)
            self._committed.update(self._progress)
        self._progress = {}

    def close_lane(self, lane: int, positions: Positions) -> None:
        options = self.options
        if options.ending is not None and options.commit:
            unanswered = None if options.allowance is None else options.allowance.unanswered
            options.ending.source_ended(options.group, options.topic, positions, unanswered)
        del self._queues[lane]
        if self.gate is not None:
            self.gate.close_lane(lane)
        if not self._queues:
            if options.allowance is not None:
                options.allowance.begin_round(self)
            self._commit()
            self._reader.close()
            self._admin.close()
