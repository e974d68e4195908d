"""River's half-space trees, walked by a compiled loop; they learn only from what is normal.

The trees are grown by river (`river.anomaly.HalfSpaceTrees`, after Tan, Ting and Liu: Fast anomaly
detection for streaming data, IJCAI 2011) and laid out in arrays: the children of node i are 2i + 1
and 2i + 2. A test holds scores and learning against river's own, bit by bit, on the same stream.

River's filter (`QuantileFilter` with `protect_anomaly_detector`) keeps a detector from learning
what it finds anomalous. Here the threshold is the quantile of all scores so far, from a histogram
that slowly forgets: where everything changes, so does the threshold, and the trees learn what has
become normal.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from river.anomaly import HalfSpaceTrees

BINS = 1_000  # of the histogram of scores, which lie from 0 to 1
LEARNED, WINDOWS, SEEN = range(3)  # of `counts`: of this window, windows, since the last threshold
NO_THRESHOLD = 2.0  # above all scores
FORGETS = 0.98  # what is left of the histogram after as many scores as a window has


@dataclass(frozen=True, slots=True)
class Options:
    """How many trees of which height, and what they learn from."""

    trees: int = 25
    height: int = 8  # of each: it has 2 ** (height + 1) - 1 nodes
    window: int = 250  # readings learned between two turns of the masses
    quantile: float = 0.99  # of scores, above which a reading is anomalous and not learned from
    trusting: int = 4  # windows at the beginning, in which everything is learned from
    seed: int = 1


class OnlineTrees:
    """Half-space trees over signals in given ranges."""

    def __init__(self, ranges: Mapping[str, tuple[float, float]], options: Options) -> None:
        self.options = options
        self.features, self.cuts = _grow(ranges, options)
        nodes = 2 ** (options.height + 1) - 1
        self.coming = np.zeros((options.trees, nodes), np.int64)  # masses of this window
        self.masses = np.zeros((options.trees, nodes), np.int64)  # of the one before
        self.histogram = np.zeros(BINS, np.float64)
        self.counts = np.zeros(3, np.int64)
        self.threshold = np.array([NO_THRESHOLD])

    def advance(
        self, readings: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(n, signals) to (n,) scores from 0 to 1, and (n,) the threshold for each: one after the
        other, each is scored and then, unless it is above the threshold, learned from."""
        scores = np.empty(len(readings))
        thresholds = np.empty(len(readings))
        options = self.options
        _advance(
            np.ascontiguousarray(readings),
            self.features,
            self.cuts,
            self.coming,
            self.masses,
            self.histogram,
            self.counts,
            self.threshold,
            np.array([options.height, options.window, options.trusting], np.int64),
            options.quantile,
            scores,
            thresholds,
        )
        return scores, thresholds


def _grow(
    ranges: Mapping[str, tuple[float, float]], options: Options
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(trees, inner nodes): by which signal each divides, and where. River grows the trees."""
    river = HalfSpaceTrees(
        n_trees=options.trees,
        height=options.height,
        window_size=options.window,
        limits=dict(ranges.items()),
        seed=options.seed,
    )
    # It grows them before the first reading.
    river.learn_one(dict.fromkeys(ranges, 0.0))  # type: ignore[no-untyped-call]
    numbers = {name: number for number, name in enumerate(ranges)}
    inner = 2**options.height - 1
    features = np.empty((options.trees, inner), np.int64)
    cuts = np.empty((options.trees, inner), np.float64)

    def lay(tree: int, place: int, node: Any) -> None:
        if place < inner:
            features[tree, place] = numbers[node.feature]
            cuts[tree, place] = node.threshold
            left, right = node.children
            lay(tree, 2 * place + 1, left)
            lay(tree, 2 * place + 2, right)

    for tree, root in enumerate(river.trees):
        lay(tree, 0, root)
    return features, cuts


def _one_after_the_other(
    readings: NDArray[np.float64],
    features: NDArray[np.int64],
    cuts: NDArray[np.float64],
    coming: NDArray[np.int64],
    masses: NDArray[np.int64],
    histogram: NDArray[np.float64],
    counts: NDArray[np.int64],
    threshold: NDArray[np.float64],
    shape: NDArray[np.int64],  # height, window, trusting
    quantile: float,
    scores: NDArray[np.float64],
    thresholds: NDArray[np.float64],
) -> None:
    trees = len(features)
    height, window, trusting = shape
    few = 0.1 * window  # masses below which a walk ends, as in the paper
    largest = trees * window * (2.0 ** (height + 1) - 1)
    for row in range(len(readings)):
        reading = readings[row]
        score = 0.0
        if counts[WINDOWS] > 0:
            found = 0.0
            for tree in range(trees):
                node = 0
                for depth in range(height + 1):
                    mass = masses[tree, node]
                    found += mass * float(1 << depth)
                    if mass < few or depth == height:
                        break
                    right = reading[features[tree, node]] >= cuts[tree, node]
                    node = 2 * node + (2 if right else 1)
            score = 1.0 - found / largest
            histogram[min(int(score * BINS), BINS - 1)] += 1.0
        scores[row] = score
        thresholds[row] = threshold[0]
        if score <= threshold[0]:
            for tree in range(trees):
                node = 0
                for _ in range(height):
                    coming[tree, node] += 1
                    right = reading[features[tree, node]] >= cuts[tree, node]
                    node = 2 * node + (2 if right else 1)
                coming[tree, node] += 1
            counts[LEARNED] += 1
            if counts[LEARNED] == window:
                masses[:] = coming
                coming[:] = 0
                counts[LEARNED] = 0
                counts[WINDOWS] += 1
        counts[SEEN] += 1
        if counts[SEEN] == window:
            counts[SEEN] = 0
            if counts[WINDOWS] >= trusting:
                total = 0.0
                for at in range(BINS):
                    total += histogram[at]
                so_far = 0.0
                for at in range(BINS):
                    so_far += histogram[at]
                    if so_far >= quantile * total:
                        threshold[0] = (at + 1) / BINS
                        break
            histogram *= FORGETS


_advance: Callable[..., None] = njit(cache=True)(_one_after_the_other)


__all__ = ["BINS", "FORGETS", "NO_THRESHOLD", "OnlineTrees", "Options"]
