"""One row of the embedded log: a batch of records packed into a few blobs, and back.

Lengths and joined bytes rather than a row a record: SQLite then costs a few microseconds per
batch, and what is left per record is one `len`, one `join` and one slice. Keys, timestamps and
headers are unpacked only when a record's detail is asked for.
"""

import struct
import zlib
from array import array
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import Detail, Headers, LogError

_NULL = -1  # the length of a string that is absent
_HEADER_LENGTHS = struct.Struct("<ii")


class Row(NamedTuple):
    """The columns of a row of table `batches`, in the table's order, without its id."""

    records: int  # how many are kept
    span: int  # offsets covered: more than `records` after compaction
    size: int  # bytes of keys, values and headers
    ms_max: int  # the newest timestamp, Unix milliseconds
    checksum: int  # CRC-32 of the blobs
    lengths: bytes  # int32 a record, -1 for null
    values: bytes
    key_lengths: bytes | None  # None: no record has a key
    keys: bytes | None
    timestamps: bytes | None  # int64 a record; None: all equal `ms_max`
    headers: bytes | None  # int32 lengths of all records, then their headers; None: none has any
    offsets: bytes | None  # int64 a record, relative to the first; None: no gaps


def pack(
    keys: Sequence[bytes | None],
    values: Sequence[bytes | None],
    timestamps_ms: NDArray[np.int64],  # (n,)
    headers: Mapping[int, Headers],  # by index of the record; absent: none
    offsets: NDArray[np.int64] | None = None,  # (n,), relative to the row's first
    span: int | None = None,
) -> Row:
    """Pack n records, n > 0 (or n == 0 with a span, which compaction leaves behind)."""
    count = len(values)
    lengths, joined = _pack_strings(values)
    key_lengths: bytes | None
    joined_keys: bytes | None
    key_lengths, joined_keys = _pack_strings(keys)
    if not joined_keys and all(key is None for key in keys):
        key_lengths = joined_keys = None
    ms_max = int(timestamps_ms.max()) if count else 0
    same_ms = count == 0 or int(timestamps_ms.min()) == ms_max
    blobs = (
        lengths,
        joined,
        key_lengths,
        joined_keys,
        None if same_ms else timestamps_ms.astype("<i8").tobytes(),
        _pack_headers(count, headers) if headers else None,
        None if offsets is None else offsets.astype("<i8").tobytes(),
    )
    return Row(
        count,
        count if span is None else span,
        sum(len(blob) for blob in blobs if blob),
        ms_max,
        _checksum(blobs),
        *blobs,
    )


def unpack_values(row: Row, where: str) -> list[bytes | None]:
    """The values of a row. Raises LogError when the row's bytes are not those that were written."""
    if _checksum(row[5:]) != row.checksum:
        raise LogError(
            f"{where}: expected records with checksum {row.checksum}, got {_checksum(row[5:])}; "
            "the file is damaged: restore it, or skip the batch by reading from a later offset"
        )
    return _unpack_strings(row.lengths, row.values)


class RowDetails:
    """Keys, headers and timestamps of a row's records, unpacked once, when first asked for."""

    __slots__ = ("_headers", "_keys", "_row", "_timestamps")

    def __init__(self, row: Row) -> None:
        self._row = row
        self._keys: list[bytes | None] | None = None
        self._headers: list[Headers] = []
        self._timestamps: list[int] = []

    def __getitem__(self, index: int) -> Detail:
        if self._keys is None:
            self._unpack()
        assert self._keys is not None
        return Detail(
            self._keys[index],
            self._headers[index] if self._headers else [],
            self._timestamps[index] if self._timestamps else self._row.ms_max,
        )

    def with_headers(self) -> list[int]:
        """Which records have any: nothing is unpacked where none has."""
        if self._row.headers is None:
            return []
        if self._keys is None:
            self._unpack()
        return [index for index, headers in enumerate(self._headers) if headers]

    def _unpack(self) -> None:
        row = self._row
        if row.timestamps is not None:
            self._timestamps = np.frombuffer(row.timestamps, "<i8").tolist()
        if row.headers is not None:
            self._headers = _unpack_headers(row.records, row.headers)
        if row.key_lengths is None or row.keys is None:
            self._keys = [None] * row.records
        else:
            self._keys = _unpack_strings(row.key_lengths, row.keys)


def timestamps_of(row: Row) -> NDArray[np.int64]:
    """(n,) Unix milliseconds."""
    if row.timestamps is None:
        return np.full(row.records, row.ms_max, np.int64)
    # A copy: kernels take no array that is read-only, as one over bytes is.
    return np.frombuffer(row.timestamps, "<i8").astype(np.int64)


def offsets_of(row: Row, base: int) -> NDArray[np.int64]:
    """(n,) absolute offsets."""
    if row.offsets is None:
        return np.arange(base, base + row.records, dtype=np.int64)
    return np.frombuffer(row.offsets, "<i8") + base


def _checksum(blobs: Sequence[bytes | None]) -> int:
    checksum = 0
    for blob in blobs:
        if blob is not None:
            checksum = zlib.crc32(blob, checksum)
    return checksum


def _pack_strings(items: Sequence[bytes | None]) -> tuple[bytes, bytes]:
    try:  # The usual batch holds no null, and a null makes `len` raise: no check per record.
        return array("i", map(len, items)).tobytes(), b"".join(items)  # type: ignore[arg-type]
    except TypeError:
        lengths = array("i", [_NULL if item is None else len(item) for item in items])
        return lengths.tobytes(), b"".join([item for item in items if item is not None])


def _unpack_strings(lengths: bytes, joined: bytes) -> list[bytes | None]:
    sizes = np.frombuffer(lengths, np.int32)
    if not len(sizes):
        return []
    has_null = int(sizes.min()) < 0
    ends = np.maximum(sizes, 0).cumsum().tolist() if has_null else sizes.cumsum().tolist()
    starts = [0, *ends[:-1]]
    strings: list[bytes | None] = list(
        map(joined.__getitem__, map(slice, starts, ends, repeat(None)))
    )
    if has_null:
        for index in np.flatnonzero(sizes < 0).tolist():
            strings[index] = None
    return strings


def _pack_headers(count: int, headers: Mapping[int, Headers]) -> bytes:
    packed: list[bytes | None] = [b""] * count
    for index, pairs in headers.items():
        parts = []
        for name, value in pairs:
            encoded = name.encode()
            length = _NULL if value is None else len(value)
            parts += [_HEADER_LENGTHS.pack(len(encoded), length), encoded, value or b""]
        packed[index] = b"".join(parts)
    lengths, joined = _pack_strings(packed)
    return lengths + joined


def _unpack_headers(count: int, blob: bytes) -> list[Headers]:
    return [
        _unpack_pairs(packed or b"")
        for packed in _unpack_strings(blob[: 4 * count], blob[4 * count :])
    ]


def _unpack_pairs(packed: bytes) -> Headers:
    pairs: Headers = []
    at = 0
    while at < len(packed):
        name_length, length = _HEADER_LENGTHS.unpack_from(packed, at)
        at += _HEADER_LENGTHS.size
        name = packed[at : at + name_length].decode()
        at += name_length
        pairs.append((name, None if length == _NULL else packed[at : at + length]))
        at += max(length, 0)
    return pairs
