"""Columns of numbers as words: how a record of declared types lies in a row."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Values = dict[str, NDArray[np.generic]]


class WordColumns:
    """Booleans, integers and floats, each in a word of 64 bits and back without loss."""

    def __init__(self, columns: Mapping[str, np.dtype[np.generic]]) -> None:
        """Raises ValueError for a type that does not fit."""
        for name, dtype in columns.items():
            if np.dtype(dtype).kind not in "biuf" or np.dtype(dtype).itemsize > 8:
                raise ValueError(
                    f"column {name} expected a boolean, an integer or a float of at most 64 bits, "
                    f"got {np.dtype(dtype)}"
                )
        self.dtypes = {name: np.dtype(dtype) for name, dtype in columns.items()}
        # With their types, so that what was saved under others is not taken for these.
        self.names = tuple(f"{name}.{dtype}" for name, dtype in self.dtypes.items())

    def pack(self, values: Mapping[str, NDArray[np.generic]], n: int) -> NDArray[np.int64]:
        """Columns of n values as words, (n, columns). Raises ValueError for others than those
        declared, and for another length."""
        if set(values) != set(self.dtypes):
            raise ValueError(
                f"columns expected {', '.join(sorted(self.dtypes))}, "
                f"got {', '.join(sorted(values))}"
            )
        words = np.empty((n, len(self.dtypes)), np.int64)
        for at, (name, dtype) in enumerate(self.dtypes.items()):
            if values[name].shape != (n,):
                raise ValueError(f"column {name} expected {n} values, got {values[name].shape}")
            words[:, at] = values[name].astype(dtype).astype(_wide(dtype)).view(np.int64)
        return words

    def unpack(self, words: NDArray[np.int64]) -> Values:
        """The inverse, by name and in the types declared, (n,) each."""
        return {
            name: np.ascontiguousarray(words[:, at]).view(_wide(dtype)).astype(dtype)
            for at, (name, dtype) in enumerate(self.dtypes.items())
        }


def _wide(dtype: np.dtype[np.generic]) -> type[np.generic]:
    if dtype.kind == "f":
        return np.float64
    return np.uint64 if dtype.kind == "u" else np.int64
