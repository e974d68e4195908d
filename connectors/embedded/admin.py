"""Looks after the topics and groups of the embedded log."""

import json
import secrets
import threading

import numpy as np

from streamrec.connectors.embedded.file import (
    OFFSET_BITS,
    EmbeddedFile,
    explained,
    partition_ids,
    transaction,
    unknown_topic,
)
from streamrec.connectors.embedded.rows import Row, offsets_of, timestamps_of
from streamrec.connectors.embedded.topics import check_configs
from streamrec.connectors.log import LogError, OffsetBounds, TopicInfo, TopicSpec

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class EmbeddedAdmin:
    """A LogAdmin, safe for use by several threads."""

    def __init__(self, file: EmbeddedFile) -> None:
        self._where = file.where
        self._db = file.connect()
        self._lock = threading.Lock()

    def topics(self) -> list[str]:
        with self._lock, explained(self._where):
            return [name for (name,) in self._db.execute("SELECT name FROM topics ORDER BY name")]

    def describe(self, topic: str) -> TopicInfo:
        bounds = self.bounds(topic)
        with self._lock, explained(self._where):
            row = self._db.execute("SELECT configs FROM topics WHERE name = ?", (topic,)).fetchone()
        if row is None:
            raise unknown_topic(self._where, topic)
        return TopicInfo(topic, bounds, 1, json.loads(row[0]))

    def create(self, spec: TopicSpec) -> None:
        """Create a topic; `replication` is 1 whatever the spec says, as there is one file."""
        at = f"{self._where}: topic {spec.name!r}"
        if not spec.name or len(spec.name) > 249 or set(spec.name) - _NAME_CHARACTERS:
            raise LogError(f"{at}: expected 1 to 249 letters, digits, '.', '_' or '-' as a name")
        if spec.partitions < 1:
            raise LogError(f"{at}: expected at least 1 partition, got {spec.partitions}")
        check_configs(self._where, spec.name, spec.configs)
        with self._lock, explained(self._where), transaction(self._db):
            if self._db.execute("SELECT 1 FROM topics WHERE name = ?", (spec.name,)).fetchone():
                raise LogError(f"{at}: expected no such topic, got one; delete it, or keep it")
            topic_id = self._db.execute(
                "INSERT INTO topics (name, configs) VALUES (?, ?)",
                (spec.name, json.dumps(dict(spec.configs))),
            ).lastrowid
            self._db.executemany(
                "INSERT INTO partitions (topic_id, partition) VALUES (?, ?)",
                [(topic_id, partition) for partition in range(spec.partitions)],
            )

    def add_partitions(self, topic: str, total: int) -> None:
        with self._lock, explained(self._where), transaction(self._db):
            count = len(partition_ids(self._db, self._where, topic))
            if total < count:
                raise LogError(
                    f"{self._where}: topic {topic!r}: expected more than its {count} partitions, "
                    f"got {total}; partitions cannot be removed"
                )
            self._db.executemany(
                "INSERT INTO partitions (topic_id, partition) SELECT id, ? FROM topics"
                " WHERE name = ?",
                [(partition, topic) for partition in range(count, total)],
            )

    def delete(self, topic: str) -> None:
        with self._lock, explained(self._where), transaction(self._db):
            for row_id in partition_ids(self._db, self._where, topic).values():
                self._db.execute(
                    "DELETE FROM batches WHERE id >= ? AND id < ?",
                    (row_id << OFFSET_BITS, (row_id + 1) << OFFSET_BITS),
                )
                self._db.execute("DELETE FROM partitions WHERE id = ?", (row_id,))
            self._db.execute("DELETE FROM group_offsets WHERE topic = ?", (topic,))
            self._db.execute("DELETE FROM topics WHERE name = ?", (topic,))

    def bounds(self, topic: str) -> dict[int, OffsetBounds]:
        with self._lock, explained(self._where):
            rows = self._db.execute(
                "SELECT p.partition, p.low, p.high FROM partitions p JOIN topics t"
                " ON t.id = p.topic_id WHERE t.name = ? ORDER BY p.partition",
                (topic,),
            ).fetchall()
        if not rows:
            raise unknown_topic(self._where, topic)
        return {partition: OffsetBounds(low, high) for partition, low, high in rows}

    def ends(self, topic: str, committed: bool = False) -> dict[int, int]:
        return {partition: bounds.high for partition, bounds in self.bounds(topic).items()}

    def offsets_at(self, topic: str, timestamp_ms: int) -> dict[int, int]:
        bounds = self.bounds(topic)
        with self._lock, explained(self._where):
            ids = partition_ids(self._db, self._where, topic)
            return {
                partition: self._offset_at(ids[partition], high, timestamp_ms)
                for partition, (_, high) in bounds.items()
            }

    def _offset_at(self, row_id: int, high: int, timestamp_ms: int) -> int:
        first = row_id << OFFSET_BITS
        # `ms_max` stands before the blobs, so the search reads none of them.
        found = self._db.execute(
            "SELECT * FROM batches WHERE id >= ? AND id < ? AND ms_max >= ? AND records > 0"
            " ORDER BY id LIMIT 1",
            (first, first + high, timestamp_ms),
        ).fetchone()
        if found is None:
            return high
        row = Row(*found[1:])
        index = int(np.argmax(timestamps_of(row) >= timestamp_ms))
        return int(offsets_of(row, found[0] - first)[index])

    def identity(self, topic: str) -> str | None:
        with self._lock, explained(self._where):
            row = self._db.execute("SELECT id FROM topics WHERE name = ?", (topic,)).fetchone()
        if row is None:
            raise unknown_topic(self._where, topic)
        return f"{self._file_id()}/{row[0]}"

    def _file_id(self) -> str:
        """Of the file: another in its place counts its topics from 1 again. Made when it is first
        asked for, so that files of before have one."""
        with self._lock, explained(self._where), transaction(self._db):
            self._db.execute("CREATE TABLE IF NOT EXISTS identity (id TEXT NOT NULL)")
            row = self._db.execute("SELECT id FROM identity").fetchone()
            if row is None:
                row = (secrets.token_hex(8),)
                self._db.execute("INSERT INTO identity (id) VALUES (?)", row)
        return str(row[0])

    def committed(self, group: str, topic: str, within_s: float | None = None) -> dict[int, int]:
        with self._lock, explained(self._where):
            partition_ids(self._db, self._where, topic)
            return dict(
                self._db.execute(
                    "SELECT partition, next FROM group_offsets WHERE name = ? AND topic = ?"
                    " ORDER BY partition",
                    (group, topic),
                ).fetchall()
            )

    def close(self) -> None:
        with self._lock:
            self._db.close()
