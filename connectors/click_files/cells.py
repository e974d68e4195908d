"""Some rows of a file as they stand: columns of text, not yet understood."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamrec.connectors.click_files.rejecting import Rejected, Unread

# What a column is wanted for: an id is a string or a whole number and nothing else; of any other
# value the text is taken, and whoever understands it judges it.
Kind = Literal["id", "text", "time"]
Kinds = Mapping[str, Kind]  # by path


@dataclass(frozen=True, slots=True)
class Wanted:
    """The columns that are read, by path, and those of them that a row can do without."""

    kinds: Kinds
    optional: frozenset[str] = frozenset()


_WHOLE_MAX = 2**53  # beyond, a floating-point number is not the whole number that was meant
ROWS = 16_384  # of a batch, about


@dataclass(slots=True)
class Cells:
    """Rows of a file, and those that are none."""

    columns: dict[str, "pa.Array"]  # by path, (n,): large_string, or timestamp in milliseconds
    rows: NDArray[np.int64]  # (n,) the number of each row in the file, for messages
    rejected: list[Rejected] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)  # whose cells are null


@dataclass(slots=True)
class Sample:
    """The first rows of a file, from which its names and meaning are guessed."""

    values: dict[str, list[object]]  # by path, what there is of each
    repeated: list[str] = field(default_factory=list)  # names that stand there more than once
    open_ended: bool = False  # whether there may be paths that the sample does not have
    notes: list[str] = field(default_factory=list)  # what was guessed, to be said

    @property
    def paths(self) -> list[str]:
        return list(self.values)


def id_text(value: object) -> str | None:
    """A value that may be an id, as text; None: it is none.

    >>> id_text("a"), id_text(7), id_text(7.0), id_text(7.5), id_text(True), id_text({"id": 7})
    ('a', '7', '7', None, None, None)
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):  # out of Parquet
        return value.decode(errors="replace")
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE_MAX:
        return str(int(value))
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return str(int(value))
    return None


def text_of(value: object) -> str | None:
    """A value as text; None: it has none, as a list or an object."""
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal | date):  # out of Parquet, and so is a time, which is a date too
        return value.isoformat() if isinstance(value, date) else str(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return None if isinstance(value, float) and math.isnan(value) else repr(value)


def sample_column(values: Sequence[object]) -> "pa.LargeStringArray":
    """Values of a sample as text; half a character is none."""
    return text_column([str(value).encode(errors="replace").decode() for value in values])


def text_column(texts: Sequence[str | None]) -> "pa.LargeStringArray":
    return pa.array(texts, pa.large_string())
