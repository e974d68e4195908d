"""Arrays that grow while a log is read, and rows of features in as few bytes as hold them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 4_096
_SMALL = (np.uint8, np.uint16)


class Growing:
    """An array that is added to; at most an eighth of it is not used."""

    def __init__(self, dtype: type[np.generic] = np.int64) -> None:
        self._array = np.zeros(1_024, dtype)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, part: NDArray[Any]) -> None:
        end = self._length + len(part)
        if end > len(self._array):
            # In place where the memory allows it, which a new array would not be.
            self._array.resize(max(end, len(self._array) * 9 // 8), refcheck=False)
        self._array[self._length : end] = part
        self._length = end

    def whole(self) -> NDArray[Any]:
        """All of it; nothing may be added afterwards."""
        self._array.resize(self._length, refcheck=False)
        return self._array


@dataclass
class PackedRows:
    """Rows (n, width) of float32. Each column is kept in pieces, whole numbers in one byte or two
    where they fit: 17 features of a click take some 25 bytes and not 68."""

    width: int
    order: NDArray[np.int64] | None = None  # (n,) row i is the one that was added order[i]-th
    _pieces: list[list[NDArray[Any]]] = field(default_factory=list)
    _rest: list[NDArray[np.float32]] = field(default_factory=list)
    _rest_rows: int = 0
    _length: int = 0

    def __len__(self) -> int:
        return self._length if self.order is None else len(self.order)

    def add(self, rows: NDArray[np.float32]) -> None:
        """Rows (m, width) behind the others."""
        self._rest.append(np.array(rows, np.float32))
        self._rest_rows += len(rows)
        self._length += len(rows)
        if self._rest_rows >= _CHUNK:
            self._pack()

    def reordered(self, order: NDArray[np.int64]) -> "PackedRows":
        """The same rows in another order, or some of them, over the same memory."""
        if self.order is not None:
            order = self.order[order]
        return PackedRows(
            self.width, order, self._pieces, self._rest, self._rest_rows, self._length
        )

    def first(self, n: int) -> "PackedRows":
        if self.order is not None:
            return PackedRows(
                self.width, self.order[:n], self._pieces, self._rest, self._rest_rows, self._length
            )
        return PackedRows(
            self.width, None, self._pieces, self._rest, self._rest_rows, min(n, self._length)
        )

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """(m, width)"""
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        if self.order is not None:
            rows = self.order[rows]
        out = np.empty((len(rows), self.width), np.float32)
        piece = rows // _CHUNK
        by_piece = np.argsort(piece, kind="stable")
        cuts = np.flatnonzero(np.diff(piece[by_piece])) + 1
        for mine in np.split(by_piece, cuts) if len(rows) else ():
            number, inside = int(piece[mine[0]]), rows[mine] % _CHUNK
            if number < len(self._pieces):
                for column, values in enumerate(self._pieces[number]):
                    out[mine, column] = values[inside]
            else:
                out[mine] = np.concatenate(self._rest)[inside]
        return out

    def _pack(self) -> None:
        rows = np.concatenate(self._rest)
        while len(rows) >= _CHUNK:
            piece, rows = rows[:_CHUNK], rows[_CHUNK:]
            self._pieces.append([_smallest(piece[:, column]) for column in range(self.width)])
        self._rest, self._rest_rows = [rows.copy()], len(rows)


def _smallest(values: NDArray[np.float32]) -> NDArray[Any]:
    if (values >= 0).all():
        for small in _SMALL:
            if values.max() <= np.iinfo(small).max:
                packed = values.astype(small)
                if (packed == values).all():
                    return packed
    return values.copy()
