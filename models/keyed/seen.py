"""Whether a key was seen before, within a window of event time; of one shard."""

import numpy as np
from numba import types
from numpy.typing import NDArray

from streamrec.compiling import kernel
from streamrec.models.keyed.kernels import DUE_MS, ROWS_TYPE, RowArrays, add_row, first_of, next_of
from streamrec.models.keyed.over_rows import OverRows
from streamrec.models.keyed.rows import KeyedRows


class Seen(OverRows):
    """Finds what comes twice. A record is one of those seen when an earlier one of its key, which
    was itself not, has a time of at most `window_ms` before it or after it.

    So a key that comes all the time is new once a window. What is held is one row for each record
    that was new, of about 120 bytes, until `forget` is told that its window is over: then no record
    that is not too late could be within it. It is restored by one of the same window.
    """

    def __init__(self, window_ms: int) -> None:
        """Raises ValueError for a negative window."""
        if window_ms < 0:
            raise ValueError(f"window_ms expected >= 0, got {window_ms!r}")
        self._window_ms = window_ms
        super().__init__(KeyedRows((), ()))

    def first_seen(
        self, hashes: NDArray[np.int64], times_ms: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Whether each record is new, (n,), in order: hashes (n, 2) int64 as
        `schemas.hashing.hash128` gives them, event times (n,)."""
        self.rows.reserve(len(hashes))
        return first_seen(
            self.rows.rows,
            np.require(hashes, np.int64, ["C", "W"]),
            np.require(times_ms, np.int64, ["C", "W"]),
            self._window_ms,
        )


@kernel(types.boolean[::1](ROWS_TYPE, types.int64[:, ::1], types.int64[::1], types.int64))
def first_seen(
    rows: RowArrays, hashes: NDArray[np.int64], times_ms: NDArray[np.int64], window_ms: int
) -> NDArray[np.bool_]:
    """See `Seen.first_seen`. A row is due when its window is over."""
    fixed = rows.fixed
    order = np.zeros((1, 4), np.int64)
    new = np.ones(len(hashes), np.bool_)
    for i in range(len(hashes)):
        high, low = hashes[i, 1], hashes[i, 0]
        slot = first_of(rows, high, low)
        while slot >= 0:
            if abs(times_ms[i] - (fixed[slot, DUE_MS] - window_ms)) <= window_ms:
                new[i] = False
                break
            slot = next_of(rows, slot)
        if new[i]:
            add_row(rows, high, low, times_ms[i] + window_ms, order, 0)
    return new


__all__ = ["Seen"]
