"""What flows on the edges: batches of clicks as columns."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamrec.dataflows.errors.failed import Failed, Origins
from streamrec.models.users import kernels
from streamrec.models.users.features import EVENT_TYPES
from streamrec.models.users.state import SessionsAfter
from streamrec.schemas.columns import Bytes, compact
from streamrec.schemas.reasons import Reason


class Click(NamedTuple):
    """One click, for logic that goes record by record."""

    row: int  # in its batch
    user_id: str
    item_id: str
    event_type: str  # of EVENT_TYPES
    time_ms: int  # event time, Unix milliseconds
    price_cents: int | None


@dataclass(frozen=True, slots=True)
class Clicks:
    """n valid clicks of one activation, from any partitions, in the order they were read.

    Shared by the shards of a worker: each writes only the rows that are its own.
    """

    topic: str
    origins: Origins
    origin_rows: NDArray[np.int64]  # (n,) row in `origins`
    matrix: NDArray[np.int64]  # (CLICK_ROWS, n) as models.users.kernels names them
    offsets: NDArray[np.int64]  # (n,)
    user_ids: Bytes
    item_ids: Bytes
    partitions: int  # one more than the largest partition in `matrix`
    features: NDArray[np.float32]  # (n, n_features), written by `user features`
    status: NDArray[np.int8]  # (n,), written by `user features`
    feature_set: str = ""  # digest of how `features` are declared

    def __len__(self) -> int:
        return len(self.offsets)

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(m, 2): partition and offset of chosen rows."""
        places = np.empty((len(rows), 2), np.int64)
        places[:, 0], places[:, 1] = self.matrix[kernels.PARTITION, rows], self.offsets[rows]
        return places

    def fail(
        self, row: int, reason: Reason, message: str, error: Exception | None = None
    ) -> Failed:
        """The click of a row failed: its record goes to `errors`, as it came.

        `message` says what was expected and what was got; step and place are added. `error` is
        what user code raised.
        """
        return self.origins.fail(int(self.origin_rows[row]), reason, message, error)

    def click(self, row: int) -> Click:
        """One row as plain values."""
        column = self.matrix[:, row].tolist()
        price = column[kernels.PRICE_CENTS]
        return Click(
            row,
            self.user_ids.bytes_at(row).decode(),
            self.item_ids.bytes_at(row).decode(),
            EVENT_TYPES[column[kernels.EVENT_TYPE]],
            column[kernels.TIME_MS],
            None if price == kernels.NO_PRICE else price,
        )


@dataclass(frozen=True, slots=True)
class ShardClicks:
    """The clicks of one shard: some rows of a batch, in order."""

    shard: str
    clicks: Clicks
    rows: NDArray[np.int64]  # (m,)
    sessions: SessionsAfter | None = None  # set by `user features`

    def __iter__(self) -> Iterator[Click]:
        """Click by click, in order. Costs some microseconds each; kernels take the columns."""
        return map(self.clicks.click, self.rows.tolist())

    def __reduce__(self) -> tuple[Any, ...]:
        """Between processes, only this shard's rows go."""
        clicks, rows = self.clicks, self.rows
        keep = np.arange(len(rows))
        origins, origin_rows = clicks.origins.select(clicks.origin_rows[rows])
        own = Clicks(
            topic=clicks.topic,
            origins=origins,
            origin_rows=origin_rows,
            matrix=np.ascontiguousarray(clicks.matrix[:, rows]),
            offsets=clicks.offsets[rows],
            user_ids=compact(clicks.user_ids, rows),
            item_ids=compact(clicks.item_ids, rows),
            partitions=clicks.partitions,
            features=clicks.features[rows],
            status=clicks.status[rows],
            feature_set=clicks.feature_set,
        )
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
