"""What flows on the edges: batches of records of any topic, as columns."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import RawBatch
from streamrec.connectors.ticks.tick import LaneTick
from streamrec.dataflows.errors.failed import Failed, Origins
from streamrec.schemas.columns import Bytes, Columns, compact, select
from streamrec.schemas.reasons import Reason
from streamrec.schemas.row_values import RowValues


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """n records of one topic and one activation, from any partitions, in the order they were read.

    Shared by the shards of a worker, each of which has the rows that are its own; a row that is in
    no shard failed.
    """

    topic: str  # its name on the log
    origins: Origins
    origin_rows: NDArray[np.int64]  # (n,) row in `origins`
    columns: Columns  # as the topic's schema decodes; without one, `value`
    keys: Bytes  # (n,) what records are sharded by
    times_ms: NDArray[np.int64]  # (n,) event time, Unix ms; NO_TIMESTAMP_MS where none is known
    partitions: NDArray[np.int64]  # (n,)
    offsets: NDArray[np.int64]  # (n,)
    reader: RowValues

    def __len__(self) -> int:
        return len(self.offsets)

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(m, 2): partition and offset of chosen rows."""
        places = np.empty((len(rows), 2), np.int64)
        places[:, 0], places[:, 1] = self.partitions[rows], self.offsets[rows]
        return places

    def fail(
        self, row: int, reason: Reason, message: str, error: Exception | None = None
    ) -> Failed:
        """The record of a row failed: it goes to `errors`, as it came.

        `message` says what was expected and what was got; step and place are added. `error` is
        what user code raised.
        """
        return self.origins.fail(int(self.origin_rows[row]), reason, message, error)

    def record(self, row: int) -> Any:
        """One row as plain values, as `receive` shows them: a dict by field, what JSON says, or
        bytes."""
        return self.reader.record(self.columns, row)

    def own(self, rows: NDArray[np.int64]) -> "RecordBatch":
        """Chosen rows alone, in memory of their own."""
        origins, origin_rows = self.origins.select(self.origin_rows[rows])
        return RecordBatch(
            topic=self.topic,
            origins=origins,
            origin_rows=origin_rows,
            columns=select(self.columns, rows),
            keys=compact(self.keys, rows),
            times_ms=self.times_ms[rows],
            partitions=self.partitions[rows],
            offsets=self.offsets[rows],
            reader=self.reader,
        )


@dataclass(frozen=True, slots=True)
class ShardRecords:
    """The records of one shard: some rows of a batch, in order."""

    shard: str
    batch: RecordBatch
    rows: NDArray[np.int64]  # (m,)

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        """Record by record, in order: row in the batch, and plain values. Costs some microseconds
        each; kernels take the columns."""
        record = self.batch.record
        return ((row, record(row)) for row in self.rows.tolist())

    def raw(self) -> list[RawBatch]:
        """The records as they came."""
        return [*self.batch.origins.select(self.batch.origin_rows[self.rows])[0].batches]

    def __reduce__(self) -> tuple[Any, ...]:
        """Between processes, only this shard's rows go."""
        return ShardRecords, (self.shard, self.batch.own(self.rows), np.arange(len(self.rows)))


@dataclass(frozen=True, slots=True)
class ShardTicks:
    """For a shard: lanes have come to these ticks, in order."""

    shard: str
    ticks: tuple[LaneTick, ...]


def fill_places(
    origins: Origins, origin_rows: NDArray[np.int64], partitions: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """Offsets of the rows and one more than the largest partition; writes `partitions` (n,)."""
    batches = origins.batches
    largest = max(batch.partition for batch in batches)
    whole = len(origin_rows) == int(origins.ends[-1])
    if len(batches) == 1:
        partitions[:] = batches[0].partition
        return batches[0].offsets if whole else batches[0].offsets[origin_rows], largest + 1
    offsets = np.concatenate([batch.offsets for batch in batches])
    repeated = np.repeat(
        np.array([batch.partition for batch in batches]), [len(batch) for batch in batches]
    )
    if whole:
        partitions[:] = repeated
        return offsets, largest + 1
    partitions[:] = repeated[origin_rows]
    return offsets[origin_rows], largest + 1


__all__ = ["RecordBatch", "ShardRecords", "ShardTicks", "fill_places"]
