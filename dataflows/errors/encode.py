"""The step `encode errors`: what failed becomes records of the topic `errors`."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from streamrec.connectors.log import NO_TIMESTAMP_MS, Headers
from streamrec.connectors.out import Out, Sources, by_partition
from streamrec.dataflows.errors.failed import Failed
from streamrec.schemas import hashing
from streamrec.schemas.columns import Column, Columns, Lists, Numbers, constant, strings
from streamrec.schemas.plain import ValueEncoder

_HEADER_PREFIX = "__streams.errors."
_OVERHEAD_BYTES = 1_000  # what the log adds to a record, at most
_MESSAGE_MAX = 2_000  # characters, where the record is too large or the message a header


@dataclass
class EncodeErrors:
    """Turns what failed into records of `errors`: the original's bytes and place, and the reason.

    An original that does not fit a record of the topic is left out, and its size is said; it is
    still at its place. An error that cannot be written would stop the flow at this record for ever.

    The same names stand as headers, as Kafka Streams' dead letter queue sets them (KIP-1034).
    """

    encoder: Callable[[], ValueEncoder]  # one for each worker
    partitions: Callable[[], int]  # of the topic `errors`
    largest_bytes: Callable[[], int]  # that a record of the topic may have
    dataflow: str
    clock_s: Callable[[], float] = time.time

    def __call__(self, failed: list[Failed]) -> list[Out]:
        encoded = self.encoder().encode(self._columns(failed))
        largest = self.largest_bytes()
        too_large = [
            len(value) + _size_beside(f) > largest
            for value, f in zip(encoded.values, failed, strict=True)
        ]
        if any(too_large):
            failed = [
                _without_original(f, largest) if is_over else f
                for f, is_over in zip(failed, too_large, strict=True)
            ]
            encoded = self.encoder().encode(self._columns(failed))
        assert not encoded.failures, encoded.failures
        keys = strings([f.key for f in failed])
        targets = hashing.partitions(keys, self.partitions())
        if keys.valid is not None:
            spread = np.array([f.offset % self.partitions() for f in failed], np.int32)
            targets = np.where(keys.valid, targets, spread).astype(np.int32)
        return by_partition(
            targets,
            [f.key for f in failed],
            encoded.values,
            Sources(
                np.array([(f.partition, f.offset) for f in failed], np.int64),
                [f.topic for f in failed],
                [f.kind for f in failed],
                np.array([f.number for f in failed], np.int64),
            ),
            [_headers(f) for f in failed],
        )

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
            "dataflow": constant(self.dataflow, n),
            "output_kind": strings([f.kind.encode() for f in failed]),
            "output_number": Numbers(np.array([f.number for f in failed], np.int32)),
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


def _size_beside(failed: Failed) -> int:
    """Bytes of a record besides its value."""
    headers = sum(len(name) + len(value or b"") for name, value in _headers(failed))
    return len(failed.key or b"") + headers + _OVERHEAD_BYTES


def _without_original(failed: Failed, largest: int) -> Failed:
    key, value = failed.key, failed.value
    note = (
        f"; the original is left out: this record expected at most {largest} bytes, got "
        f"{len(value or b'')} of value, {len(key or b'')} of key, and headers"
    )
    return replace(
        failed,
        message=failed.message[:_MESSAGE_MAX] + note,
        stacktrace=None,
        key=None if key is not None and len(key) > largest // 4 else key,
        value=None,
        headers=[],
    )


def _headers(failed: Failed) -> Headers:
    return [
        (_HEADER_PREFIX + "exception", _utf8(failed.exception)),
        (_HEADER_PREFIX + "message", _utf8(failed.message[:_MESSAGE_MAX])),
        (_HEADER_PREFIX + "topic", failed.topic.encode()),
        (_HEADER_PREFIX + "partition", str(failed.partition).encode()),
        (_HEADER_PREFIX + "offset", str(failed.offset).encode()),
    ]
