"""A mapping: which columns of a file are inputs, which is the label, and what is done with them.

name = "adult"                       # default: the file's
label = "income"
labels = ["<=50K", ">50K"]           # in their order; default: the column's values, sorted
columns = ["age", "workclass", "income"]   # of a file without a header
missing = ["?"]                      # what means that there is no value; empty always does
separator = ","
time = "seen_at"                     # Unix milliseconds; default: rows are in order of time

[inputs]                             # default: all other columns, typed by what they hold
age = "number"                       # number, integer, boolean, string or category
workclass = "category"

[preprocess]                         # and [model], [search], [validation]: as in a recipe
crossed = [["education", "occupation"]]

[trainer]                            # as in a learning file; and [evaluation], [labelling]
every = 500
"""

import csv
import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamrec.models.learning.examples import Examples, ExamplesBuilder
from streamrec.models.learning.recipe import Preprocess, Recipe, RecipeModel, SearchSpan, Validation
from streamrec.models.loading import BadModel
from streamrec.models.serving.misfit import path_of

Kind = Literal["number", "integer", "boolean", "string", "category"]
_CATEGORIES_MAX = 1_000  # of a column that nobody said is one
_LABELS_MAX = 20
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_SEARCH: Mapping[str, Mapping[str, Any]] = {
    "linear": {"C": {"low": 0.01, "high": 100.0, "log": True}},
    "lightgbm": {
        "learning_rate": {"low": 0.02, "high": 0.2, "log": True},
        "num_leaves": {"low": 8, "high": 63, "whole": True, "log": True},
        "min_data_in_leaf": {"low": 5, "high": 100, "whole": True, "log": True},
        "feature_fraction": {"low": 0.4, "high": 1.0},
    },
    "hist_gradient_boosting": {
        "learning_rate": {"low": 0.02, "high": 0.2, "log": True},
        "max_leaf_nodes": {"low": 8, "high": 63, "whole": True, "log": True},
        "min_samples_leaf": {"low": 5, "high": 100, "whole": True, "log": True},
    },
}


class Mapped(BaseModel):
    """A mapping that was checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = ""
    label: str
    labels: tuple[str, ...] | None = None
    columns: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    separator: str = Field(",", min_length=1, max_length=1)
    time: str = ""
    inputs: Mapping[str, Kind] = {}
    preprocess: Preprocess = Preprocess()
    model: RecipeModel = RecipeModel(kind="lightgbm")
    search: Mapping[str, SearchSpan] | None = None
    validation: Validation = Validation()
    trainer: Mapping[str, Any] = {}
    evaluation: Mapping[str, Any] = {}
    labelling: Mapping[str, Any] = {}


class _Row(NamedTuple):
    """A line of a file, by column; None: no value."""

    number: int
    values: dict[str, str | None]


def read_mapping(path: Path) -> Mapped:
    """The mapping in a file. Raises BadModel that names what is wrong, all of it."""
    try:
        return Mapped.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadModel(
            f"mapping expected a file that can be read at {path}: {error.strerror}"
        ) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadModel(f"{path} expected TOML: {error}") from None
    except ValidationError as error:
        wrong = [
            f"{path_of(each['loc'])[2:] or 'it'}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors(include_url=False)
        ]
        raise BadModel(f"{path} " + "; ".join(wrong)) from None


def recipe_of(mapped: Mapped, file: Path) -> Recipe:
    """The recipe of a file, whose columns are looked through once. Raises BadModel."""
    seen = _Seen(mapped)
    for row in _rows(mapped, file):
        seen.look(row)
    if not seen.count:
        raise BadModel(f"{file} expected rows, got none")
    names = list(mapped.inputs) or [n for n in seen.names if n not in (mapped.label, mapped.time)]
    for name in (*names, mapped.label, *([mapped.time] if mapped.time else ())):
        if name not in seen.names:
            raise BadModel(f"{file} expected a column {name!r}, got {', '.join(seen.names)}")
    kinds = {name: mapped.inputs.get(name) or seen.kind(name) for name in names}
    labels = seen.labels() if mapped.labels is None else mapped.labels
    search = _SEARCH[mapped.model.kind] if mapped.search is None else mapped.search
    said = {
        "name": mapped.name or file.stem,
        "label": mapped.label,
        "time": mapped.time,
        "inputs": [
            {
                "name": name,
                "type": kind,
                "nullable": True,
                **({"unseen": "pass"} if kind == "category" else {}),
            }
            for name, kind in kinds.items()
        ],
        "output": {
            "name": mapped.label,
            **({"labels": labels, "probabilities": "chances"} if labels else {}),
        },
        "preprocess": mapped.preprocess,
        "model": mapped.model,
        "search": search,
        "validation": mapped.validation,
    }
    try:
        return Recipe.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadModel(f"{file}: {path_of(first['loc'])[2:]} {first['msg']}") from None


def examples_in(mapped: Mapped, recipe: Recipe, file: Path) -> Examples:
    """The rows of a file, oldest first. Raises BadModel with the line that is wrong."""
    builder = ExamplesBuilder(recipe)
    fields = [(each.name, each.type) for each in recipe.inputs]
    places = {name: float(place) for place, name in enumerate(recipe.output.labels)}
    times: list[int] = []
    for row in _rows(mapped, file):
        where = f"{file}, line {row.number}"
        inputs = {n: _value(row.values[n], kind, f"{where}: column {n!r}") for n, kind in fields}
        label = _label(row.values[mapped.label], places, f"{where}: column {mapped.label!r}")
        times.append(_time(row, mapped, where))
        builder.add(inputs, label, 1.0, times[-1])
    found = builder.built()
    if times == sorted(times):
        return found
    order = sorted(range(len(times)), key=times.__getitem__)
    columns = {name: column[order] for name, column in found.columns.items()}
    return Examples(columns, found.labels[order], found.weights[order], found.times_ms[order])


class _Seen:
    """What the columns of a file hold."""

    def __init__(self, mapped: Mapped) -> None:
        self._mapped = mapped
        self.names: list[str] = []
        self.count = 0
        self._are_numbers: dict[str, bool] = {}
        self._values: dict[str, set[str]] = {}

    def look(self, row: _Row) -> None:
        self.count += 1
        if not self.names:
            self.names = list(row.values)
            self._are_numbers = dict.fromkeys(self.names, True)
            self._values = {name: set() for name in self.names}
        for name, value in row.values.items():
            if value is None:
                continue
            if self._are_numbers[name]:
                self._are_numbers[name] = _is_number(value)
            if len(self._values[name]) <= _CATEGORIES_MAX:
                self._values[name].add(value)

    def kind(self, name: str) -> Kind:
        """Numbers where all are; a category where there are few values, else text."""
        if self._are_numbers[name]:
            return "number"
        return "category" if len(self._values[name]) <= _CATEGORIES_MAX else "string"

    def labels(self) -> tuple[str, ...]:
        """The label's values; none: it is a number, of which there are many or 0 and 1 only."""
        found = sorted(self._values[self._mapped.label])
        if self._are_numbers[self._mapped.label] and set(found) != {"0", "1"}:
            return ()
        if not 2 <= len(found) <= _LABELS_MAX:
            raise BadModel(
                f"label {self._mapped.label!r} expected 2 to {_LABELS_MAX} values, got {len(found)}"
            )
        return tuple(found)


def _rows(mapped: Mapped, file: Path) -> Iterator[_Row]:
    """Raises BadModel."""
    none = {"", *mapped.missing}
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, delimiter=mapped.separator, skipinitialspace=True)
            names = list(mapped.columns) or [each.strip() for each in next(reader, [])]
            for values in reader:
                if not any(each.strip() for each in values):
                    continue
                if len(values) != len(names):
                    raise BadModel(
                        f"{file}, line {reader.line_num}: expected {len(names)} values, "
                        f"got {len(values)}"
                    )
                stripped = [each.strip() for each in values]
                held = [None if each in none else each for each in stripped]
                yield _Row(reader.line_num, dict(zip(names, held, strict=True)))
    except OSError as error:
        raise BadModel(f"expected a file that can be read at {file}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadModel(f"{file} expected CSV in UTF-8: {error}") from None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _value(text: str | None, kind: str, where: str) -> Any:
    if text is None or kind in ("string", "category"):
        return text
    if kind == "boolean":
        if text.lower() not in _BOOLEANS:
            raise BadModel(f"{where} expected one of {', '.join(_BOOLEANS)}, got {text!r}")
        return _BOOLEANS[text.lower()]
    if not _is_number(text):
        raise BadModel(f"{where} expected a number, got {text!r}")
    return float(text)


def _label(text: str | None, places: Mapping[str, float], where: str) -> float:
    if text is not None and text in places:
        return places[text]
    if places or text is None or not _is_number(text):
        expected = f"one of {', '.join(places)}" if places else "a number"
        raise BadModel(f"{where} expected {expected}, got {text!r}")
    return float(text)


def _time(row: _Row, mapped: Mapped, where: str) -> int:
    if not mapped.time:
        return row.number
    text = row.values[mapped.time]
    if text is None or not _is_number(text):
        raise BadModel(f"{where}: column {mapped.time!r} expected Unix milliseconds, got {text!r}")
    return int(float(text))


__all__ = ["Mapped", "examples_in", "read_mapping", "recipe_of"]
