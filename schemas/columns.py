"""Columns: how a batch of records lies in memory between decoding and encoding.

A batch is a `dict[str, Column]`, one entry per field, every column of the same length n. Fields of
a nested record are named with dots (`item.price`). Nulls of a nullable field are a mask beside the
values; the value under a null is zero and means nothing.
"""

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
