"""Compaction of the embedded log: of each key the newest record is kept, under its old offset.

Done by the writer of a compacted topic, inside its transaction, once half of a partition has been
written since the last time (as Kafka's `min.cleanable.dirty.ratio` 0.5). Tombstones are kept:
a reader that starts at the beginning must still learn that a key is gone. What is younger than
`min.compaction.lag.ms` is left as it is, and replaces nothing yet.
"""

import sqlite3
import time

import numpy as np

from streamrec.connectors.embedded.file import OFFSET_BITS
from streamrec.connectors.embedded.rows import (
    Row,
    RowDetails,
    offsets_of,
    pack,
    timestamps_of,
    unpack_values,
)
from streamrec.connectors.log import Headers

_DIRTY_RECORDS_MIN = 10_000  # offsets; below this a rewrite is not worth its cost
_ROW_RECORDS = 2_000


def compact_if_due(db: sqlite3.Connection, partition_id: int, lag_ms: int = 0) -> bool:
    """Compact a partition if half of it is new. Cost: reading and writing what it holds."""
    low, high, clean = db.execute(
        "SELECT low, high, clean FROM partitions WHERE id = ?", (partition_id,)
    ).fetchone()
    dirty = high - max(low, clean)
    if dirty < _DIRTY_RECORDS_MIN:
        return False
    first = partition_id << OFFSET_BITS
    end = high
    if lag_ms:
        old_ms = time.time_ns() // 1_000_000 - lag_ms
        young = db.execute(
            "SELECT id FROM batches WHERE id >= ? AND id < ? AND ms_max > ? ORDER BY id LIMIT 1",
            (first + clean, first + high, old_ms),
        ).fetchone()
        end = high if young is None else young[0] - first
        dirty = end - max(low, clean)
        if dirty < _DIRTY_RECORDS_MIN:
            return False
    held = db.execute(
        "SELECT coalesce(sum(records), 0) FROM batches WHERE id >= ? AND id < ?",
        (first, first + end),
    ).fetchone()[0]
    if 2 * dirty < held:
        return False
    compact(db, partition_id, end)
    return True


def compact(db: sqlite3.Connection, partition_id: int, end: int) -> None:
    """Rewrite a partition up to an offset at which a row ends, with one record a key; records
    without a key are dropped, as Kafka refuses them. Called inside a transaction. Offsets never
    change; gaps appear."""
    first = partition_id << OFFSET_BITS
    found = db.execute(
        "SELECT * FROM batches WHERE id >= ? AND id < ? ORDER BY id",
        (first, first + end),
    ).fetchall()
    if not found:
        return
    rows = [(row_id - first, Row(*columns)) for row_id, *columns in found]
    newest: dict[bytes, int] = {}
    for base, row in rows:
        details = RowDetails(row)
        for index, offset in enumerate(offsets_of(row, base).tolist()):
            key = details[index].key
            if key is not None:
                newest[key] = offset
    packer = _Packer(db, first, rows[0][0])
    for base, row in rows:
        details = RowDetails(row)
        values = unpack_values(row, f"partition id {partition_id}, offset {base}")
        stamps = timestamps_of(row).tolist()
        db.execute("DELETE FROM batches WHERE id = ?", (first + base,))
        for index, offset in enumerate(offsets_of(row, base).tolist()):
            key, headers, _ = details[index]
            if key is not None and newest[key] == offset:
                packer.add(key, values[index], stamps[index], headers, offset)
    packer.close(end)
    freed = sum(row.size for _, row in rows) - packer.size
    db.execute(
        "UPDATE partitions SET clean = ?, bytes = bytes - ? WHERE id = ?",
        (end, freed, partition_id),
    )


class _Packer:
    """Gathers the records that stay into rows which together cover every offset."""

    def __init__(self, db: sqlite3.Connection, first: int, base: int) -> None:
        self._db = db
        self._first = first
        self._base = base
        self.size = 0
        self._clear()

    def _clear(self) -> None:
        self._keys: list[bytes | None] = []
        self._values: list[bytes | None] = []
        self._stamps: list[int] = []
        self._offsets: list[int] = []
        self._headers: dict[int, Headers] = {}

    def add(
        self, key: bytes, value: bytes | None, stamp_ms: int, headers: Headers, offset: int
    ) -> None:
        if len(self._keys) == _ROW_RECORDS:
            self.close(offset)
        if headers:
            self._headers[len(self._keys)] = headers
        self._keys.append(key)
        self._values.append(value)
        self._stamps.append(stamp_ms)
        self._offsets.append(offset)

    def close(self, end: int) -> None:
        """Write a row that covers the offsets up to `end`, exclusive."""
        row = pack(
            self._keys,
            self._values,
            np.array(self._stamps, np.int64),
            self._headers,
            np.array(self._offsets, np.int64) - self._base,
            end - self._base,
        )
        marks = ", ".join("?" * 13)
        self._db.execute(f"INSERT INTO batches VALUES ({marks})", (self._first + self._base, *row))
        self.size += row.size
        self._base = end
        self._clear()
