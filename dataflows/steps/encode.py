"""The steps `encode ...`: what goes out becomes Avro in wire format, partition by partition."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import Headers
from streamrec.connectors.sink import Out
from streamrec.dataflows.steps.batches import Clicks, Failed
from streamrec.dataflows.steps.decode import ERRORS_KEY
from streamrec.dataflows.steps.placing import keys_of
from streamrec.dataflows.steps.recommend import Learned, Recommended, take
from streamrec.models.contract import ModelInfo
from streamrec.models.users import kernels
from streamrec.schemas import hashing
from streamrec.schemas.columns import Bytes, Columns, Lists, Numbers
from streamrec.schemas.encoder import Encoded
from streamrec.schemas.wire import WireEncoder

_SESSION_CLICKS_MAX = 2_000  # in a record of sessions: half a megabyte of the longest ids

Keyed = tuple[str, Out | Failed]


def constant(text: str, n: int) -> Bytes:
    """One string n times, held once."""
    data = np.frombuffer(text.encode(), np.uint8)
    return Bytes(data, np.zeros(n, np.int64), np.full(n, len(data), np.int64))


def strings(parts: Sequence[bytes | None]) -> Bytes:
    """Strings or bytes as a column; None is null."""
    lengths = np.array([0 if part is None else len(part) for part in parts], np.int64)
    starts = np.zeros(len(parts), np.int64)
    np.cumsum(lengths[:-1], out=starts[1:])
    data = np.frombuffer(b"".join(part or b"" for part in parts), np.uint8)
    valid = np.array([part is not None for part in parts], np.bool_)
    return Bytes(data, starts, lengths, None if valid.all() else valid)


def join_bytes(columns: Sequence[Bytes]) -> Bytes:
    """Columns one after the other; those over the same buffer share it."""
    if len(columns) == 1:
        return columns[0]
    starts = [column.starts for column in columns]
    data = columns[0].data
    if any(column.data is not data for column in columns):
        shifts = np.cumsum([0, *(len(column.data) for column in columns)])
        starts = [s + shift for s, shift in zip(starts, shifts, strict=False)]
        data = np.concatenate([column.data for column in columns])
    return Bytes(data, np.concatenate(starts), np.concatenate([c.lengths for c in columns]))


@dataclass
class EncodeAnswers:
    """What the steps share that answer clicks: one record a click, keyed by its user."""

    stage: ClassVar[str]

    encoder: Callable[[], WireEncoder]  # one for each worker
    partitions: Callable[[], int]  # of the topic that is written
    lanes: int
    max_message_bytes: int

    def emit(
        self,
        clicks: Clicks,
        rows: NDArray[np.int64],
        targets: NDArray[np.int32],
        columns: Columns,
        out: list[Keyed],
    ) -> None:
        """Encode `columns`, one record for each of `rows`, and append `(lane, Out)`, and
        `("errors", Failed)` for those that cannot be. `targets` are the partitions of the keys."""
        users = columns["user_id"]
        assert isinstance(users, Bytes)
        encoded = self.encoder().encode(columns)
        keys = keys_of(users)
        sources = np.empty((len(rows), 2), np.int64)
        sources[:, 0], sources[:, 1] = clicks.matrix[kernels.PARTITION, rows], clicks.offsets[rows]
        values = encoded.values
        if encoded.failures or max(map(len, values), default=0) > self.max_message_bytes:
            good = self._take_out_failures(clicks, rows, encoded, out)
            values = [values[index] for index in good.tolist()]
            kept = encoded.rows[good]
            keys, sources, targets = [keys[row] for row in kept], sources[kept], targets[kept]
        outs = by_partition(targets, keys, values, sources)
        out.extend((o.lane(self.lanes), o) for o in outs)

    def _take_out_failures(
        self, clicks: Clicks, rows: NDArray[np.int64], encoded: Encoded, out: list[Keyed]
    ) -> NDArray[np.int64]:
        """Append what failed; returns which of the encoded values may be written."""

        def fail(row: int, reason: str, exception: str, message: str) -> None:
            origin_row = int(clicks.origin_rows[rows[row]])
            failed = clicks.origins.fail(origin_row, self.stage, reason, exception, message)
            out.append((ERRORS_KEY, failed))

        for failure in encoded.failures:
            fail(failure.row, "output_unencodable", "EncodeError", failure.message)
        sizes = np.array(list(map(len, encoded.values)), np.int64)
        is_small = sizes <= self.max_message_bytes
        for index in np.flatnonzero(~is_small).tolist():
            fail(
                int(encoded.rows[index]),
                "output_too_large",
                "RecordTooLargeError",
                f"record expected at most {self.max_message_bytes} bytes, got {int(sizes[index])}",
            )
        return np.flatnonzero(is_small)


@dataclass
class EncodeRecommendations(EncodeAnswers):
    """Joins the shards of a batch again and encodes one record for each click that asked.

    Takes `(shard, Recommended)`, emits `(lane, Out)` and `("errors", Failed)`.
    """

    stage: ClassVar[str] = "encode recommendations"

    info: Callable[[], ModelInfo]
    feature_set: str

    def __call__(self, batch: list[tuple[str, Recommended]]) -> list[Keyed]:
        out: list[Keyed] = []
        for _, parts in groupby((part for _, part in batch), key=lambda part: id(part.clicks)):
            self._encode(list(parts), out)
        return out

    def _encode(self, parts: list[Recommended], out: list[Keyed]) -> None:
        clicks = parts[0].clicks
        rows = np.concatenate([part.rows for part in parts])
        items = np.concatenate([part.ranking.items for part in parts])
        scores = np.concatenate([part.ranking.scores for part in parts])
        methods = np.concatenate([part.ranking.methods for part in parts])
        ids = join_bytes([part.item_ids for part in parts])
        found = items >= 0
        info = self.info()
        n = len(rows)
        item_bounds = np.zeros(n + 1, np.int64)
        np.cumsum(found.sum(axis=1), out=item_bounds[1:])
        n_features = clicks.features.shape[1]
        users = take(clicks.user_ids, rows)
        columns: Columns = {
            "user_id": users,
            "source_topic": constant(clicks.topic, n),
            "source_partition": Numbers(clicks.matrix[kernels.PARTITION, rows].astype(np.int32)),
            "source_offset": Numbers(clicks.offsets[rows]),
            "requested_at": Numbers(clicks.matrix[kernels.TIME_MS, rows]),
            "item_id": take(clicks.item_ids, rows),
            "items": Lists(
                item_bounds,
                {
                    "item_id": ids,
                    "score": Numbers(scores[found]),
                    "methods": Numbers(methods[found]),
                },
            ),
            "model_name": constant(info.name, n),
            "model_version": constant(info.version, n),
            "method_names": constant(",".join(info.methods), n),
            "feature_set": constant(self.feature_set, n),
            "features": Lists(
                np.arange(n + 1) * n_features, {"": Numbers(clicks.features[rows].reshape(-1))}
            ),
        }
        targets = hashing.partitions(users, self.partitions())
        self.emit(clicks, rows, targets, columns, out)


def by_partition(
    targets: NDArray[np.int32],
    keys: list[bytes | None],
    values: list[bytes],
    sources: NDArray[np.int64],
    headers: list[Headers] | None = None,
) -> list[Out]:
    """Split records by target partition, in order within each."""
    if (targets[1:] < targets[:-1]).any():
        order = np.argsort(targets, kind="stable")
        rows = order.tolist()
        targets, sources = targets[order], sources[order]
        keys, values = [keys[row] for row in rows], [values[row] for row in rows]
        headers = None if headers is None else [headers[row] for row in rows]
    cuts = [0, *(np.flatnonzero(np.diff(targets)) + 1).tolist(), len(targets)]
    return [
        Out(
            partition=int(targets[start]),
            keys=keys[start:end],
            values=values[start:end],
            headers=None if headers is None else headers[start:end],
            sources=sources[start:end],
        )
        for start, end in pairwise(cuts)
        if start < end
    ]


@dataclass
class EncodeSessions:
    """Packs the clicks that a process learned from into records for the other processes."""

    encoder: Callable[[], WireEncoder]  # one for each worker
    partitions: Callable[[], int]  # of the topic `sessions`
    lanes: int
    writer: str

    def __call__(self, batch: list[tuple[str, Learned]]) -> list[tuple[str, Out]]:
        parts = [learned for _, learned in batch]
        ids = join_bytes([part.item_ids for part in parts])
        bounds = np.append(np.arange(0, len(ids), _SESSION_CLICKS_MAX), len(ids))
        writers = constant(self.writer, len(bounds) - 1)
        columns: Columns = {
            "writer": writers,
            "session_keys": Lists(
                bounds, {"": Numbers(np.concatenate([part.session_keys for part in parts]))}
            ),
            "timestamps": Lists(
                bounds, {"": Numbers(np.concatenate([part.times_ms for part in parts]))}
            ),
            "item_ids": Lists(bounds, {"": ids}),
        }
        encoded = self.encoder().encode(columns)
        assert not encoded.failures, encoded.failures
        partition = int(hashing.partitions(writers, self.partitions())[0])
        o = Out(partition, keys_of(writers), list(encoded.values))
        return [(o.lane(self.lanes), o)]


__all__ = [
    "Clicks",
    "EncodeAnswers",
    "EncodeRecommendations",
    "EncodeSessions",
    "by_partition",
    "constant",
    "join_bytes",
    "strings",
]
