"""How good chances or numbers are, with weights. Plain NumPy, for the online learner too."""

import numpy as np
from numpy.typing import NDArray

_EPSILON = 1e-15
Floats = NDArray[np.float64]


def auc(chances: Floats, labels: NDArray[np.bool_], weights: Floats) -> float | None:
    """The chance that a positive has more than a negative, ties half; None: one of them is missing.

    >>> ones = np.ones(4)
    >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1], bool), ones)
    0.75
    """
    order = np.argsort(chances, kind="stable")
    sorted_chances = chances[order]
    positive = np.where(labels, weights, 0.0)[order]
    negative = np.where(labels, 0.0, weights)[order]
    total = positive.sum() * negative.sum()
    if not total > 0:
        return None
    begins = np.flatnonzero(np.r_[True, sorted_chances[1:] != sorted_chances[:-1]])
    tied_positive = np.add.reduceat(positive, begins)
    tied_negative = np.add.reduceat(negative, begins)
    below = np.cumsum(tied_negative) - tied_negative
    return float((tied_positive * (below + tied_negative / 2)).sum() / total)


def log_loss(chances: Floats, places: NDArray[np.int64], weights: Floats) -> float:
    """Of chances (n, labels), natural logarithm, mean by weight."""
    own = chances[np.arange(len(chances)), places]
    return float(-np.average(np.log(np.clip(own, _EPSILON, 1.0)), weights=weights))


def of_chances(chances: Floats, labels: Floats, weights: Floats) -> dict[str, float]:
    """Measures of chances (n, labels) where the labels are places."""
    places = labels.astype(np.int64)
    found = {
        "log_loss": log_loss(chances, places, weights),
        "accuracy": float(np.average(chances.argmax(axis=1) == places, weights=weights)),
    }
    if chances.shape[1] == 2:
        area = auc(chances[:, 1], places == 1, weights)
        if area is not None:
            found["auc"] = area
    return found


def of_numbers(numbers: Floats, labels: Floats, weights: Floats) -> dict[str, float]:
    """Measures of numbers: how far they are from the labels."""
    error = numbers - labels
    return {
        "rmse": float(np.sqrt(np.average(error**2, weights=weights))),
        "mae": float(np.average(np.abs(error), weights=weights)),
    }


def best_threshold(chances: Floats, labels: NDArray[np.bool_], weights: Floats, by: str) -> float:
    """Of the second of two labels, the chance from which it is chosen: best for accuracy, or for
    F1. Between two chances that were there, and never 0 or 1."""
    order = np.argsort(-chances, kind="stable")
    sorted_chances = chances[order]
    hits = np.cumsum(np.where(labels, weights, 0.0)[order])
    false = np.cumsum(np.where(labels, 0.0, weights)[order])
    ends = np.flatnonzero(np.r_[sorted_chances[1:] != sorted_chances[:-1], True])
    hits, false = hits[ends], false[ends]
    if by == "f1":
        value = 2 * hits / np.maximum(hits + false + hits[-1], _EPSILON)
    else:
        value = hits + (false[-1] - false)
    at = int(np.argmax(value))
    here = sorted_chances[ends[at]]
    following = sorted_chances[ends[at + 1]] if at + 1 < len(ends) else 0.0
    return float(np.clip((here + following) / 2, 1e-6, 1 - 1e-6))


__all__ = ["auc", "best_threshold", "log_loss", "of_chances", "of_numbers"]
