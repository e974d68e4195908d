"""The step `encode errors`: what failed becomes records of the topic `errors`."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from connectors.log import NO_TIMESTAMP_MS, Headers
from connectors.sink import Out
from dataflows.batches import Failed
from dataflows.encoding import by_partition, strings
from schemas import hashing
from schemas.columns import Column, Columns, Lists, Numbers
from schemas.wire import WireEncoder

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
        outs = by_partition(
            targets,
            [f.key for f in failed],
            encoded.values,
            np.array([(f.partition, f.offset) for f in failed], np.int64),
            [_headers(f) for f in failed],
        )
        return [(o.lane(self.lanes), o) for o in outs]

    def _columns(self, failed: list[Failed]) -> Columns:
        n = len(failed)
        header_bounds = np.cumsum([0, *(len(f.headers) for f in failed)])
        headers = [header for f in failed for header in f.headers]
        timestamps = np.array([f.timestamp_ms for f in failed], np.int64)
        known = timestamps != NO_TIMESTAMP_MS
        texts: dict[str, Column] = {
            name: strings([_utf8(getattr(f, name)) for f in failed])
            for name in ("exception", "message", "topic", "reason", "stage")
        }
        return {
            **texts,
            "stacktrace": strings(
                [None if f.stacktrace is None else _utf8(f.stacktrace) for f in failed]
            ),
            "partition": Numbers(np.array([f.partition for f in failed], np.int32)),
            "offset": Numbers(np.array([f.offset for f in failed], np.int64)),
            "key": strings([f.key for f in failed]),
            "value": strings([f.value for f in failed]),
            "headers": Lists(
                header_bounds,
                {
                    "name": strings([_utf8(name) for name, _ in headers]),
                    "value": strings([value for _, value in headers]),
                },
            ),
            "timestamp": Numbers(np.where(known, timestamps, 0), known),
            "failed_at": Numbers(np.full(n, int(self.clock_s() * 1000), np.int64)),
        }


def _utf8(text: str) -> bytes:
    """A model's message may hold what UTF-8 cannot (lone surrogates): it must not stop the flow."""
    return text.encode(errors="backslashreplace")


def _headers(failed: Failed) -> Headers:
    return [
        (_HEADER_PREFIX + "exception", _utf8(failed.exception)),
        (_HEADER_PREFIX + "message", _utf8(failed.message)),
        (_HEADER_PREFIX + "topic", failed.topic.encode()),
        (_HEADER_PREFIX + "partition", str(failed.partition).encode()),
        (_HEADER_PREFIX + "offset", str(failed.offset).encode()),
    ]
