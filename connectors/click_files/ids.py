"""What the values of a column of ids mean: text, but for what stands for nothing."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamrec.connectors.click_files.rejecting import Checks
from streamrec.connectors.click_files.text import is_marked, shown

ID_BYTES_MAX = 256
# What programs write for nothing: taken for ids, these would be one user with a thousand clicks.
NOTHING = ("NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "NULL", "Null", "null", "(null)", "None",
           "none", "nil", "undefined", r"\N")  # fmt: skip
Refuse = Callable[[NDArray[np.bool_], Callable[[int], str]], None]
_AS_FLOAT = r"^-?\d+\.0+$"


@dataclass(frozen=True, slots=True)
class IdColumn:
    """Understands a column of ids, batch by batch."""

    name: str
    nothing: Sequence[str]
    # Whole numbers that a program wrote as 123.0, since the column had gaps: 123 is meant.
    as_float: bool = False

    def required(self, column: "pa.LargeStringArray", checks: Checks) -> "pa.LargeStringArray":
        """The ids; rows without one are rejected."""
        ids = self._whole(column, checks.reject)
        lengths = _mask(pc.fill_null(pc.binary_length(ids), 0))
        checks.reject(
            (lengths < 1) | (lengths > ID_BYTES_MAX),
            lambda row: (
                f"{self.name} expected 1 to {ID_BYTES_MAX} bytes, got "
                + (f"{lengths[row]}" if lengths[row] else "nothing")
            ),
        )
        checks.reject(
            self._is_nothing(ids),
            lambda row: (
                f"{self.name} expected an id, got {shown(ids[row].as_py())}, which is "
                "taken for nothing; see --nothing"
            ),
        )
        self._check_text(ids, checks.reject)
        return ids

    def optional(self, column: "pa.LargeStringArray", checks: Checks) -> "pa.LargeStringArray":
        """The ids, null where there is none, or none that can be read."""
        unread = np.zeros(len(column), np.bool_)

        def leave_out(bad: NDArray[np.bool_], message: Callable[[int], str]) -> None:
            checks.leave_out(self.name, bad & ~unread, message)
            unread[bad] = True

        ids = self._whole(column, leave_out)
        absent = self._is_nothing(ids) | (_mask(pc.fill_null(pc.binary_length(ids), 0)) < 1)
        ids = pc.if_else(pa.array(absent), None, ids)
        self._check_text(ids, leave_out)
        return pc.if_else(pa.array(unread), None, ids)

    def _whole(self, column: "pa.LargeStringArray", refuse: Refuse) -> "pa.LargeStringArray":
        if not self.as_float:
            return column
        is_float = pc.match_substring_regex(column, _AS_FLOAT)
        fits = pc.or_(is_float, pc.match_substring_regex(column, r"^-?\d*$"))
        odd = ~_mask(pc.fill_null(fits, True)) & ~self._is_nothing(column)
        refuse(
            odd,
            lambda row: (
                f"{self.name} expected a whole number, as in the first rows, got "
                f"{shown(column[row].as_py())}"
            ),
        )
        return pc.if_else(is_float, pc.replace_substring_regex(column, r"\.0+$", ""), column)

    def _is_nothing(self, column: "pa.LargeStringArray") -> NDArray[np.bool_]:
        words = pa.array(self.nothing, pa.large_string())
        blank = pc.match_substring_regex(column, r"^\s+$")
        return _mask(pc.fill_null(pc.or_(pc.is_in(column, words), blank), False))

    def _check_text(self, ids: "pa.LargeStringArray", refuse: Refuse) -> None:
        for found, expected in (
            (is_marked(ids), "UTF-8 (see --encoding)"),
            (pc.match_substring_regex(ids, r"[\r\n]"), "one line (is a quote not closed?)"),
        ):
            refuse(
                _mask(pc.fill_null(found, False)),
                lambda row, expected=expected: (  # type: ignore[misc]  # mypy sees two arguments
                    f"{self.name} expected {expected}, got {shown(ids[row].as_py())}"
                ),
            )


def is_nothing(value: object, nothing: Sequence[str]) -> bool:
    """Of one value of a sample."""
    return value is None or (isinstance(value, str) and (not value.strip() or value in nothing))


def looks_like_floats(values: Sequence[object], nothing: Sequence[str]) -> bool:
    """Whether all ids of a sample are text such as 123.0."""
    ids = [value for value in values if not is_nothing(value, nothing)]
    return bool(ids) and all(isinstance(v, str) and re.match(_AS_FLOAT, v) for v in ids)


def _mask(array: "pa.Array") -> NDArray[np.bool_]:
    return np.asarray(array.to_numpy(zero_copy_only=False))
