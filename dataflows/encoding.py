"""The steps `encode ...`: what goes out becomes Avro in wire format, partition by partition."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from connectors.log import NO_TIMESTAMP_MS, Headers
from connectors.sink import Out
from dataflows.batches import Clicks, Failed
from dataflows.decoding import ERRORS_KEY
from dataflows.recommending import Learned, Recommended, take
from models import user_kernels as kernels
from models.contract import ModelInfo
from schemas import hashing
from schemas.columns import Bytes, Column, Columns, Lists, Numbers
from schemas.wire import WireEncoder

LOST = -1

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
        self, clicks: Clicks, rows: NDArray[np.int64], columns: Columns, out: list[Keyed]
    ) -> None:
        """Encode `columns`, one record for each of `rows`, and append `(lane, Out)`, and
        `("errors", Failed)` for those that cannot be."""

        def fail(row: int, reason: str, exception: str, message: str) -> None:
            origin_row = int(clicks.origin_rows[rows[row]])
            failed = clicks.origins.fail(origin_row, self.stage, reason, exception, message)
            out.append((ERRORS_KEY, failed))

        users = columns["user_id"]
        assert isinstance(users, Bytes)
        encoded = self.encoder().encode(columns)
        for failure in encoded.failures:
            fail(failure.row, "output_unencodable", "EncodeError", failure.message)
        targets = hashing.partitions(users, self.partitions())
        keys = keys_of(users)
        if encoded.failures:
            targets = targets[encoded.rows]
            keys = [keys[row] for row in encoded.rows.tolist()]
        sizes = np.fromiter(map(len, encoded.values), np.int64, len(encoded.values))
        for index in np.flatnonzero(sizes > self.max_message_bytes).tolist():
            fail(
                int(encoded.rows[index]),
                "output_too_large",
                "RecordTooLargeError",
                f"record expected at most {self.max_message_bytes} bytes, got {int(sizes[index])}",
            )
            targets[index] = LOST
        out.extend((o.lane(self.lanes), o) for o in by_partition(targets, keys, encoded.values))


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
        columns: Columns = {
            "user_id": take(clicks.user_ids, rows),
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
        self.emit(clicks, rows, columns, out)


def keys_of(column: Bytes) -> list[bytes | None]:
    """The strings of a column, one bytes object each."""
    whole = column.data.tobytes()
    starts = column.starts.tolist()
    ends = (column.starts + column.lengths).tolist()
    return [whole[start:end] for start, end in zip(starts, ends, strict=True)]


def by_partition(
    targets: NDArray[np.int32], keys: list[bytes | None], values: Sequence[bytes]
) -> list[Out]:
    """Split records by target partition, in order within each; LOST ones are left out."""
    order = np.argsort(targets, kind="stable")
    ranked = targets[order]
    cuts = np.flatnonzero(np.diff(ranked)) + 1
    outs: list[Out] = []
    for start, end in zip([0, *cuts.tolist()], [*cuts.tolist(), len(order)], strict=True):
        if start == end or ranked[start] == LOST:
            continue
        rows = order[start:end].tolist()
        outs.append(
            Out(int(ranked[start]), [keys[row] for row in rows], [values[row] for row in rows])
        )
    return outs


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
        bounds = np.array([0, len(ids)])
        columns: Columns = {
            "writer": constant(self.writer, 1),
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
        writer = constant(self.writer, 1)
        partition = int(hashing.partitions(writer, self.partitions())[0])
        o = Out(partition, keys_of(writer), list(encoded.values))
        return [(o.lane(self.lanes), o)]


_HEADER_PREFIX = "__streams.errors."


@dataclass
class EncodeErrors:
    """Turns what failed into records of `errors`: the original's bytes and place, and the reason.

    The same names stand as headers, as Kafka Streams' dead letter queue sets them (KIP-1034).
    """

    encoder: Callable[[], WireEncoder]  # one for each worker
    partitions: Callable[[], int]  # of the topic `errors`
    lanes: int
    clock_s: Callable[[], float] = time.time
    counts: dict[str, int] = field(default_factory=dict)

    def __call__(self, batch: list[tuple[str, Failed]]) -> list[tuple[str, Out]]:
        failed = [f for _, f in batch]
        for f in failed:
            self.counts[f.reason] = self.counts.get(f.reason, 0) + 1
        encoded = self.encoder().encode(self._columns(failed))
        assert not encoded.failures, encoded.failures
        keys = strings([f.key for f in failed])
        targets = hashing.partitions(keys, self.partitions())
        if keys.valid is not None:
            spread = np.array([f.offset % self.partitions() for f in failed], np.int32)
            targets = np.where(keys.valid, targets, spread).astype(np.int32)
        outs = by_partition(targets, [f.key for f in failed], encoded.values)
        headers = by_partition_headers(targets, [_headers(f) for f in failed])
        return [
            (o.lane(self.lanes), Out(o.partition, o.keys, o.values, headers[o.partition]))
            for o in outs
        ]

    def _columns(self, failed: list[Failed]) -> Columns:
        n = len(failed)
        header_bounds = np.cumsum([0, *(len(f.headers) for f in failed)])
        headers = [header for f in failed for header in f.headers]
        timestamps = np.array([f.timestamp_ms for f in failed], np.int64)
        known = timestamps != NO_TIMESTAMP_MS
        texts: dict[str, Column] = {
            name: strings([getattr(f, name).encode() for f in failed])
            for name in ("exception", "message", "topic", "reason", "stage")
        }
        return {
            **texts,
            "stacktrace": strings(
                [None if f.stacktrace is None else f.stacktrace.encode() for f in failed]
            ),
            "partition": Numbers(np.array([f.partition for f in failed], np.int32)),
            "offset": Numbers(np.array([f.offset for f in failed], np.int64)),
            "key": strings([f.key for f in failed]),
            "value": strings([f.value for f in failed]),
            "headers": Lists(
                header_bounds,
                {
                    "name": strings([name.encode() for name, _ in headers]),
                    "value": strings([value for _, value in headers]),
                },
            ),
            "timestamp": Numbers(np.where(known, timestamps, 0), known),
            "failed_at": Numbers(np.full(n, int(self.clock_s() * 1000), np.int64)),
        }


def _headers(failed: Failed) -> Headers:
    return [
        (_HEADER_PREFIX + "exception", failed.exception.encode()),
        (_HEADER_PREFIX + "message", failed.message.encode()),
        (_HEADER_PREFIX + "topic", failed.topic.encode()),
        (_HEADER_PREFIX + "partition", str(failed.partition).encode()),
        (_HEADER_PREFIX + "offset", str(failed.offset).encode()),
    ]


def by_partition_headers(
    targets: NDArray[np.int32], headers: list[Headers]
) -> dict[int, list[Headers]]:
    """The headers of each partition's records, in order."""
    found: dict[int, list[Headers]] = {}
    for target, own in zip(targets.tolist(), headers, strict=True):
        found.setdefault(target, []).append(own)
    return found


__all__ = [
    "Clicks",
    "EncodeAnswers",
    "EncodeErrors",
    "EncodeRecommendations",
    "EncodeSessions",
    "by_partition",
    "constant",
    "join_bytes",
    "strings",
]
