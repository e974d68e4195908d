"""`ByKey`: a bounded map from keys to plain values that a shard keeps."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from streamrec.dataflows.job.values import plain_value
from streamrec.models.users import watermarks


class _Entry(NamedTuple):
    value: Any  # numbers, strings, booleans, None, and lists and dicts (by strings) of these
    time_ms: int


class ByKey:
    """Values by key, for logic that goes record by record; `Job.keep` saves what changed.

    A value set at event time t is gone for a record more than `expire_ms` later, and for all once
    the shard has seen such event times: what is read follows from the records and not from how they
    were batched or saved. One wrong clock makes nobody's values old: an event time more than
    `expire_ms` ahead counts when so many keys agree, as the watermarks of user features do, and
    values set by it are gone when it is refuted (docs/features.md, "Wrong clocks"). At most
    `keys_max` are held; when another comes, the one that was set longest ago goes first.
    Memory is that of a dict: some 300 bytes a key, and the value.

        class CountCarts(ByKey):
            def update(self, batches): ...

    >>> counts = ByKey(keys_max=2, expire_ms=1_000)
    >>> counts.put("u1", 3, time_ms=5_000)
    >>> counts.get("u1", time_ms=6_000), counts.get("u1", time_ms=6_001)
    (3, None)
    """

    def __init__(self, keys_max: int = 1_000_000, expire_ms: int | None = None) -> None:
        """`expire_ms` None: values stay until the bound pushes them out."""
        self._keys_max = keys_max
        self._expire_ms = expire_ms
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._changes: set[str] = set()
        self._marks = watermarks.no_marks(1)
        # As the marks have them, in plain numbers, which are ahead of the marks between two
        # weighings: up to the limit nothing needs to be weighed.
        self._newest_ms, self._limit_ms = 0, -1
        self._weighed: dict[bytes, str] = {}  # keys that may be candidates, by their hash

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str, time_ms: int, default: Any = None) -> Any:
        """The value, for a record of this event time, Unix milliseconds."""
        self._see(key, time_ms)
        entry = self._entries.get(key)
        if entry is None or self._is_over(entry, max(self._newest_ms, time_ms)):
            return default
        return entry.value

    def put(self, key: str, value: Any, time_ms: int) -> None:
        """Set a value (what JSON can hold) at an event time, Unix milliseconds. A late record does
        not make a key older than it is. What comes back after a restart went through JSON: a tuple
        is a list then, and a dict has strings for keys. Raises TypeError for a key that is no
        string."""
        if type(key) is not str:
            raise TypeError(f"key expected a string, got {key!r}")
        self._see(key, time_ms)
        held = self._entries.get(key)
        if held is not None:
            time_ms = max(time_ms, held.time_ms)
        self._entries[key] = _Entry(value, time_ms)
        self._entries.move_to_end(key)
        self._changes.add(key)
        while len(self._entries) > self._keys_max:  # more than one: the bound was lowered
            self._changes.add(self._entries.popitem(last=False)[0])

    def remove(self, key: str) -> None:
        """Forget a key, if it is there."""
        if self._entries.pop(key, None) is not None:
            self._changes.add(key)

    def changed(self, whole: bool) -> tuple[pa.Table, dict[str, Any]]:
        """One row a key: its value as JSON, null where it is gone; in the order in which they were
        set. Drops what is over."""
        self._write_marks()
        surely_ms = watermarks.newest_founded_ms(self._marks)
        for key, entry in list(self._entries.items()):
            if not self._is_over(entry, surely_ms):
                break
            self.remove(key)
        keys = list(self._entries)
        if not whole:
            gone = [key for key in self._changes if key not in self._entries]
            keys = gone + [key for key in keys if key in self._changes]
        found = [self._entries.get(key) for key in keys]
        values = [e and plain_value(key, e.value) for key, e in zip(keys, found, strict=True)]
        self._changes.clear()
        table = pa.table(
            {
                "key": pa.array(keys, pa.string()),
                "value": pa.array(values, pa.string()),
                "time_ms": pa.array([e.time_ms if e else 0 for e in found], pa.int64()),
            }
        )
        return table, {"newest_ms": self._newest_ms, "doubts": watermarks.doubts_of(self._marks)}

    def restore(self, tables: Sequence[pa.Table], facts: dict[str, Any]) -> None:
        """Become the map that said these."""
        newest_ms = np.array([facts["newest_ms"]], np.int64)
        # What was saved before event times were doubted says nothing of it.
        doubts = facts.get("doubts", {})
        self._marks = watermarks.marks_of(newest_ms, doubts, self._expire_ms or 0)
        self._read_marks()
        for table in tables:
            for row in table.to_pylist():
                self._entries.pop(row["key"], None)
                if row["value"] is not None:
                    self._entries[row["key"]] = _Entry(json.loads(row["value"]), row["time_ms"])
        times_ms = {entry[0] for entry in watermarks.candidates_of(self._marks, 0)}
        if times_ms:
            set_then = (key for key, entry in self._entries.items() if entry.time_ms in times_ms)
            self._weighed = {_hash(key): key for key in set_then}

    def _is_over(self, entry: _Entry, now_ms: int) -> bool:
        return self._expire_ms is not None and entry.time_ms < now_ms - self._expire_ms

    def _see(self, key: str, time_ms: int) -> None:
        """Take in a record's event time. Values of a time that is refuted are gone."""
        if time_ms > self._limit_ms:
            if self._expire_ms is not None:
                self._weigh(key, time_ms, self._expire_ms)
        elif time_ms > self._newest_ms:
            self._newest_ms, self._limit_ms = time_ms, time_ms + (self._expire_ms or 0)

    def _weigh(self, key: str, time_ms: int, expire_ms: int) -> None:
        self._write_marks()
        hashed = _hash(key)
        self._weighed[hashed] = key
        high, low = np.frombuffer(hashed, np.int64).tolist()
        refuted = np.empty((watermarks.CANDIDATES_MAX + 1, 3), np.int64)
        found = watermarks.weigh_one(
            self._marks, 0, time_ms, high, low, expire_ms, expire_ms, refuted
        )
        for refuted_ms, *hashes in refuted[: max(found, 0)].tolist():
            other = self._weighed.get(np.array(hashes, np.int64).tobytes())
            entry = None if other is None else self._entries.get(other)
            if other is not None and entry is not None and entry.time_ms == refuted_ms:
                self.remove(other)
        candidates = watermarks.candidates_of(self._marks, 0)
        kept = {np.array(entry[1:], np.int64).tobytes() for entry in candidates}
        self._weighed = {h: k for h, k in self._weighed.items() if h in kept}
        self._read_marks()

    def _write_marks(self) -> None:
        self._marks[0, watermarks.WATERMARK_MS] = self._newest_ms
        self._marks[0, watermarks.LIMIT_MS] = self._limit_ms

    def _read_marks(self) -> None:
        row = self._marks[0]
        self._newest_ms, self._limit_ms = (
            int(row[watermarks.WATERMARK_MS]),
            int(row[watermarks.LIMIT_MS]),
        )


def _hash(key: str) -> bytes:
    """Of 16 bytes."""
    return hashlib.blake2b(key.encode(), digest_size=16).digest()


__all__ = ["ByKey"]
