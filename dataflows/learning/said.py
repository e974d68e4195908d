"""What records say to the steps that label."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class SaidAnswer(NamedTuple):
    """An output of a pipeline."""

    source: str  # topic/partition/offset of the input
    model: str
    version: str
    experiment: str | None
    variant: str | None
    propensity: float | None
    mode: str
    key: str | None
    text: str  # the answer, as JSON
    score: float | None


class SaidOutcome(NamedTuple):
    """An outcome, or a click, which has no id and no value."""

    kind: str
    item_id: str | None
    value: float | None
    weight: float | None  # None: as much as its kind does
    recommendation_id: str | None


class SaidRecommendation(NamedTuple):
    """A recommendation."""

    recommendation_id: str
    items: list[str]
    model: str
    version: str
    experiment: str | None
    variant: str | None
    propensity: float | None
    mode: str


class SaidImpression(NamedTuple):
    """An impression."""

    recommendation_id: str
    items: list[str]


class SaidRankerInputs(NamedTuple):
    """What the ranker saw."""

    recommendation_id: str
    weight: float
    names: str
    items: list[str]
    inputs: NDArray[np.float32]


__all__ = ["SaidAnswer", "SaidImpression", "SaidOutcome", "SaidRankerInputs", "SaidRecommendation"]
