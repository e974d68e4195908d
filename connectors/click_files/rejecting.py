"""What is wrong with a file of clicks, or with a row of it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

ID_BYTES_MAX = 256


class ClickFileError(Exception):
    """A file cannot be read as clicks at all; the message says what was expected and found."""


class Rejected(NamedTuple):
    """A row that is no click."""

    row: int  # line of a text file, the first being 1; row of a Parquet file, the first being 1
    message: str


class Checks:
    """Which rows are still good, and why the others are not; a row is rejected once."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self._rows = rows
        self.good = np.ones(len(rows), dtype=np.bool_)
        self.rejected: list[Rejected] = []

    def reject(self, bad: NDArray[np.bool_], message: Callable[[int], str]) -> None:
        for row in np.flatnonzero(bad & self.good).tolist():
            self.rejected.append(Rejected(int(self._rows[row]), message(row)))
        self.good &= ~bad

    def require_id(self, name: str, column: "pa.LargeBinaryArray") -> None:
        lengths = pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
        self.reject(
            (lengths < 1) | (lengths > ID_BYTES_MAX),
            lambda row: f"{name} expected 1 to {ID_BYTES_MAX} bytes, got {lengths[row]}",
        )
        try:
            column.cast(pa.large_string())
        except pa.ArrowInvalid:
            bad = np.fromiter((not _is_utf8(c.as_py()) for c in column), np.bool_, len(column))
            self.reject(bad, lambda row: f"{name} expected UTF-8, got {column[row].as_py()!r}")


def _is_utf8(content: bytes | None) -> bool:
    try:
        (content or b"").decode()
    except UnicodeDecodeError:
        return False
    return True
