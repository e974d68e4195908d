"""What flows on the edges: batches of clicks as columns."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamrec.dataflows.errors.failed import Origins
from streamrec.dataflows.job.topics import CLICKS
from streamrec.dataflows.steps.records import RecordBatch
from streamrec.models.users import kernels
from streamrec.models.users.features import EVENT_TYPES
from streamrec.models.users.state import SessionsAfter
from streamrec.schemas.columns import Bytes, Numbers, compact, join_bytes
from streamrec.schemas.row_values import AvroRows


class Click(NamedTuple):
    """One click, for logic that goes record by record."""

    row: int  # in its batch
    user_id: str
    item_id: str
    event_type: str  # of EVENT_TYPES
    time_ms: int  # event time, Unix milliseconds
    price_cents: int | None


@dataclass(frozen=True, slots=True)
class Clicks(RecordBatch):
    """n clicks of one activation, from any partitions, in the order they were read: records by
    user, and what kernels make of them.

    Each shard of a worker writes only the rows that are its own.
    """

    matrix: NDArray[np.int64]  # (CLICK_ROWS, n) as models.users.kernels names them
    item_ids: Bytes
    partition_count: int  # one more than the largest of `partitions`
    features: NDArray[np.float32]  # (n, n_features), written by `user features`
    status: NDArray[np.int8]  # (n,), written by `user features`
    feature_set: str = ""  # digest of how `features` are declared

    @property
    def user_ids(self) -> Bytes:
        return self.keys

    def click(self, row: int) -> Click:
        """One row as plain values."""
        column = self.matrix[:, row].tolist()
        price = column[kernels.PRICE_CENTS]
        return Click(
            row,
            self.keys.bytes_at(row).decode(),
            self.item_ids.bytes_at(row).decode(),
            EVENT_TYPES[column[kernels.EVENT_TYPE]],
            column[kernels.TIME_MS],
            None if price == kernels.NO_PRICE else price,
        )


@cache
def click_rows() -> AvroRows:
    """Reads clicks as plain values."""
    return AvroRows(CLICKS.schema)


@dataclass(frozen=True, slots=True)
class ShardClicks:
    """The clicks of one shard: some rows of a batch, in order. To what takes any records they are
    `ShardRecords`, but for how they are gone through."""

    shard: str
    clicks: Clicks
    rows: NDArray[np.int64]  # (m,)
    sessions: SessionsAfter | None = None  # set by `user features`

    @property
    def batch(self) -> Clicks:
        return self.clicks

    def __iter__(self) -> Iterator[Click]:
        """Click by click, in order. Costs some microseconds each; kernels take the columns."""
        return map(self.clicks.click, self.rows.tolist())

    def __reduce__(self) -> tuple[Any, ...]:
        """Between processes, only this shard's rows go."""
        clicks, rows = self.clicks, self.rows
        sent = _Sent.of(clicks, rows)
        sessions = self.sessions
        if sessions is not None:
            place = np.zeros(int(rows.max(initial=-1)) + 1, np.int64)
            place[rows] = np.arange(len(rows))
            sessions = SessionsAfter(
                place[sessions.rows],
                sessions.keys,
                sessions.items,
                sessions.times_ms,
                sessions.bounds,
                sessions.positions,
            )
        return _received, (self.shard, sent, sessions)


_TEXTS = ("user_id", "item_id", "category_id", "session_id")
_NULL = -1


class _Sent(NamedTuple):
    """Clicks on their way between processes, in as few arrays as hold them: each costs as much as
    tens of clicks do. Numbers of clicks are in their matrix."""

    topic: str
    origins: Origins
    origin_rows: NDArray[np.int64]
    data: NDArray[np.uint8]  # all texts, field by field
    lengths: NDArray[np.int64]  # (len(_TEXTS), m), or _NULL
    matrix: NDArray[np.int64]
    offsets: NDArray[np.int64]
    partition_count: int
    features: NDArray[np.float32]
    status: NDArray[np.int8]
    feature_set: str

    @classmethod
    def of(cls, clicks: Clicks, rows: NDArray[np.int64]) -> "_Sent":
        origins, origin_rows = clicks.origins.select(clicks.origin_rows[rows])
        n = len(clicks)
        texts = [column for name in _TEXTS if isinstance(column := clicks.columns[name], Bytes)]
        found = compact(
            join_bytes(texts), np.concatenate([rows + at * n for at in range(len(texts))])
        )
        lengths = found.lengths.reshape(len(texts), len(rows))
        for own, column in zip(lengths, texts, strict=True):
            if column.valid is not None:
                own[~column.valid[rows]] = _NULL
        return cls(
            topic=clicks.topic,
            origins=origins,
            origin_rows=origin_rows,
            data=found.data,
            lengths=lengths,
            matrix=np.ascontiguousarray(clicks.matrix[:, rows]),
            offsets=clicks.offsets[rows],
            partition_count=clicks.partition_count,
            features=clicks.features[rows],
            status=clicks.status[rows],
            feature_set=clicks.feature_set,
        )

    def clicks(self) -> Clicks:
        valid = self.lengths != _NULL
        lengths = np.where(valid, self.lengths, 0)
        starts = (np.cumsum(lengths) - lengths.reshape(-1)).reshape(lengths.shape)
        texts = {
            name: Bytes(self.data, starts[at], lengths[at], None if at < 2 else valid[at])
            for at, name in enumerate(_TEXTS)
        }
        matrix = self.matrix
        times_ms, prices = matrix[kernels.TIME_MS], matrix[kernels.PRICE_CENTS]
        return Clicks(
            topic=self.topic,
            origins=self.origins,
            origin_rows=self.origin_rows,
            columns={
                **texts,
                "event_type": Numbers(matrix[kernels.EVENT_TYPE].astype(np.int32)),
                "timestamp": Numbers(times_ms),
                "price_cents": Numbers(prices, prices != kernels.NO_PRICE),
            },
            keys=texts["user_id"],
            times_ms=times_ms,
            partitions=matrix[kernels.PARTITION],
            offsets=self.offsets,
            reader=click_rows(),
            matrix=matrix,
            item_ids=texts["item_id"],
            partition_count=self.partition_count,
            features=self.features,
            status=self.status,
            feature_set=self.feature_set,
        )


def _received(shard: str, sent: _Sent, sessions: SessionsAfter | None) -> ShardClicks:
    return ShardClicks(shard, sent.clicks(), np.arange(len(sent.offsets)), sessions)
