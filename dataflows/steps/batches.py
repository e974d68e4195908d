"""What flows on the edges: batches of clicks as columns, and records that failed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import Detail, Headers, RawBatch
from streamrec.models.users.state import SessionsAfter
from streamrec.schemas.columns import Bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """A record that could not be processed: where it stood, what it held, and why it failed."""

    stage: str
    reason: str
    exception: str
    message: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int
    stacktrace: str | None = None


class Origins:
    """The raw messages of a batch, whatever partitions they came from, by row."""

    __slots__ = ("batches", "ends")

    def __init__(self, batches: Sequence[RawBatch]) -> None:
        self.batches = batches
        self.ends = np.cumsum([len(batch) for batch in batches])

    def fail(
        self,
        row: int,
        stage: str,
        reason: str,
        exception: str,
        message: str,
        stacktrace: str | None = None,
    ) -> Failed:
        """The failure of one row, with the place added to its message."""
        which = int(np.searchsorted(self.ends, row, side="right"))
        batch = self.batches[which]
        index = row - int(self.ends[which]) + len(batch)
        offset = int(batch.offsets[index])
        detail = batch.detail(index)
        place = f"(topic {batch.topic!r}, partition {batch.partition}, offset {offset})"
        return Failed(
            stage=stage,
            reason=reason,
            exception=exception,
            message=f"step {stage!r}: {message} {place}",
            topic=batch.topic,
            partition=batch.partition,
            offset=offset,
            key=detail.key,
            value=batch.values[index],
            headers=detail.headers,
            timestamp_ms=detail.timestamp_ms,
            stacktrace=stacktrace,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Between processes, the messages go with everything they carry."""
        return _origins_from, (
            [
                (b.topic, b.partition, b.offsets, b.values, Details.of(b, range(len(b))))
                for b in self.batches
            ],
        )


def _origins_from(
    parts: list[tuple[str, int, NDArray[np.int64], list[bytes | None], "Details"]],
) -> Origins:
    return Origins(
        [
            RawBatch(topic, partition, offsets, values, details.__getitem__)
            for topic, partition, offsets, values, details in parts
        ]
    )


@dataclass(frozen=True, slots=True)
class Details:
    """What messages carry besides their values, as columns: between processes an object for each
    message would cost several times as much."""

    keys: list[bytes | None]
    headers: list[Headers] | None  # None: no message has any
    times_ms: NDArray[np.int64]

    @staticmethod
    def of(batch: RawBatch, indexes: Iterable[int]) -> "Details":
        """Of chosen messages of a batch."""
        found = [batch.detail(index) for index in indexes]
        return Details(
            [detail.key for detail in found],
            [detail.headers for detail in found] if any(d.headers for d in found) else None,
            np.array([detail.timestamp_ms for detail in found], np.int64),
        )

    def __getitem__(self, index: int) -> Detail:
        headers = [] if self.headers is None else self.headers[index]
        return Detail(self.keys[index], headers, int(self.times_ms[index]))


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

    def __len__(self) -> int:
        return len(self.offsets)


@dataclass(frozen=True, slots=True)
class ShardClicks:
    """The clicks of one shard: some rows of a batch, in order."""

    shard: str
    clicks: Clicks
    rows: NDArray[np.int64]  # (m,)
    sessions: SessionsAfter | None = None  # set by `user features`

    def __reduce__(self) -> tuple[Any, ...]:
        """Between processes, only this shard's rows go."""
        clicks, rows = self.clicks, self.rows
        keep = np.arange(len(rows))
        origins, origin_rows = _select_origins(clicks.origins, clicks.origin_rows[rows])
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


def _select_origins(origins: Origins, rows: NDArray[np.int64]) -> tuple[Origins, NDArray[np.int64]]:
    """The same messages without those of other rows; and where each row now stands."""
    picked: list[RawBatch] = []
    placed = np.empty(len(rows), np.int64)
    which = np.searchsorted(origins.ends, rows, side="right")
    count = 0
    for index in np.unique(which).tolist():
        batch = origins.batches[index]
        chosen = np.flatnonzero(which == index)
        inside = (rows[chosen] - int(origins.ends[index]) + len(batch)).tolist()
        values = [batch.values[i] for i in inside]
        offsets = batch.offsets[inside]
        detail = partial(_detail_of, batch, inside)
        picked.append(RawBatch(batch.topic, batch.partition, offsets, values, detail))
        placed[chosen] = np.arange(count, count + len(chosen))
        count += len(chosen)
    return Origins(picked), placed


def _detail_of(batch: RawBatch, inside: Sequence[int], index: int) -> Detail:
    return batch.detail(inside[index])


def compact(column: Bytes, rows: NDArray[np.int64]) -> Bytes:
    """Chosen rows of a column in a buffer of their own."""
    lengths = column.lengths[rows]
    ends = np.cumsum(lengths)
    starts = ends - lengths
    places = np.arange(int(ends[-1]) if len(ends) else 0)
    return Bytes(
        column.data[places + np.repeat(column.starts[rows] - starts, lengths)], starts, lengths
    )
