"""What flows on the edges: batches of clicks as columns."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamrec.dataflows.steps.records import RecordBatch
from streamrec.models.users import kernels
from streamrec.models.users.features import EVENT_TYPES
from streamrec.models.users.state import SessionsAfter
from streamrec.schemas.columns import Bytes, select


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

    def own(self, rows: NDArray[np.int64]) -> "Clicks":
        """Chosen rows alone, in memory of their own."""
        origins, origin_rows = self.origins.select(self.origin_rows[rows])
        columns = select(self.columns, rows)
        user, item = columns["user_id"], columns["item_id"]
        assert isinstance(user, Bytes) and isinstance(item, Bytes)
        matrix = np.ascontiguousarray(self.matrix[:, rows])
        return Clicks(
            topic=self.topic,
            origins=origins,
            origin_rows=origin_rows,
            columns=columns,
            keys=user,
            times_ms=matrix[kernels.TIME_MS],
            partitions=matrix[kernels.PARTITION],
            offsets=self.offsets[rows],
            reader=self.reader,
            matrix=matrix,
            item_ids=item,
            partition_count=self.partition_count,
            features=self.features[rows],
            status=self.status[rows],
            feature_set=self.feature_set,
        )


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
        keep = np.arange(len(rows))
        own = clicks.own(rows)
        sessions = self.sessions
        if sessions is not None:
            place = np.zeros(int(rows.max(initial=-1)) + 1, np.int64)
            place[rows] = keep
            sessions = SessionsAfter(
                place[sessions.rows],
                sessions.keys,
                sessions.items,
                sessions.times_ms,
                sessions.bounds,
                sessions.positions,
            )
        return ShardClicks, (self.shard, own, keep, sessions)
