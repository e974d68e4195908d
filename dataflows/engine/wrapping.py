"""Plain sources, sinks and shard logic, as the engine wants them.

Connectors and steps know nothing of the engine; these few classes are all that stands between.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from typing_extensions import override

from streamrec.connectors.log import RawBatch
from streamrec.connectors.sink import SinkPosition
from streamrec.connectors.source import LogSource, SourceLane
from streamrec.connectors.ticks.tick import LaneTick
from streamrec.dataflows.engine.epochs import Epochs
from streamrec.dataflows.engine.leaving import leaving
from streamrec.dataflows.engine.sealing import Sealed, beside_of, seal, unseal


class EngineSource(FixedPartitionedSource[RawBatch | LaneTick, Sealed]):
    """The lanes of a `LogSource`. `on_built` is called once, when the flow is built and begins."""

    def __init__(
        self,
        source: LogSource,
        on_built: Callable[[], object] = lambda: None,
        epochs: Epochs | None = None,
    ) -> None:
        self._source = source
        self._on_built = on_built
        self._epochs = epochs or Epochs(None)

    @override
    def list_parts(self) -> list[str]:
        return self._source.list_parts()

    @override
    def build_part(
        self, step_id: str, for_part: str, resume_state: Sealed | None
    ) -> "_EngineSourceLane":
        self._on_built()
        tick = None if resume_state is None else beside_of(resume_state).get("tick")
        lane = leaving(self._source.open_lane)(for_part, unseal(resume_state), tick)
        return _EngineSourceLane(lane, self._epochs)


class _EngineSourceLane(StatefulSourcePartition[RawBatch | LaneTick, Sealed]):
    def __init__(self, lane: SourceLane, epochs: Epochs) -> None:
        self._lane = lane
        self._epochs = epochs
        self._epoch = epochs.before
        # The engine asks a thousand times a second: it asks the lane itself.
        # One call less.
        self.next_batch = leaving(lane.next_batch)  # type: ignore[method-assign, arg-type]
        self.next_awake = lane.next_awake  # type: ignore[method-assign]  # the same

    @override
    def next_batch(self) -> list[RawBatch | LaneTick]:
        return [*self._lane.next_batch()]

    @override
    def next_awake(self) -> datetime | None:
        return self._lane.next_awake()

    @override
    def snapshot(self) -> Sealed:
        self._epochs.times.closing(id(self))
        if self._epoch is not None:
            self._epoch += 1
        self._epochs.closing(self._epoch, self._lane.ended)
        tick = self._lane.tick
        beside = None if tick is None else {"tick": tick}
        return seal(leaving(self._lane.snapshot)(), self._epoch, self._lane.ended, beside)

    @override
    def close(self) -> None:
        leaving(self._lane.close)()


class Lane(Protocol):
    """What writes one part of a sink."""

    def write_batch(self, values: list[Any]) -> None: ...

    def snapshot(self) -> SinkPosition:
        """Waits until what was written is safe."""

    def close(self) -> None: ...


class Lanes(Protocol):
    """A sink: of a log (`LogSink`), which takes `Out`s, or of a store (`StoreSink`)."""

    def list_parts(self) -> list[str]: ...

    def open_lane(self, name: str, resume: SinkPosition | None) -> Lane: ...


class EngineSink(FixedPartitionedSink[Any, Sealed]):
    """The lanes of a sink; takes items under the number of their lane, as text."""

    def __init__(self, sink: Lanes, epochs: Epochs | None = None) -> None:
        self._sink = sink
        self._epochs = epochs or Epochs(None)

    @override
    def list_parts(self) -> list[str]:
        return self._sink.list_parts()

    @override
    def part_fn(self, item_key: str) -> int:
        return int(item_key)

    @override
    def build_part(
        self, step_id: str, for_part: str, resume_state: Sealed | None
    ) -> "_EngineSinkLane":
        resume = None
        if resume_state is not None:
            ends = unseal(resume_state) or {}
            resume = SinkPosition.of_plain(ends, beside_of(resume_state))
        return _EngineSinkLane(leaving(self._sink.open_lane)(for_part, resume), self._epochs)


class _EngineSinkLane(StatefulSinkPartition[Any, Sealed]):
    def __init__(self, lane: Lane, epochs: Epochs) -> None:
        self._lane = lane
        self._epochs = epochs
        self._write_batch = leaving(lane.write_batch)

    @override
    def write_batch(self, values: list[Any]) -> None:
        self._write_batch(values)

    @override
    def snapshot(self) -> Sealed:
        position = leaving(self._lane.snapshot)()
        self._epochs.times.closed()
        return seal(position.ends, beside=position.beside())

    @override
    def close(self) -> None:
        leaving(self._lane.close)()


class Shard(Protocol):
    """The logic of one shard: plain, and unaware of keys and of the engine."""

    def on_batch(self, values: list[Any]) -> list[Any]:
        """What comes of these items, in order; what failed among it."""

    def snapshot(self) -> Any:
        """What a restart needs, as plain values; a reference where there is much of it."""


class EngineShard(StatefulBatchLogic[Any, Any, Any]):
    """A shard that is never discarded."""

    def __init__(self, shard: Shard, finish: Callable[[list[Any]], list[Any]]) -> None:
        """`finish` is what the block makes of what the shard says."""
        self._shard = shard
        self._on_batch = leaving(lambda values: finish(shard.on_batch(values)))

    @override
    def on_batch(self, values: list[Any]) -> tuple[list[Any], bool]:
        return self._on_batch(values), StatefulBatchLogic.RETAIN

    @override
    def snapshot(self) -> Any:
        return leaving(self._shard.snapshot)()


class Later(Protocol):
    """The logic of one shard that may answer later: plain, and unaware of keys and of the engine.
    It never waits. Its state changes in these calls only, whatever is answered meanwhile."""

    wait_s: float  # how soon to ask again while something is pending

    @property
    def pending(self) -> int:
        """How many answers `ready` has still to give."""

    def take(self, values: list[Any]) -> list[Any]:
        """What comes of these items, in order, as far as it is known at once."""

    def ready(self) -> list[Any]:
        """What has been answered meanwhile, in the order in which it was taken."""

    def snapshot(self) -> Any:
        """What is pending, as plain values, for a restart to take it again."""


class EngineLater(StatefulBatchLogic[Any, Any, Any]):
    """A shard that is asked again, while something is pending, by the engine's own timer: nobody
    waits for it. It is never discarded."""

    def __init__(
        self,
        later: Later,
        finish: Callable[[list[Any]], list[Any]],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """`finish` is what the block makes of what the shard says; `stopping` whether what is
        pending at the end of the input is left to the next start."""
        self._later = later
        self._stopping = stopping
        self._on_batch = leaving(lambda values: finish(later.take(values)))
        self._ready = leaving(lambda: finish(later.ready()))
        # When it is asked again. What comes before that does not put it off, or under items that
        # come faster than that nothing would ever be said.
        self._due: datetime | None = None

    @override
    def on_batch(self, values: list[Any]) -> tuple[list[Any], bool]:
        return self._on_batch(values), StatefulBatchLogic.RETAIN

    @override
    def on_notify(self) -> tuple[list[Any], bool]:
        self._due = None
        return self._ready(), StatefulBatchLogic.RETAIN

    @override
    def on_eof(self) -> tuple[list[Any], bool]:
        """A finite run's sources do not end before what they read here is answered. What another
        process read, and handed on at the very end, is waited for here."""
        answered = self._ready()
        while self._later.pending and not self._stopping():
            time.sleep(self._later.wait_s)
            answered += self._ready()
        return answered, StatefulBatchLogic.RETAIN

    @override
    def notify_at(self) -> datetime | None:
        if not self._later.pending:
            self._due = None
        elif self._due is None:
            self._due = datetime.now(UTC) + timedelta(seconds=self._later.wait_s)
        return self._due

    @override
    def snapshot(self) -> Any:
        return leaving(self._later.snapshot)()
