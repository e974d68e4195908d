"""Reads the embedded log.

A poll that finds nothing new costs one `PRAGMA data_version`, a few microseconds; one that finds
something asks for the ends of all partitions in one query and then reads whole batches of those
that have grown.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.embedded.file import (
    OFFSET_BITS,
    EmbeddedFile,
    explained,
    partition_ids,
    unknown_topic,
)
from streamrec.connectors.embedded.rows import (
    Row,
    RowDetails,
    offsets_of,
    timestamps_of,
    unpack_values,
)
from streamrec.connectors.log import Detail, LogError, OffsetOutOfRangeError, RawBatch

# Between two looks for new records while a poll waits: longer and longer while nothing comes, since
# each look takes what else the process does out of its step.
_WAIT_S, _WAIT_S_MAX = 0.001, 0.01
_FETCH = "SELECT * FROM batches WHERE id >= ? AND id < ? ORDER BY id"


class _Span(NamedTuple):
    """Part of a row: records `start` to `end`."""

    details: RowDetails
    start: int
    end: int
    times_ms: NDArray[np.int64]  # (end - start,)


@dataclass(slots=True)
class _Rest:
    """A row of which a poll has handed out the first `start` records."""

    row: Row
    base: int
    values: list[bytes | None]
    details: RowDetails
    start: int


@dataclass(slots=True)
class _Position:
    """Where reading stands in one partition."""

    topic: str
    partition: int
    id: int
    next: int  # the next offset wanted
    base: int  # the first offset of the next row to fetch; below `next` after a start in mid-row
    high: int  # the partition's end when last looked
    rest: _Rest | None = None

    def behind(self) -> bool:
        return self.rest is not None or self.base < self.high


class EmbeddedReader:
    """A LogReader. A poll blocks at most `timeout_s` plus the reading of `max_messages`."""

    def __init__(self, file: EmbeddedFile) -> None:
        self._where = file.where
        self._db = file.connect()
        self._places: dict[int, _Position] = {}  # by the partition's id
        self._turn = 0
        self._version = -1
        self._closed = False

    def assign(self, topic: str, positions: Mapping[int, int]) -> None:
        with explained(self._where):
            ids = partition_ids(self._db, self._where, topic)
            places = []
            for partition, offset in positions.items():
                if partition not in ids:
                    raise LogError(
                        f"{self._where}: expected partition 0 to {max(ids)} of topic {topic!r}, "
                        f"got {partition}"
                    )
                places.append(self._find(topic, partition, ids[partition], offset))
        self._places.update((place.id, place) for place in places)
        self._version = -1

    def unassign(self, topic: str, partitions: Iterable[int]) -> None:
        given_back = {(topic, partition) for partition in partitions}
        self._places = {
            id_: place
            for id_, place in self._places.items()
            if (place.topic, place.partition) not in given_back
        }

    def poll(self, max_messages: int, timeout_s: float = 0.0) -> list[RawBatch]:
        give_up, wait_s = time.monotonic() + timeout_s, _WAIT_S
        with explained(self._where):
            while True:
                self._look()
                batches = self._read(max_messages)
                if batches or (left_s := give_up - time.monotonic()) <= 0:
                    return batches
                time.sleep(min(wait_s, left_s))
                wait_s = min(1.5 * wait_s, _WAIT_S_MAX)

    def commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        with explained(self._where):
            self._db.executemany(
                "INSERT OR REPLACE INTO group_offsets (name, topic, partition, next)"
                " VALUES (?, ?, ?, ?)",
                [(group, topic, partition, offset) for partition, offset in offsets.items()],
            )

    def position(self, topic: str, partition: int) -> int:
        for place in self._places.values():
            if (place.topic, place.partition) == (topic, partition):
                return place.next if place.behind() else place.high
        raise LogError(f"{self._where}: partition {partition} of topic {topic!r} is not assigned")

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._db.close()

    def _find(self, topic: str, partition: int, row_id: int, offset: int) -> _Position:
        first = row_id << OFFSET_BITS
        low, high = self._bounds(row_id, topic)
        if not low <= offset <= high:
            raise _out_of_range(self._where, topic, partition, offset, low, high)
        found = self._db.execute(
            "SELECT max(id) FROM batches WHERE id >= ? AND id <= ?", (first, first + offset)
        ).fetchone()[0]
        # At the very end the row found is the last one, already past: the next begins at `high`.
        at_row = found is not None and offset < high
        base = found - first if at_row else offset
        return _Position(topic, partition, row_id, offset, base, high)

    def _bounds(self, row_id: int, topic: str) -> tuple[int, int]:
        row: tuple[int, int] | None = self._db.execute(
            "SELECT low, high FROM partitions WHERE id = ?", (row_id,)
        ).fetchone()
        if row is None:
            raise unknown_topic(self._where, topic)
        return row

    def _look(self) -> None:
        """Learn the ends of all partitions, if another connection has written since."""
        version = self._db.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return
        highs = dict(self._db.execute("SELECT id, high FROM partitions").fetchall())
        for place in self._places.values():
            high = highs.get(place.id)
            if high is None:
                raise unknown_topic(self._where, place.topic)
            place.high = high
        self._version = version

    def _read(self, max_messages: int) -> list[RawBatch]:
        behind = [place for place in self._places.values() if place.behind()]
        if not behind:
            return []
        # Each gets its share, and what one leaves goes to those after it; the first in line
        # changes, so that none starves when there are more partitions than messages wanted.
        self._turn = (self._turn + 1) % len(behind)
        batches = []
        left = max_messages
        for done, place in enumerate(behind[self._turn :] + behind[: self._turn]):
            share = -(-left // (len(behind) - done))
            if share <= 0:
                break
            batch = self._take(place, share)
            if batch is not None:
                batches.append(batch)
                left -= len(batch)
        return batches

    def _take(self, place: _Position, limit: int) -> RawBatch | None:
        values: list[bytes | None] = []
        offsets: list[NDArray[np.int64]] = []
        spans: list[_Span] = []
        while len(values) < limit and place.behind():
            if place.rest is None:
                self._fetch_into(place, limit, values, offsets, spans)
                continue
            rest = place.rest
            end = min(rest.row.records, rest.start + limit - len(values))
            values += rest.values[rest.start : end]
            offsets.append(offsets_of(rest.row, rest.base)[rest.start : end])
            times_ms = timestamps_of(rest.row)[rest.start : end]
            spans.append(_Span(rest.details, rest.start, end, times_ms))
            rest.start = end
            place.next = int(offsets[-1][-1]) + 1
            if end == rest.row.records:
                place.next = place.base  # past a gap that compaction left at the row's end
                place.rest = None
        if not values:
            return None
        joined, times_ms = offsets[0], spans[0].times_ms
        if len(spans) > 1:
            joined = np.concatenate(offsets)
            times_ms = np.concatenate([span.times_ms for span in spans])
        detail = _DetailOf(spans)
        return RawBatch(
            place.topic, place.partition, joined, values, detail, times_ms, detail.with_headers
        )

    def _fetch_into(
        self,
        place: _Position,
        limit: int,
        values: list[bytes | None],
        offsets: list[NDArray[np.int64]],
        spans: list[_Span],
    ) -> None:
        """Read rows until there are enough records; the last may be left as the place's rest."""
        first = place.id << OFFSET_BITS
        cursor = self._db.execute(_FETCH, (first + place.base, first + place.high))
        try:
            for found, *columns in cursor:
                row = Row(*columns)
                base = found - first
                if base != place.base:
                    break
                where = f"{self._where}: topic {place.topic!r}, partition {place.partition}"
                row_values = unpack_values(row, f"{where}, offset {base}")
                place.base = base + row.span
                start = 0
                if place.next > base:  # a start in mid-row
                    start = int(np.searchsorted(offsets_of(row, base), place.next))
                details = RowDetails(row)
                if row.records - start > limit - len(values):
                    place.rest = _Rest(row, base, row_values, details, start)
                    return
                place.next = place.base
                if row.records > start:
                    values += row_values[start:] if start else row_values
                    offsets.append(offsets_of(row, base)[start:])
                    spans.append(_Span(details, start, row.records, timestamps_of(row)[start:]))
                if len(values) >= limit:
                    return
            else:
                if place.base >= place.high:
                    return
        finally:
            cursor.close()  # An open one keeps its snapshot, and the write-ahead file grows.
        self._explain_gap(place)

    def _explain_gap(self, place: _Position) -> None:
        low, high = self._bounds(place.id, place.topic)
        if low <= place.next:
            found = self._find(place.topic, place.partition, place.id, place.next)
            if found.base == place.base:
                raise LogError(
                    f"{self._where}: topic {place.topic!r}, partition {place.partition}: expected "
                    f"records from offset {place.base} to {high}, got none; the file is damaged"
                )
            place.base = found.base  # Compaction has joined rows since: look again from there.
            return
        raise _out_of_range(self._where, place.topic, place.partition, place.next, low, high)


class _DetailOf:
    """`RawBatch.detail` over the parts of rows that make up a batch."""

    __slots__ = ("_spans",)

    def __init__(self, spans: list[_Span]) -> None:
        self._spans = spans

    def __call__(self, index: int) -> Detail:
        for details, start, end, _ in self._spans:
            if index < end - start:
                return details[start + index]
            index -= end - start
        raise IndexError("index is beyond the batch")

    def with_headers(self) -> list[int]:
        found: list[int] = []
        first = 0
        for details, start, end, _ in self._spans:
            found += [
                first + index - start for index in details.with_headers() if start <= index < end
            ]
            first += end - start
        return found


def _out_of_range(
    where: str, topic: str, partition: int, offset: int, low: int, high: int
) -> OffsetOutOfRangeError:
    return OffsetOutOfRangeError(
        f"{where}: topic {topic!r}, partition {partition}: expected an offset from {low} to "
        f"{high}, got {offset}; retention has removed it, or it was never written: choose where to "
        "start anew"
    )
