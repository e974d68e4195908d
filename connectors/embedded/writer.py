"""Writes the embedded log.

Messages gather for up to `LINGER_S`, or until there are `_DRAIN_RECORDS` of them, and go into the
file in one transaction: a commit costs some 50 microseconds whatever it holds. `flush` writes what
is left, at once. Offsets are assigned inside the transaction, so they are in order and without gaps
whatever other processes write.
"""

import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.embedded.claims import Claims
from streamrec.connectors.embedded.compaction import compact_if_due
from streamrec.connectors.embedded.file import (
    OFFSET_BITS,
    EmbeddedFile,
    checkpoint_if_large,
    explained,
    transaction,
)
from streamrec.connectors.embedded.retention import apply_retention
from streamrec.connectors.embedded.rows import pack
from streamrec.connectors.embedded.topics import TopicRules, load_topic
from streamrec.connectors.log import Headers, Outgoing, WriteError
from streamrec.connectors.partitioner import partition_for_key
from streamrec.connectors.sizes import size_of

LINGER_S = 0.005
_DRAIN_RECORDS = 1_000
_DRAIN_BYTES = 1_048_576
_ROW_RECORDS = 2_000
_ROW_BYTES = 4_194_304
TOPIC_AGE_S = 1.0  # how long a topic's partitions and options are believed; they may change
_INSERT = f"INSERT INTO batches VALUES ({', '.join('?' * 13)})"
_EXTEND = (
    "UPDATE partitions SET high = high + ?, bytes = bytes + ? WHERE id = ? RETURNING high, bytes"
)


@dataclass(slots=True)
class Pending:
    """What waits to be written to one partition."""

    rules: TopicRules
    partition: int
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    stamps_ms: list[int] = field(default_factory=list)  # runs: the time ...
    stamp_counts: list[int] = field(default_factory=list)  # ... and how many records have it
    headers: dict[int, Headers] = field(default_factory=dict)
    size: int = 0

    def add(
        self, key: bytes | None, value: bytes | None, headers: Headers | None, ms: int, size: int
    ) -> None:
        """One message, with its time and its bytes."""
        if headers:
            self.headers[len(self.values)] = headers
        self.keys.append(key)
        self.values.append(value)
        self.stamp(1, ms)
        self.size += size

    def stamp(self, count: int, ms: int) -> None:
        """So many messages have this time."""
        if self.stamps_ms and self.stamps_ms[-1] == ms:
            self.stamp_counts[-1] += count
        else:
            self.stamps_ms.append(ms)
            self.stamp_counts.append(count)


class EmbeddedWriter:
    """A LogWriter. After a failed `flush` it accepts nothing more: open another one."""

    def __init__(self, file: EmbeddedFile, claims: Claims | None = None) -> None:
        self._file = file
        self._claims = claims
        self._where = file.where
        self._db = file.connect()
        self._identity = file.identity()
        self._topics: dict[str, tuple[float, TopicRules]] = {}
        self._pending: dict[int, Pending] = {}  # by the partition's id
        self._records = 0
        self._bytes = 0
        self._sticky = 0
        self._failure: WriteError | None = None
        self._closed = False
        self._wake = threading.Condition()  # guards all of the above
        self._thread: threading.Thread | None = None

    def write(self, topic: str, messages: Iterable[Outgoing]) -> None:
        with self._wake:
            rules = self._usable_topic(topic)
            self._sticky = (self._sticky + 1) % len(rules.ids)
            now_ms = time.time_ns() // 1_000_000
            placed = []  # Nothing is taken before all are found good.
            for message in messages:
                partition = message.partition
                if partition is None:
                    key = message.key
                    partition = (
                        self._sticky if key is None else partition_for_key(key, len(rules.ids))
                    )
                size = size_of(message.key, message.value, message.headers)
                rules.check(partition, size)
                placed.append((partition, size, message))
            for partition, size, message in placed:
                ms = now_ms if message.timestamp_ms is None else message.timestamp_ms
                self._pending_of(rules, partition).add(
                    message.key, message.value, message.headers, ms, size
                )
                self._counted(1, size)
            self._drain_or_linger()

    def write_columns(
        self,
        topic: str,
        partition: int,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        headers: Sequence[Headers] | None = None,
        times_ms: NDArray[np.int64] | None = None,
    ) -> None:
        if len(keys) != len(values):
            raise ValueError(f"expected a key for each of {len(values)} values, got {len(keys)}")
        with self._wake:
            rules = self._usable_topic(topic)
            if not values:
                return
            size = _size_of(keys) + _size_of(values)
            if headers is not None:
                size += sum(len(n) + len(v or b"") for pairs in headers for n, v in pairs)
            rules.check(partition, 0)
            if size > rules.max_message_bytes:  # One may be too large: look at each.
                for key, value, own in zip(keys, values, headers or repeat(None), strict=False):
                    rules.check(partition, size_of(key, value, own))
            pending = self._pending_of(rules, partition)
            if headers is not None:
                first = len(pending.values)
                pending.headers.update((n, own) for n, own in enumerate(headers, first) if own)
            pending.keys += keys
            pending.values += values
            now_ms = time.time_ns() // 1_000_000
            pending.size += size
            if times_ms is None:
                pending.stamp(len(values), now_ms)
            else:
                stamps_ms = np.where(times_ms < 0, now_ms, times_ms)
                starts = np.flatnonzero(np.diff(stamps_ms, prepend=-1))
                pending.stamps_ms += stamps_ms[starts].tolist()
                pending.stamp_counts += np.diff(starts, append=len(stamps_ms)).tolist()
            self._counted(len(values), size)
            self._drain_or_linger()

    def flush(self, timeout_s: float) -> None:
        """Write what has gathered. The file's busy timeout, not `timeout_s`, bounds the wait."""
        with self._wake:
            self._drain()
            if self._failure is not None:
                raise self._failure

    def close(self) -> None:
        with self._wake:
            if self._closed:
                return
            self._drain()
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        self._db.close()
        if self._failure is not None:
            raise self._failure

    def _usable_topic(self, topic: str) -> TopicRules:
        if self._closed:
            raise WriteError(f"{self._where}: the writer is closed")
        if self._failure is not None:
            raise self._failure
        now = time.monotonic()
        known = self._topics.get(topic)
        if known is not None and known[0] > now:
            return known[1]
        with explained(self._where):
            rules = load_topic(self._db, self._where, topic)
        self._topics[topic] = (now + TOPIC_AGE_S, rules)
        return rules

    def _pending_of(self, rules: TopicRules, partition: int) -> Pending:
        row_id = rules.ids[partition]
        pending = self._pending.get(row_id)
        if pending is None:
            pending = self._pending[row_id] = Pending(rules, partition)
        return pending

    def _counted(self, count: int, size: int) -> None:
        self._records += count
        self._bytes += size

    def _drain_or_linger(self) -> None:
        if self._records >= _DRAIN_RECORDS or self._bytes >= _DRAIN_BYTES:
            self._drain()
            if self._failure is not None:
                raise self._failure
        elif self._thread is None:
            self._thread = threading.Thread(
                target=self._drain_lingering, name="embedded-log-linger", daemon=True
            )
            self._thread.start()
        else:
            self._wake.notify()

    def _drain_lingering(self) -> None:
        """The linger thread: whatever has gathered becomes visible soon without a flush."""
        with self._wake:
            while not self._closed:
                if not self._records:
                    self._wake.wait()
                    continue
                self._wake.wait_for(lambda: self._closed or not self._records, LINGER_S)
                self._drain()

    def _drain(self) -> None:
        """Write what waits, in one transaction. A failure is kept for every later call to raise."""
        if not self._pending or self._failure is not None:
            return
        count = self._records
        pending, self._pending = self._pending, {}
        self._records = self._bytes = 0
        try:
            with explained(self._where, WriteError):
                with transaction(self._db):
                    self._file.check_in_place(self._identity)
                    if self._claims is not None:
                        self._claims.check(self._db)
                    for row_id, part in pending.items():
                        append_part(self._db, self._where, row_id, part)
                checkpoint_if_large(self._db, self._file.path)
        except Exception as error:  # noqa: BLE001  # whatever it is, a flush must not succeed now
            self._failure = WriteError(f"{error}; {count} messages were not written")
            self._failure.__cause__ = error


def append_part(db: sqlite3.Connection, where: str, row_id: int, part: Pending) -> int:
    """Write what waits for one partition, inside a transaction; its first offset. Raises
    WriteError, sqlite3.Error."""
    total = len(part.values)
    first: int | None = None
    stamps = np.repeat(np.array(part.stamps_ms, np.int64), part.stamp_counts)
    step = min(_ROW_RECORDS, max(1, _ROW_BYTES // (part.size // total + 1)))
    for start in range(0, total, step):
        end = min(start + step, total)
        headers = {
            index - start: pairs for index, pairs in part.headers.items() if start <= index < end
        }
        row = pack(part.keys[start:end], part.values[start:end], stamps[start:end], headers)
        ends = db.execute(_EXTEND, (row.span, row.size, row_id)).fetchall()
        if not ends:
            raise WriteError(
                f"{where}: topic {part.rules.name!r} was deleted while it was written to"
            )
        high, held = ends[0]
        first = high - row.span if first is None else first
        db.execute(_INSERT, ((row_id << OFFSET_BITS) + high - row.span, *row))
    apply_retention(db, row_id, held, part.rules)
    if part.rules.compact:
        compact_if_due(db, row_id, part.rules.compaction_lag_ms)
    assert first is not None
    return first


def _size_of(items: Sequence[bytes | None]) -> int:
    try:
        return sum(map(len, items))  # type: ignore[arg-type]  # a null raises TypeError
    except TypeError:
        return sum(len(item) for item in items if item is not None)


assert sqlite3.sqlite_version_info >= (3, 35), "RETURNING needs SQLite 3.35"
