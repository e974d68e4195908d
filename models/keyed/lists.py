"""The last records of each key in one shard."""

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
    count_of,
    first_of,
    free_row,
)
from streamrec.models.keyed.over_rows import OverRows
from streamrec.models.keyed.rows import NEVER_MS, KeyedRows


class KeyedLists(OverRows):
    """At most `longest` records of each key, in the order in which they came: hashes (n, 2) int64
    as `schemas.hashing.hash128` gives them, and columns (n,) of the types declared.

    A record more than `expire_ms` older than what `forget` is told is dropped, too. Where longer
    lists are restored, the next record of their key cuts them.
    """

    def __init__(
        self,
        columns: Mapping[str, np.dtype[np.generic]],
        longest: int,
        expire_ms: int | None = None,
    ) -> None:
        """`expire_ms` None: only later records of its key drop one. Raises ValueError for a
        column's type and for lists of less than one."""
        if longest < 1:
            raise ValueError(f"longest expected >= 1, got {longest!r}")
        self._columns = WordColumns(columns)
        self._longest = longest
        self._expire_ms = expire_ms
        super().__init__(KeyedRows(self._columns.names, ()))

    def append(
        self,
        hashes: NDArray[np.int64],
        columns: Mapping[str, NDArray[np.generic]],
        times_ms: NDArray[np.int64],
    ) -> None:
        """Take in n records, in order, with their event times (n,)."""
        words = self._columns.pack(columns, len(hashes))
        if self._expire_ms is None:
            due_ms = np.full(len(hashes), NEVER_MS)
        else:
            due_ms = times_ms + self._expire_ms
        self.rows.reserve(len(hashes))
        hashes = np.require(hashes, np.int64, ["C", "W"])
        append(self.rows.rows, hashes, due_ms, words, self._longest)
        self.rows.settle()

    def get(self, hashes: NDArray[np.int64]) -> tuple[NDArray[np.int64], Values]:
        """The records of each key, oldest first: bounds (n + 1,) and columns (total,)."""
        bounds, slots = self.rows.chains(hashes)
        return bounds, self._columns.unpack(self.rows.words_at(slots))


@kernel(
    types.void(ROWS_TYPE, types.int64[:, ::1], types.int64[::1], types.int64[:, ::1], types.int64)
)
def append(
    rows: RowArrays,
    hashes: NDArray[np.int64],
    due_ms: NDArray[np.int64],
    words: NDArray[np.int64],
    longest: int,
) -> None:
    """See `KeyedLists.append`."""
    held = rows.words
    order = np.zeros((1, 4), np.int64)
    for i in range(len(hashes)):
        high, low = hashes[i, 1], hashes[i, 0]
        slot = add_row(rows, high, low, due_ms[i], order, 0)
        for column in range(words.shape[1]):
            held[slot, column] = words[i, column]
        first = first_of(rows, high, low)
        while count_of(rows, first) > longest:
            free_row(rows, first)
            first = first_of(rows, high, low)


__all__ = ["KeyedLists"]
