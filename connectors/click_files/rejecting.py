"""What is wrong with a file of clicks, or with a row of it."""

import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class ClickFileError(Exception):
    """A file cannot be read as clicks at all; the message says what was expected and found."""


class UnclearError(ClickFileError):
    """A file leaves a doubt that an option has to settle; the message names the option."""


class Rejected(NamedTuple):
    """A row that is no click."""

    row: int  # line of a text file, the first being 1; record of another file, the first being 1
    message: str


class Unread(NamedTuple):
    """A value that a click can do without, and that could not be read: the click has none."""

    row: int  # as of Rejected
    column: str
    message: str


class Checks:
    """Which rows are still good, and why the others are not; a row is rejected once. With `strict`
    a row is rejected for a value that it could do without, too."""

    def __init__(self, rows: NDArray[np.int64], strict: bool = False) -> None:
        self._rows = rows
        self._strict = strict
        self.good = np.ones(len(rows), dtype=np.bool_)
        self.rejected: list[Rejected] = []
        self.unread: list[Unread] = []

    def reject(self, bad: NDArray[np.bool_], message: Callable[[int], str]) -> None:
        for row in np.flatnonzero(bad & self.good).tolist():
            self.rejected.append(Rejected(int(self._rows[row]), message(row)))
        self.good &= ~bad

    def leave_out(self, column: str, bad: NDArray[np.bool_], message: Callable[[int], str]) -> None:
        """Of a column that a click can do without. The caller takes the values out."""
        if self._strict:
            self.reject(bad, message)
            return
        for row in np.flatnonzero(bad & self.good).tolist():
            self.unread.append(Unread(int(self._rows[row]), column, message(row)))


@contextmanager
def explained(name: str) -> Iterator[None]:
    """What goes wrong with the bytes of a file, as a ClickFileError that names it."""
    try:
        yield
    except (
        OSError,
        EOFError,
        UnicodeError,  # of the names of a Parquet file
        RuntimeError,  # of a zip file that needs a password, or a method that Python lacks
        zlib.error,
        lzma.LZMAError,
        zipfile.BadZipFile,
        pa.ArrowException,
    ) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ClickFileError(f"{name}: {' '.join(said.split())}") from error
