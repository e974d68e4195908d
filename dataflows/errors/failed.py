"""Records that failed, and where they came from: what a step says of a row, and what it keeps."""

import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import Detail, Headers, RawBatch
from streamrec.schemas.reasons import Reason

EVENT_ID = "event-id"  # header: what a sender calls a record
CONTENT_TYPE = "content-type"  # header: what raw bytes are


@dataclass(frozen=True, slots=True)
class Failed:
    """A record that could not be processed: where it stood, what it held, and why it failed."""

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
    stage: str = ""  # step id, filled in by the block in which the step stands
    kind: str = ""  # of the output that could not be made, where an input has several
    number: int = 0

    def at(self, stage: str) -> "Failed":
        """The same with its step, in the message too."""
        return replace(self, stage=stage, message=f"step {stage!r}: {self.message}")


class Origins:
    """The raw messages of a batch, whatever partitions they came from, by row."""

    __slots__ = ("_event_ids", "batches", "ends")

    def __init__(self, batches: Sequence[RawBatch]) -> None:
        self.batches = batches
        self.ends = np.cumsum([len(batch) for batch in batches])
        self._event_ids: dict[int, bytes] | None = None

    def times_ms(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The log's times of some rows, increasing: (len(rows),), Unix ms or NO_TIMESTAMP_MS."""
        times_ms = self.batches[0].times_ms
        if len(self.batches) > 1:
            times_ms = np.concatenate([batch.times_ms for batch in self.batches])
        return times_ms if len(rows) == len(times_ms) else times_ms[rows]

    def keys(self, rows: NDArray[np.int64]) -> list[bytes | None]:
        """The keys of some rows: a call a message on Kafka."""
        return [detail.key for _, detail in self.originals(rows)]

    def originals(self, rows: NDArray[np.int64]) -> list[tuple[bytes | None, Detail]]:
        """Values of some rows, and what they carry besides: a call or two a message on Kafka."""
        which = np.searchsorted(self.ends, rows, side="right").tolist()
        starts = [int(end) - len(batch) for end, batch in zip(self.ends, self.batches, strict=True)]
        found = []
        for index, row in zip(which, rows.tolist(), strict=True):
            batch, inside = self.batches[index], row - starts[index]
            found.append((batch.values[inside], batch.detail(inside)))
        return found

    def headers(self, row: int) -> Headers:
        """Of the record of a row."""
        which = int(np.searchsorted(self.ends, row, side="right"))
        batch = self.batches[which]
        return batch.detail(row - int(self.ends[which]) + len(batch)).headers

    def event_ids(self) -> Mapping[int, bytes]:
        """What senders call their records, so that one sent twice counts once: by row, of those
        that have the header `event-id`. Looked up once for all shards."""
        if self._event_ids is None:
            found: dict[int, bytes] = {}
            first = 0
            for batch in self.batches:
                for index in batch.with_headers():
                    for name, value in batch.detail(index).headers:
                        if name == EVENT_ID and value:
                            found[first + index] = value
                            break
                first += len(batch)
            self._event_ids = found
        return self._event_ids

    def fail(
        self,
        row: int,
        reason: Reason,
        message: str,
        error: Exception | None = None,
        exception: str | None = None,
    ) -> Failed:
        """The failure of one row, with the place added to its message.

        `error` is what user code raised: its class and traceback are kept. `exception` names
        another class than the reason's.
        """
        which = int(np.searchsorted(self.ends, row, side="right"))
        batch = self.batches[which]
        index = row - int(self.ends[which]) + len(batch)
        offset = int(batch.offsets[index])
        detail = batch.detail(index)
        place = f"(topic {batch.topic!r}, partition {batch.partition}, offset {offset})"
        if error is not None:
            exception = type(error).__name__
        return Failed(
            reason=reason.value,
            exception=exception or reason.exception,
            message=f"{message} {place}",
            topic=batch.topic,
            partition=batch.partition,
            offset=offset,
            key=detail.key,
            value=batch.values[index],
            headers=detail.headers,
            timestamp_ms=detail.timestamp_ms,
            stacktrace=None if error is None else "".join(traceback.format_exception(error)),
        )

    def select(self, rows: NDArray[np.int64]) -> tuple["Origins", NDArray[np.int64]]:
        """The same messages without those of other rows; and where each row now stands."""
        picked: list[RawBatch] = []
        placed = np.empty(len(rows), np.int64)
        which = np.searchsorted(self.ends, rows, side="right")
        count = 0
        for index in np.unique(which).tolist():
            batch = self.batches[index]
            chosen = np.flatnonzero(which == index)
            inside = (rows[chosen] - int(self.ends[index]) + len(batch)).tolist()
            values = [batch.values[i] for i in inside]
            offsets = batch.offsets[inside]
            detail = partial(_detail_of, batch, inside)
            times_ms = batch.times_ms[inside]
            headed = partial(_headed_of, batch, inside)
            picked.append(
                RawBatch(batch.topic, batch.partition, offsets, values, detail, times_ms, headed)
            )
            placed[chosen] = np.arange(count, count + len(chosen))
            count += len(chosen)
        return Origins(picked), placed

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
            RawBatch(
                topic,
                partition,
                offsets,
                values,
                details.__getitem__,
                details.times_ms,
                details.with_headers,
            )
            for topic, partition, offsets, values, details in parts
        ]
    )


def _detail_of(batch: RawBatch, inside: Sequence[int], index: int) -> Detail:
    return batch.detail(inside[index])


def _headed_of(batch: RawBatch, inside: Sequence[int]) -> list[int]:
    headed = frozenset(batch.with_headers())
    return [index for index, row in enumerate(inside) if row in headed] if headed else []


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

    def with_headers(self) -> list[int]:
        if self.headers is None:
            return []
        return [index for index, headers in enumerate(self.headers) if headers]

    def __getitem__(self, index: int) -> Detail:
        headers = [] if self.headers is None else self.headers[index]
        return Detail(self.keys[index], headers, int(self.times_ms[index]))
