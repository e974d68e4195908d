"""Rows of ranker's inputs, packed in memory: most values repeat within a session or are 0."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_CODEC = "zstd"
_LEVEL = 1  # a third of the size of none, at the speed at which candidates are made


class FloatBlocks:
    """Arrays of float32, each packed without loss: a tenth to a fifth of their size."""

    def __init__(self) -> None:
        self._codec = pa.Codec(_CODEC, compression_level=_LEVEL)
        self._packed: list[bytes] = []
        self._shapes: list[tuple[int, ...]] = []

    def __len__(self) -> int:
        return len(self._packed)

    def add(self, block: NDArray[np.float32]) -> None:
        """One more, of any shape; what is alike should lie side by side in memory."""
        whole = np.ascontiguousarray(block, np.float32)
        self._packed.append(self._codec.compress(whole.reshape(-1).view(np.uint8), asbytes=True))
        self._shapes.append(whole.shape)

    def __getitem__(self, number: int) -> NDArray[np.float32]:
        """The block, as it was."""
        shape = self._shapes[number]
        raw = self._codec.decompress(
            self._packed[number], decompressed_size=4 * int(np.prod(shape))
        )
        return np.frombuffer(raw, np.float32).reshape(shape)

    def clear(self) -> None:
        """Forget all."""
        self._packed.clear()
        self._shapes.clear()

    @property
    def bytes_used(self) -> int:
        return sum(map(len, self._packed))


class RowBlocks:
    """Rows (n, width) of float32, added block by block and read range by range. Columns lie side by
    side in a block, since a column has like values. Used by one thread."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._columns = FloatBlocks()
        self._ends = np.zeros(1, np.int64)  # 0, then where each block ends
        self._newest: tuple[int, NDArray[np.float32]] | None = None  # that was read

    def __len__(self) -> int:
        return int(self._ends[-1])

    def add(self, rows: NDArray[np.float32]) -> None:
        """Rows (m, width) behind the others."""
        if len(rows):
            self._columns.add(rows.T)
            self._ends = np.append(self._ends, self._ends[-1] + len(rows))

    def between(self, begin: int, end: int) -> NDArray[np.float32]:
        """Rows (end - begin, width); not to be altered."""
        first = int(np.searchsorted(self._ends, begin, "right")) - 1
        if begin < end <= self._ends[first + 1]:
            start = int(self._ends[first])
            return self._block(first)[begin - start : end - start]
        out = np.empty((max(end - begin, 0), self.width), np.float32)
        at = begin
        while at < end:
            number = int(np.searchsorted(self._ends, at, "right")) - 1
            upto = min(end, int(self._ends[number + 1]))
            out[at - begin : upto - begin] = self.between(at, upto)
            at = upto
        return out

    def _block(self, number: int) -> NDArray[np.float32]:
        """The rows of a block. The newest is kept: rows are read in their order."""
        if self._newest is None or self._newest[0] != number:
            self._newest = number, np.ascontiguousarray(self._columns[number].T)
        return self._newest[1]

    def clear(self) -> None:
        """Forget all."""
        self._columns.clear()
        self._ends, self._newest = np.zeros(1, np.int64), None

    @property
    def bytes_used(self) -> int:
        return self._columns.bytes_used


__all__ = ["FloatBlocks", "RowBlocks"]
