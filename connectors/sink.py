"""The Bytewax sink over a log: encoded records, in order for each partition of the topic.

- *Unit of parallelism*: a lane, as in `connectors.source`: partition p of the topic is written by
  lane `p % lanes`, so the topic may grow. The lanes of a worker share one writer.
- *A snapshot* waits until everything written in the epoch is acknowledged, so that the engine never
  takes an epoch for done whose output could still be lost.
- *After a crash* the outputs of the epochs that were not yet durable are written again.
"""

import threading
from dataclasses import dataclass

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from typing_extensions import override

from connectors.log import Headers, Log, LogWriter, Outgoing
from connectors.source import lane_name


@dataclass(frozen=True, slots=True)
class Out:
    """Encoded records for one partition of a topic, in order."""

    partition: int
    keys: list[bytes | None]
    values: list[bytes | None]
    headers: list[Headers] | None = None  # None: no record has any

    def lane(self, lanes: int) -> str:
        """The key under which the engine must route this."""
        return str(self.partition % lanes)


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """How a topic is written."""

    topic: str
    lanes: int = 8
    flush_timeout_s: float = 120.0


SinkPosition = dict[int, int]


class LogSink(FixedPartitionedSink[Out, SinkPosition]):
    """Takes `(out.lane(lanes), out)`."""

    def __init__(self, log: Log, options: SinkOptions) -> None:
        self._log = log
        self._options = options
        self._worker = threading.local()

    @override
    def list_parts(self) -> list[str]:
        return [lane_name(lane) for lane in range(self._options.lanes)]

    @override
    def part_fn(self, item_key: str) -> int:
        return int(item_key)

    @override
    def build_part(
        self, step_id: str, for_part: str, resume_state: SinkPosition | None
    ) -> "SinkLane":
        shared: _SharedWriter | None = getattr(self._worker, "shared", None)
        if shared is None:
            shared = self._worker.shared = _SharedWriter(self._log.writer())
        return SinkLane(shared, self._options)


class SinkLane(StatefulSinkPartition[Out, SinkPosition]):
    """One lane: the partitions p of the topic with p % lanes == lane."""

    def __init__(self, shared: "_SharedWriter", options: SinkOptions) -> None:
        self._shared = shared
        self._options = options
        shared.lanes += 1

    @override
    def write_batch(self, values: list[Out]) -> None:
        writer = self._shared.writer
        for out in values:
            if out.headers is None:
                writer.write_columns(self._options.topic, out.partition, out.keys, out.values)
            else:
                writer.write(
                    self._options.topic,
                    [
                        Outgoing(key, value, headers, partition=out.partition)
                        for key, value, headers in zip(
                            out.keys, out.values, out.headers, strict=True
                        )
                    ],
                )

    @override
    def snapshot(self) -> SinkPosition:
        self._shared.writer.flush(self._options.flush_timeout_s)
        return {}

    @override
    def close(self) -> None:
        self._shared.writer.flush(self._options.flush_timeout_s)
        self._shared.lanes -= 1
        if not self._shared.lanes:
            self._shared.writer.close()


class _SharedWriter:
    """One writer for the lanes of a worker."""

    def __init__(self, writer: LogWriter) -> None:
        self.writer = writer
        self.lanes = 0
