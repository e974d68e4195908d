"""What a trained file found, as answers: one dict for each, or columns."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.models.serving.avro import enum_symbols
from streamrec.models.serving.trained.description import OutputFields
from streamrec.models.serving.trained.engine import Found
from streamrec.schemas.columns import Columns, Numbers, strings


class AnswerShape:
    """Builds answers by the output's description."""

    def __init__(self, output: OutputFields, labels: tuple[str, ...]) -> None:
        self._output = output
        self._labels = labels
        self._names = output.names or (output.name,)
        self._is_enum = enum_symbols({"type": "string", "enum": [*labels]}) is not None

    def as_dicts(self, found: Found) -> list[dict[str, Any]]:
        if not self._labels:
            numbers = self._numbers(found).tolist()
            return [dict(zip(self._names, row, strict=True)) for row in numbers]
        assert found.chosen is not None
        output, labels = self._output, self._labels
        chosen = found.chosen.tolist()
        made: list[dict[str, Any]] = [{output.name: labels[each]} for each in chosen]
        if found.chances is not None:
            for answer, place, chances in zip(made, chosen, found.chances.tolist(), strict=True):
                if output.probability:
                    answer[output.probability] = chances[place]
                if output.probabilities:
                    answer[output.probabilities] = dict(zip(labels, chances, strict=True))
        return made

    def as_columns(self, found: Found, rows: NDArray[np.int64], count: int) -> Columns:
        """Columns of `count` rows; those that are not among `rows` hold zeros, or nothing."""
        if not self._labels:
            numbers = self._numbers(found)
            return {
                name: Numbers(_spread(numbers[:, place], rows, count))
                for place, name in enumerate(self._names)
            }
        assert found.chosen is not None
        output, labels = self._output, self._labels
        chosen = _spread(found.chosen, rows, count)
        if self._is_enum:
            made: Columns = {output.name: Numbers(chosen.astype(np.int32))}
        else:
            made = {output.name: strings([labels[each] for each in chosen.tolist()])}
        if found.chances is None:
            return made
        chances = found.chances
        if output.probability:
            own = chances[np.arange(len(chances)), found.chosen]
            made[output.probability] = Numbers(_spread(own, rows, count))
        if output.probabilities:
            for place, label in enumerate(labels):
                column = Numbers(_spread(chances[:, place], rows, count))
                made[f"{output.probabilities}.{label}"] = column
        return made

    def _numbers(self, found: Found) -> NDArray[np.float64]:
        numbers = found.numbers
        if numbers is None or numbers.shape[1] != len(self._names):
            got = "none" if numbers is None else numbers.shape[1]
            raise ValueError(f"output expected {len(self._names)} numbers, got {got}")
        return numbers


def _spread(values: NDArray[Any], rows: NDArray[np.int64], count: int) -> NDArray[Any]:
    if len(values) == count:
        return values
    made = np.zeros(count, values.dtype)
    made[rows] = values
    return made
