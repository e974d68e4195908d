"""Answers and faults of a model as tests look into them."""

from collections.abc import Sequence
from typing import Any

from streamrec.models.serving.contract import Predictor


def answers(predictor: Predictor, inputs: Sequence[Any]) -> list[Any]:
    """One for each input: what a model answered, or a Fault."""
    return predictor.predict(inputs)
