"""Inputs as the matrix that a trained file was fitted with: a row each, a column for each field.

float64 where all fields are numbers, else object. A missing number or boolean is NaN, missing text
None; booleans are 1.0 and 0.0, integers floats. Where the file wants codes, a category is its place
in `categories`, and NaN where it is missing or unseen.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.models.serving.contract import Fault
from streamrec.models.serving.misfit import ABSENT, Misfit, path_of, shown
from streamrec.models.serving.trained.description import InputField
from streamrec.schemas.columns import Bytes, Column, Columns, Numbers
from streamrec.schemas.placing import keys_of
from streamrec.schemas.reasons import Reason

_NAN = float("nan")


class Features:
    """Makes the matrix of inputs that fit the description's schema, or of columns."""

    def __init__(self, fields: Sequence[InputField], codes_categories: bool) -> None:
        self.fields = tuple(fields)
        self._codes = codes_categories
        self._is_object = not codes_categories and any(each.is_text for each in fields)
        self._names = [each.name for each in fields]
        self._places = {
            each.name: {name: float(place) for place, name in enumerate(each.categories)}
            for each in fields
            if each.is_text and codes_categories
        }

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> NDArray[Any]:
        """(n, fields) of inputs that were checked already."""
        if self._is_object:
            matrix = np.empty((len(rows), len(self.fields)), object)
            for place, field in enumerate(self.fields):
                values = [row.get(field.name) for row in rows]
                matrix[:, place] = values if field.is_text else _floats(values)
            return matrix
        if not self._places:
            names = self._names
            return np.array([[row.get(name) for name in names] for row in rows], np.float64)
        columns = [self._coded([row.get(each) for row in rows], each) for each in self._names]
        return np.array(columns, np.float64).T

    def _coded(self, values: list[Any], name: str) -> list[Any]:
        places = self._places.get(name)
        return values if places is None else [places.get(value, _NAN) for value in values]

    def of_columns(
        self, columns: Columns, count: int
    ) -> tuple[NDArray[Any], NDArray[np.int64], dict[int, Fault]]:
        """(good rows, fields), which rows those are, and why the others are not among them."""
        faults: dict[int, Fault] = {}
        made = []
        for field in self.fields:
            column = columns.get(field.name)
            if column is None or isinstance(column, Bytes) != _is_bytes(field, column):
                got = ABSENT if column is None else "a column of another type"
                values = np.full(count, _NAN)
                wrong: list[_Wrong] = [(np.ones(count, np.bool_), "a value", got)]
                if column is None and field.nullable:
                    values, wrong = self._missing(field, count), []
            elif field.is_text:
                values, wrong = self._texts(field, column, count)
            else:
                values, wrong = _checked_numbers(field, column)
            for rows, expected, had in wrong:
                for row in np.flatnonzero(rows).tolist():
                    said = had(row) if callable(had) else had
                    misfit = Misfit(path_of([field.name]), expected, said)
                    faults.setdefault(row, Fault(Reason.INVALID_VALUE, str(misfit)))
            made.append(values)
        good = np.array([row for row in range(count) if row not in faults], np.int64)
        matrix = np.empty((len(good), len(made)), object if self._is_object else np.float64)
        for place, values in enumerate(made):
            matrix[:, place] = values if len(good) == count else values[good]
        return matrix, good, faults

    def _missing(self, field: InputField, count: int) -> NDArray[Any]:
        if field.is_text and self._is_object:
            return np.full(count, None, object)
        return np.full(count, _NAN)

    def _texts(
        self, field: InputField, column: Column, count: int
    ) -> tuple[NDArray[Any], list["_Wrong"]]:
        valid = np.ones(count, np.bool_) if column.valid is None else column.valid
        if isinstance(column, Numbers):  # an enum: places in the categories
            known = [*field.categories]
            texts = [
                known[each] if 0 <= each < len(known) else None for each in column.values.tolist()
            ]
        else:
            assert isinstance(column, Bytes)
            texts = [(each or b"").decode() for each in keys_of(column)]
        values: list[str | None] = [
            text if is_valid else None for text, is_valid in zip(texts, valid.tolist(), strict=True)
        ]
        wrong: list[_Wrong] = []
        if not field.nullable:
            wrong.append((~valid, "text", "None"))
        if field.refuses_unseen:
            known_set = {*field.categories, None}
            unseen = np.array([value not in known_set for value in values], np.bool_)
            wrong.append(
                (unseen, f"one of {shown([*field.categories])}", lambda r: repr(values[r]))
            )
        if self._codes:
            return np.array(self._coded(values, field.name), np.float64), wrong
        made = np.empty(count, object)
        made[:] = values
        return made, wrong


_Got = str | Callable[[int], str]
_Wrong = tuple[NDArray[np.bool_], str, _Got]  # which rows, what was expected, what they have


def _is_bytes(field: InputField, column: Column | None) -> bool:
    """Whether a field's column holds spans; a category may be an enum's places, too."""
    if not field.is_text:
        return False
    return not (field.categories and isinstance(column, Numbers))


def _checked_numbers(field: InputField, column: Column) -> tuple[NDArray[Any], list[_Wrong]]:
    if not isinstance(column, Numbers):
        rows = np.ones(len(column), np.bool_)
        return np.full(len(column), _NAN), [(rows, f"a {field.type}", "a list")]
    values: NDArray[np.float64] = column.values.astype(np.float64)
    valid = np.ones(len(values), np.bool_) if column.valid is None else column.valid
    wrong: list[_Wrong] = []

    def told(row: int) -> str:
        return shown(column.values[row].item())

    if not field.nullable:
        wrong.append((~valid, f"a {field.type}", "None"))
    wrong.append((valid & ~np.isfinite(values), "a finite number", told))
    if field.type == "integer" and column.values.dtype.kind == "f":
        wrong.append((valid & (values != np.floor(values)), "an integer", told))
    if field.min is not None:
        wrong.append((valid & (values < field.min), f"at least {field.min}", told))
    if field.max is not None:
        wrong.append((valid & (values > field.max), f"at most {field.max}", told))
    return np.where(valid, values, _NAN), wrong


def _floats(values: list[Any]) -> list[float]:
    return [_NAN if value is None else float(value) for value in values]


__all__ = ["Features"]
