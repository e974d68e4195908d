"""Retention of the embedded log: whole batches leave at the old end, when new ones are written."""

import sqlite3
import time

from streamrec.connectors.embedded.file import OFFSET_BITS
from streamrec.connectors.embedded.topics import TopicRules


def apply_retention(
    db: sqlite3.Connection, partition_id: int, held_bytes: int, rules: TopicRules
) -> None:
    """Delete batches whose newest record is older than `retention.ms`, and the oldest batches
    without which `retention.bytes` are still held. Called inside the writer's transaction."""
    first = partition_id << OFFSET_BITS
    last = first + (1 << OFFSET_BITS)
    cut = first
    if rules.retention_ms is not None:
        kept_ms = time.time_ns() // 1_000_000 - rules.retention_ms
        found = db.execute(
            "SELECT id FROM batches WHERE id >= ? AND id < ? AND ms_max >= ? ORDER BY id LIMIT 1",
            (first, last, kept_ms),
        ).fetchone()
        cut = last if found is None else found[0]
    surplus = 0 if rules.retention_bytes is None else held_bytes - rules.retention_bytes
    if surplus > 0:
        cursor = db.execute(
            "SELECT id, span, size FROM batches WHERE id >= ? AND id < ? ORDER BY id", (first, last)
        )
        for row_id, span, size in cursor:
            surplus -= size
            if surplus < 0:
                break
            cut = max(cut, row_id + span)
        cursor.close()
    if cut > first:
        _delete_below(db, partition_id, first, cut)


def _delete_below(db: sqlite3.Connection, partition_id: int, first: int, cut: int) -> None:
    freed, end = db.execute(
        "SELECT sum(size), max(id + span) FROM batches WHERE id >= ? AND id < ?", (first, cut)
    ).fetchone()
    if freed is None:
        return
    db.execute("DELETE FROM batches WHERE id >= ? AND id < ?", (first, cut))
    db.execute(
        "UPDATE partitions SET low = ?, bytes = bytes - ? WHERE id = ?",
        (end - first, freed, partition_id),
    )
