"""A linear model with its preprocessing, as JSON of weights: what an online learner publishes.

`adult.linear`, beside `adult.toml`:

    {"format": "streamrec-linear/1", "link": "logistic", "intercept": -1.2,
     "numbers": {"age": {"mean": 38.6, "inverse": 0.073, "weight": 0.4, "missing": -0.1}},
     "texts": {"sex": {"weights": {"Male": 0.2, "Female": -0.3}, "missing": 0.0}},
     "crossed": [{"names": ["education", "occupation"], "weights": [["HS-grad", "Sales", 0.1]]}]}

A number x adds (x - mean) * inverse * weight, a missing one `missing`; a text adds its weight, one
that was never seen nothing. Crossed texts add the weight of their combination. `logistic` of two
labels gives the second's chance, `identity` a number.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamrec.models.loading import BadModel
from streamrec.models.serving.misfit import path_of
from streamrec.models.serving.trained.description import Description
from streamrec.models.serving.trained.engine import Found, chosen_of

FORMAT = "streamrec-linear/1"
SUFFIX = ".linear"
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NumberWeights(_Strict):
    """Of one number."""

    mean: _Finite = 0.0
    inverse: _Finite = 1.0
    weight: _Finite = 0.0
    missing: _Finite = 0.0


class TextWeights(_Strict):
    """Of one text."""

    weights: Mapping[str, _Finite] = {}
    missing: _Finite = 0.0


class CrossedWeights(_Strict):
    """Of combinations of texts: their values in the order of the names, then the weight."""

    names: tuple[str, ...] = Field(min_length=2)
    weights: tuple[tuple[str | _Finite | None, ...], ...] = ()


class LinearWeights(_Strict):
    """A file's content."""

    format: Literal["streamrec-linear/1"]
    link: Literal["logistic", "identity"]
    intercept: _Finite = 0.0
    numbers: Mapping[str, NumberWeights] = {}
    texts: Mapping[str, TextWeights] = {}
    crossed: tuple[CrossedWeights, ...] = ()


class LinearEngine:
    """Adds weights up, a column at a time."""

    codes_categories = False

    def __init__(self, path: Path, description: Description) -> None:
        """Raises BadModel."""
        said = _content(path)
        self._said = said
        self._places = {each.name: place for place, each in enumerate(description.inputs)}
        self._check_inputs(path, description)
        output = description.output
        self.labels = output.labels
        self._threshold = output.threshold
        if len(self.labels) != (2 if said.link == "logistic" else 0):
            expected = "two" if said.link == "logistic" else "no"
            raise BadModel(f"{path}: labels expected {expected} names, got {len(self.labels)}")
        self._crossed = [
            ([self._places[name] for name in each.names], _combinations(path, each))
            for each in said.crossed
        ]

    def ask(self, matrix: NDArray[Any]) -> Found:
        total = self._sums(matrix)
        if not self.labels:
            return Found(numbers=total.reshape(-1, 1))
        second = _logistic(total)
        chances = np.stack([1.0 - second, second], axis=1)
        return Found(chosen=chosen_of(chances, self._threshold), chances=chances)

    def _sums(self, matrix: NDArray[Any]) -> NDArray[np.float64]:
        total = np.full(len(matrix), self._said.intercept)
        for name, number in self._said.numbers.items():
            values = matrix[:, self._places[name]].astype(np.float64)
            scaled = (values - number.mean) * number.inverse * number.weight
            total += np.where(np.isnan(values), number.missing, scaled)
        for name, text in self._said.texts.items():
            weights: dict[str | None, float] = {None: text.missing}
            weights.update((each, weight) for each, weight in text.weights.items())
            total += [weights.get(each, 0.0) for each in matrix[:, self._places[name]].tolist()]
        for places, combinations in self._crossed:
            rows = matrix[:, places].tolist()
            total += [combinations.get(tuple(row), 0.0) for row in rows]
        return total

    def _check_inputs(self, path: Path, description: Description) -> None:
        texts = {each.name for each in description.inputs if each.is_text}
        numbers = self._places.keys() - texts
        crossed = {name for each in self._said.crossed for name in each.names}
        for what, named, known in (
            ("numbers", self._said.numbers.keys(), numbers),
            ("texts", self._said.texts.keys(), texts),
            ("crossed", crossed, texts),
        ):
            if strange := sorted(named - known):
                raise BadModel(
                    f"{path}: {what} expected names of {', '.join(sorted(known)) or 'none'}, "
                    f"got {', '.join(strange)}"
                )


def _logistic(total: NDArray[np.float64]) -> NDArray[np.float64]:
    # Written so that neither side overflows.
    small = np.exp(-np.abs(total))
    found: NDArray[np.float64] = np.where(total >= 0, 1.0, small) / (1.0 + small)
    return found


def _combinations(path: Path, crossed: CrossedWeights) -> dict[tuple[Any, ...], float]:
    found = {}
    for *values, weight in crossed.weights:
        if len(values) != len(crossed.names) or not isinstance(weight, float | int):
            raise BadModel(
                f"{path}: crossed expected {len(crossed.names)} values and a weight, "
                f"got {[*values, weight]!r}"
            )
        found[tuple(values)] = float(weight)
    return found


def _content(path: Path) -> LinearWeights:
    try:
        return LinearWeights.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            raise BadModel(f"{path}: {path_of(first['loc'])}: {first['msg']}") from None
        raise BadModel(f"{path} expected JSON of weights: {error}") from error


__all__ = ["FORMAT", "SUFFIX", "LinearEngine", "LinearWeights"]
