"""The newest record of each key in one shard."""

from collections.abc import Mapping

import numpy as np
from numba import types
from numpy.typing import NDArray

from streamrec.compiling import kernel
from streamrec.models.keyed.columns import Values, WordColumns
from streamrec.models.keyed.kernels import (
    ROWS_TYPE,
    RowArrays,
    add_row,
    first_of,
    note_change,
    put_due,
)
from streamrec.models.keyed.over_rows import OverRows
from streamrec.models.keyed.rows import NEVER_MS, KeyedRows

_TIME_MS = 0  # of the words of a row
_MATRIX, _FLAT = types.int64[:, ::1], types.int64[::1]


class KeyedTable(OverRows):
    """A table of one row a key: hashes (n, 2) int64 as `schemas.hashing.hash128` gives them, and
    columns (n,) of the types declared.

    Newest is by event time; of two records of one time, the one that comes later. What is older
    than `expire_ms` is gone for a record that says its time, and for all once `forget` is told so.
    """

    def __init__(
        self, columns: Mapping[str, np.dtype[np.generic]], expire_ms: int | None = None
    ) -> None:
        """`expire_ms` None: records stay. Raises ValueError for a column's type."""
        self._columns = WordColumns(columns)
        self._expire_ms = expire_ms
        super().__init__(KeyedRows(("time_ms", *self._columns.names), ()))

    def put(
        self,
        hashes: NDArray[np.int64],
        columns: Mapping[str, NDArray[np.generic]],
        times_ms: NDArray[np.int64],
    ) -> None:
        """Take in n records, in order; an older one than is held of its key changes nothing."""
        values = self._columns.pack(columns, len(hashes))
        words = np.concatenate([times_ms[:, None], values], axis=1)
        self.rows.reserve(len(hashes))
        expire_ms = -1 if self._expire_ms is None else self._expire_ms
        put(self.rows.rows, np.require(hashes, np.int64, ["C", "W"]), words, expire_ms)

    def get(
        self, hashes: NDArray[np.int64], times_ms: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.bool_], Values]:
        """Whether there is a record of each key, (n,), and its columns, zero where there is none.
        With the times (n,) of who asks, what is more than `expire_ms` older is not there."""
        slots = self.rows.first(hashes)
        words = self.rows.words_at(np.maximum(slots, 0))
        found = slots >= 0
        if times_ms is not None and self._expire_ms is not None:
            found &= words[:, _TIME_MS] >= times_ms - self._expire_ms
        words[~found] = 0
        return found, self._columns.unpack(words[:, 1:])


@kernel(types.void(ROWS_TYPE, _MATRIX, _MATRIX, types.int64))
def put(
    rows: RowArrays, hashes: NDArray[np.int64], words: NDArray[np.int64], expire_ms: int
) -> None:
    """See `KeyedTable.put`; `expire_ms` -1: never."""
    held = rows.words
    order = np.zeros((1, 4), np.int64)
    for i in range(len(hashes)):
        due_ms = NEVER_MS if expire_ms < 0 else words[i, _TIME_MS] + expire_ms
        high, low = hashes[i, 1], hashes[i, 0]
        slot = first_of(rows, high, low)
        if slot < 0:
            slot = add_row(rows, high, low, due_ms, order, 0)
        elif words[i, _TIME_MS] < held[slot, _TIME_MS]:
            continue
        else:
            put_due(rows, slot, due_ms)
            note_change(rows, slot)
        for column in range(words.shape[1]):
            held[slot, column] = words[i, column]


__all__ = ["KeyedTable"]
