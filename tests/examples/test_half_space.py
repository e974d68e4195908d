"""The half-space trees of the cars are river's own, and learn only from what is normal."""

import json

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from river.anomaly import HalfSpaceTrees

from comparisons import UNIT
from half_space import BINS, FORGETS, NO_THRESHOLD, OnlineTrees, Options
from online import Watch

RANGES = {"a": (0.0, 1.0), "b": (-1.0, 1.0), "c": (0.0, 2.0)}
SMALL = Options(trees=7, height=5, window=40, quantile=0.95, trusting=2, seed=3)


def readings(seed: int, n: int, share: float = 0.05) -> NDArray[np.float64]:
    """Mostly in one place of the ranges, some of them anywhere in it."""
    rng = np.random.default_rng(seed)
    normal = rng.normal([0.3, 0.2, 0.8], [0.05, 0.08, 0.1], (n, 3))
    anywhere = rng.uniform([0.0, -1.0, 0.0], [1.0, 1.0, 2.0], (n, 3))
    return np.where(rng.random((n, 1)) < share, anywhere, normal)


def river_trees(options: Options) -> HalfSpaceTrees:
    return HalfSpaceTrees(
        n_trees=options.trees,
        height=options.height,
        window_size=options.window,
        limits=dict(RANGES.items()),
        seed=options.seed,
    )


def by_river(stream: NDArray[np.float64], options: Options) -> tuple[list[float], list[float]]:
    """Scores and thresholds, by river's trees and a plain recount of the filter."""
    river = river_trees(options)
    histogram = np.zeros(BINS)
    threshold, learned = NO_THRESHOLD, 0
    scores, thresholds = [], []
    for number, row in enumerate(stream.tolist(), 1):
        reading = dict(zip(RANGES, row, strict=True))
        score = river.score_one(reading)  # type: ignore[no-untyped-call]
        if learned >= options.window:
            histogram[min(int(score * BINS), BINS - 1)] += 1
        scores.append(score)
        thresholds.append(threshold)
        if score <= threshold:
            river.learn_one(reading)  # type: ignore[no-untyped-call]
            learned += 1
        if number % options.window == 0:
            if learned >= options.trusting * options.window:
                so_far = np.cumsum(histogram)
                threshold = (int(np.argmax(so_far >= options.quantile * so_far[-1])) + 1) / BINS
            histogram *= FORGETS
    return scores, thresholds


@pytest.mark.parametrize("seed", range(3))
def test_scores_thresholds_and_learning_are_those_of_river(seed: int) -> None:
    stream = readings(seed, 1_500)
    trees = OnlineTrees(RANGES, SMALL)
    parts = [trees.advance(part) for part in np.array_split(stream, 7)]
    scores, thresholds = by_river(stream, SMALL)
    assert np.concatenate([part[0] for part in parts]).tolist() == scores
    assert np.concatenate([part[1] for part in parts]).tolist() == thresholds
    assert (np.array(scores) > thresholds).any()


def test_what_is_anomalous_is_not_learned() -> None:
    trees = OnlineTrees(RANGES, SMALL)
    trees.advance(readings(1, 2_000))
    before = trees.coming.copy()
    strange = np.array([[0.99, -0.98, 1.99]] * 5)
    scores, thresholds = trees.advance(strange)
    assert (scores > thresholds).all()
    assert (trees.coming == before).all()


def test_what_has_become_normal_is_learned() -> None:
    trees = OnlineTrees(RANGES, SMALL)
    trees.advance(readings(1, 2_000))
    changed = np.add(readings(2, 4_000), [0.5, -1.0, 0.6])
    scores, thresholds = trees.advance(changed)
    above = scores > thresholds
    assert above[:20].mean() > 0.9
    assert above[-1_000:].mean() < 0.15


def test_resumed_trees_go_on_as_if_they_had_not_stopped() -> None:
    whole, stopped = Watch(), Watch()
    rng = np.random.default_rng(5)
    stream = rng.normal(0.5, 0.1, (3_100, len(UNIT)))
    expected = whole.trees.advance(stream)
    first = stopped.trees.advance(stream[:1_777])
    table, facts = stopped.changed(whole=True)
    resumed = Watch()
    resumed.restore([pa.table({}), table], json.loads(json.dumps(facts)))
    rest = resumed.trees.advance(stream[1_777:])
    for at in range(2):
        assert np.array_equal(np.concatenate([first[at], rest[at]]), expected[at])
