"""What each kind of trained file gives for a matrix of features."""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Found(NamedTuple):
    """Answers to n rows: numbers, or which label and with what chance."""

    numbers: NDArray[np.float64] | None = None  # (n, fields of the output)
    chosen: NDArray[np.int64] | None = None  # (n,) by place in the labels
    chances: NDArray[np.float64] | None = None  # (n, labels)


class Engine(Protocol):
    """A trained file that is loaded."""

    labels: tuple[str, ...]  # empty: it answers with numbers
    codes_categories: bool  # categories are given by their place among those described

    def ask(self, matrix: NDArray[Any]) -> Found:
        """`matrix` (n, inputs), float64, or object where inputs are text."""


def chosen_of(chances: NDArray[np.float64], threshold: float | None) -> NDArray[np.int64]:
    """The likeliest label, the first of several; of two labels the second from `threshold` on."""
    if threshold is not None:
        return (chances[:, 1] >= threshold).astype(np.int64)
    likeliest: NDArray[np.int64] = chances.argmax(axis=1)
    return likeliest
