"""Examples in columns: what a recipe is fitted to. 8 bytes a value; texts stand once each."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamrec.models.learning.recipe import Recipe

_NAN = float("nan")


class TooFewExamples(ValueError):
    """Nothing can be learned from these; the message says what is missing."""


class Examples(NamedTuple):
    """n examples, oldest first."""

    columns: dict[str, NDArray[Any]]  # (n,) float64, NaN missing; of text objects, None missing
    labels: NDArray[np.float64]  # (n,) place in the output's labels, or the number
    weights: NDArray[np.float64]  # (n,) >= 0
    times_ms: NDArray[np.int64]  # (n,) Unix milliseconds

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, begin: int, end: int) -> "Examples":
        """Those from `begin` up to `end`."""
        cut = slice(begin, end)
        columns = {name: column[cut] for name, column in self.columns.items()}
        return Examples(columns, self.labels[cut], self.weights[cut], self.times_ms[cut])

    def split(self, share: float) -> tuple["Examples", "Examples"]:
        """The earlier ones, and the last `share` of them: never by chance. Those of one time stay
        on one side where that leaves some on both."""
        at = min(max(round(len(self) * (1.0 - share)), 1), len(self) - 1)
        same = int(np.searchsorted(self.times_ms, self.times_ms[at], "left"))
        at = same if same > 0 else at
        return self.part(0, at), self.part(at, len(self))


class ExamplesBuilder:
    """Gathers rows, and keeps those that fit the recipe's inputs."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._columns: dict[str, list[Any]] = {each.name: [] for each in recipe.inputs}
        self._known: dict[str, str] = {}  # each text once
        self._others: tuple[list[float], list[float], list[int]] = ([], [], [])
        self.misfits = 0  # rows that do not fit

    def __len__(self) -> int:
        return len(self._others[0])

    def add(self, inputs: Mapping[str, Any], label: float, weight: float, time_ms: int) -> bool:
        """One example; whether it fits."""
        try:
            row = [self._value(each.is_text, inputs.get(each.name)) for each in self._recipe.inputs]
            told = self._label(label)
        except (TypeError, ValueError, AttributeError):
            self.misfits += 1
            return False
        for column, value in zip(self._columns.values(), row, strict=True):
            column.append(value)
        labels, weights, times_ms = self._others
        labels.append(told)
        weights.append(float(weight))
        times_ms.append(time_ms)
        return True

    def _value(self, is_text: bool, value: Any) -> float | str | None:
        if is_text:
            if value is None:
                return None
            if not isinstance(value, str):
                raise TypeError(f"expected text, got {value!r}")
            return self._known.setdefault(value, value)
        if value is None:
            return _NAN
        if not isinstance(value, bool | int | float):
            raise TypeError(f"expected a number, got {value!r}")
        return float(value)

    def _label(self, label: float) -> float:
        """Of two labels any number above 0 is the second, as a purchase worth 10 is."""
        classes = self._recipe.classes
        if not np.isfinite(label):
            raise ValueError(f"expected a finite label, got {label}")
        if classes == 2:
            return float(label > 0)
        if classes and not (0 <= label < classes and label == int(label)):
            raise ValueError(f"expected the place of one of {classes} labels, got {label}")
        return float(label)

    def built(self) -> Examples:
        """All that fit, in the order in which they came. Ends the building."""
        texts = {each.name: each.is_text for each in self._recipe.inputs}
        columns: dict[str, NDArray[Any]] = {}
        for name in list(self._columns):
            values = self._columns.pop(name)
            if texts[name]:
                column = np.empty(len(values), object)
                column[:] = values
            else:
                column = np.array(values, np.float64)
            columns[name] = column
        labels, weights, times_ms = self._others
        return Examples(
            columns,
            np.array(labels, np.float64),
            np.array(weights, np.float64),
            np.array(times_ms, np.int64),
        )


def examples_of(
    recipe: Recipe,
    rows: Sequence[Mapping[str, Any]],
    labels: Iterable[float],
    weights: Iterable[float] | None = None,
    times_ms: Iterable[int] | None = None,
) -> Examples:
    """Rows that fit, as examples."""
    builder = ExamplesBuilder(recipe)
    n = len(rows)
    for row, label, weight, time_ms in zip(
        rows, labels, weights or [1.0] * n, times_ms or range(n), strict=True
    ):
        builder.add(row, label, weight, time_ms)
    return builder.built()


def object_matrix(recipe: Recipe, examples: Examples) -> NDArray[Any]:
    """(n, inputs), as a trained file is asked that takes text: objects where any input is text."""
    is_object = any(each.is_text for each in recipe.inputs)
    matrix = np.empty((len(examples), len(recipe.inputs)), object if is_object else np.float64)
    for place, field in enumerate(recipe.inputs):
        matrix[:, place] = examples.columns[field.name]
    return matrix


def known_categories(recipe: Recipe, examples: Examples) -> dict[str, tuple[str, ...]]:
    """By text input the values that a model knows: the recipe's, else the most frequent ones."""
    found = {}
    for field in recipe.inputs:
        if not field.is_text:
            continue
        if field.categories:
            found[field.name] = field.categories
            continue
        values = [each for each in examples.columns[field.name].tolist() if each is not None]
        names, counts = np.unique(np.array(values, object), return_counts=True)
        order = np.argsort(-counts, kind="stable")[: recipe.preprocess.max_categories]
        found[field.name] = tuple(sorted(names[order].tolist()))
    return found


def code_matrix(
    recipe: Recipe, examples: Examples, known: Mapping[str, Sequence[str]]
) -> NDArray[np.float64]:
    """(n, inputs), as one is asked that takes codes: NaN of a missing or unseen category."""
    matrix = np.empty((len(examples), len(recipe.inputs)), np.float64)
    for place, field in enumerate(recipe.inputs):
        column = examples.columns[field.name]
        if field.is_text:
            codes = {name: float(code) for code, name in enumerate(known[field.name])}
            matrix[:, place] = [codes.get(each, _NAN) for each in column.tolist()]
        else:
            matrix[:, place] = column
    return matrix


__all__ = [
    "Examples",
    "ExamplesBuilder",
    "TooFewExamples",
    "code_matrix",
    "examples_of",
    "known_categories",
    "object_matrix",
]
