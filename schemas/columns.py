"""Columns: how a batch of records lies in memory between decoding and encoding.

A batch is a `dict[str, Column]`, one entry per field, every column of the same length n. Fields of
a nested record are named with dots (`item.price`). Nulls of a nullable field are a mask beside the
values; the value under a null is zero and means nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Numbers:
    """Integers, floats, booleans, enum indexes: one NumPy value each."""

    values: NDArray[np.generic]  # (n,), int64, int32 (int, enum), float64, float32 or bool_
    valid: NDArray[np.bool_] | None = None  # (n,), None: no nulls

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Bytes:
    """Strings (UTF-8), bytes and fixed as spans of one buffer, which the spans need not fill."""

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]  # (n,)
    lengths: NDArray[np.int64]  # (n,), in bytes
    valid: NDArray[np.bool_] | None = None  # (n,), None: no nulls

    def __len__(self) -> int:
        return len(self.starts)

    def bytes_at(self, row: int) -> bytes:
        start = int(self.starts[row])
        return self.data[start : start + int(self.lengths[row])].tobytes()


@dataclass(frozen=True, slots=True)
class Lists:
    """Arrays: row i holds the child's rows bounds[i] to bounds[i + 1], as Arrow's lists do."""

    bounds: NDArray[np.int64]  # (n + 1,)
    items: "dict[str, Column]"  # {"": column} for arrays of scalars, one entry a field for records
    valid: NDArray[np.bool_] | None = None  # (n,), None: no nulls

    def __len__(self) -> int:
        return len(self.bounds) - 1


Column = Numbers | Bytes | Lists
Columns = dict[str, Column]

VALUE = "value"  # the one column of records without a schema


def constant(text: str, n: int) -> Bytes:
    """One string n times, held once."""
    data = np.frombuffer(bytearray(text.encode()), np.uint8)
    return Bytes(data, np.zeros(n, np.int64), np.full(n, len(data), np.int64))


def nulls(n: int) -> Bytes:
    """Texts of which none is there."""
    nothing = np.zeros(n, np.int64)
    return Bytes(np.zeros(1, np.uint8), nothing, nothing, np.zeros(n, np.bool_))


def strings(parts: Sequence[bytes | str | None]) -> Bytes:
    """Strings or bytes as a column; None is null.

    >>> strings(["a", b"bc"]).bytes_at(1)
    b'bc'
    """
    texts = [part.encode() if isinstance(part, str) else part for part in parts]
    lengths = np.array([0 if text is None else len(text) for text in texts], np.int64)
    starts = np.zeros(len(texts), np.int64)
    np.cumsum(lengths[:-1], out=starts[1:])
    # A bytearray, since the kernels take only arrays that can be written to.
    data = np.frombuffer(bytearray(b"".join(text or b"" for text in texts)), np.uint8)
    valid = np.array([text is not None for text in texts], np.bool_)
    return Bytes(data, starts, lengths, None if valid.all() else valid)


def join_bytes(columns: Sequence[Bytes]) -> Bytes:
    """Columns one after the other; those over the same buffer share it. Nulls become empty."""
    if len(columns) == 1:
        return columns[0]
    starts = [column.starts for column in columns]
    data = columns[0].data
    if any(column.data is not data for column in columns):
        shifts = np.cumsum([0, *(len(column.data) for column in columns)])
        starts = [s + shift for s, shift in zip(starts, shifts, strict=False)]
        data = np.concatenate([column.data for column in columns])
    return Bytes(data, np.concatenate(starts), np.concatenate([c.lengths for c in columns]))


def take(column: Bytes, rows: NDArray[np.int64]) -> Bytes:
    """Chosen rows of a column without nulls, over the same buffer."""
    return Bytes(column.data, column.starts[rows], column.lengths[rows])


def select(columns: Columns, rows: NDArray[np.int64]) -> Columns:
    """Chosen rows of all columns, in memory of their own.

    >>> picked = select({"name": strings(["a", None, "bc"])}, np.array([2, 1]))["name"]
    >>> picked.valid.tolist(), picked.bytes_at(0)
    ([True, False], b'bc')
    """
    return {name: _select(column, rows) for name, column in columns.items()}


def _select(column: Column, rows: NDArray[np.int64]) -> Column:
    valid = None if column.valid is None else column.valid[rows]
    if isinstance(column, Numbers):
        return Numbers(column.values[rows], valid)
    if isinstance(column, Bytes):
        own = compact(column, rows)
        return Bytes(own.data, own.starts, own.lengths, valid)
    firsts, lengths = column.bounds[rows], np.diff(column.bounds)[rows]
    bounds = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths, out=bounds[1:])
    inside = np.arange(int(bounds[-1])) + np.repeat(firsts - bounds[:-1], lengths)
    return Lists(bounds, select(column.items, inside), valid)


def compact(column: Bytes, rows: NDArray[np.int64]) -> Bytes:
    """Chosen rows of a column in a buffer of their own; nulls become empty."""
    lengths = column.lengths[rows]
    ends = np.cumsum(lengths)
    starts = ends - lengths
    places = np.arange(int(ends[-1]) if len(ends) else 0)
    return Bytes(
        column.data[places + np.repeat(column.starts[rows] - starts, lengths)], starts, lengths
    )
