"""Trees are told of while they grow, which takes most of a training."""

import time

import lightgbm
import numpy as np
import pytest
from numpy.typing import NDArray

from streamrec.models.training.fitting import FIRST_OPTIONS, TREES, fit, fit_trees
from streamrec.models.training.row_blocks import FloatBlocks, RowBlocks
from streamrec.models.training.rows import HeldOut, Rows

_SESSIONS, _CANDIDATES = 60, 8


def candidates(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((_SESSIONS, _CANDIDATES, 3)).astype(np.float32)


def rows(seed: int = 0) -> Rows:
    """Candidates of which the one with the largest first feature is taken."""
    features = candidates(seed)
    taken = features[:, :, 0] == features[:, :, 0].max(axis=1, keepdims=True)
    groups = np.full(_SESSIONS, _CANDIDATES, np.int32)
    return rows_from(features.reshape(-1, 3), taken.ravel(), groups)


def rows_from(
    features: NDArray[np.float32], labels: NDArray[np.bool_], groups: NDArray[np.int32]
) -> Rows:
    """As training makes them, in blocks of some hundred rows."""
    blocks = RowBlocks(features.shape[1])
    for first in range(0, len(features), 137):
        blocks.add(features[first : first + 137])
    return Rows(blocks, 0, labels, groups)


def held_out() -> HeldOut:
    made = rows(1)
    items = np.tile(np.arange(_CANDIDATES, dtype=np.int32), (_SESSIONS, 1))
    targets = made.labels.reshape(_SESSIONS, _CANDIDATES).argmax(axis=1).astype(np.int32)
    features = FloatBlocks()
    for part in np.split(candidates(1), 3):
        features.add(part.transpose(0, 2, 1))
    return HeldOut(features, items, targets)


def test_each_tree_is_told_of_in_the_search_and_after_it() -> None:
    told: list[str] = []
    deadline = time.monotonic() + 600.0
    fit("lightgbm", rows(), rows(), held_out(), 2, 0, 1, deadline, told.append)
    before = f"settings of trees: 0 of up to 2 tried, 1 of {TREES} trees of the next"
    assert told[0] == before
    assert told[TREES].startswith("settings of trees: 1 of up to 2 tried, best HR@20 + MRR@20 on")
    assert told[TREES + 1].startswith(
        f"settings of trees: 1 of up to 2 tried, 1 of {TREES} trees of the next, best HR@20"
    )
    assert told[-1] == f"trees: {TREES} of {TREES} grown from {_SESSIONS} sessions"
    assert len(told) == 3 * TREES + 2


def test_trees_are_the_same_whether_somebody_listens_or_not() -> None:
    silent = fit_trees(rows(), FIRST_OPTIONS, 20, 0, 1)
    told: list[int] = []
    heard = fit_trees(rows(), FIRST_OPTIONS, 20, 0, 1, told.append)
    assert told == list(range(1, 21))
    features = candidates(1)
    assert np.array_equal(silent.scores(features), heard.scores(features))


@pytest.mark.parametrize("seed", [0, 3_000_017])
def test_trees_of_packed_rows_are_bit_by_bit_those_of_one_array(seed: int) -> None:
    rng = np.random.default_rng(4)
    groups = rng.integers(2, 20, 30_000).astype(np.int32)
    n = int(groups.sum())  # more than LightGBM looks at for its bins
    assert n > 250_000
    features = rng.exponential(1.0, (n, 6)).astype(np.float32)
    features[rng.random((n, 6)) < 0.5] = 0.0
    features[:, 3] = np.repeat(rng.integers(0, 9, len(groups)), groups)
    labels = np.zeros(n, np.bool_)
    labels[np.cumsum(groups) - 1] = True
    features[labels, 0] += 1.0
    made = rows_from(features, labels, groups).last(len(groups) - 7)
    skipped = n - len(made)
    options = {**FIRST_OPTIONS, "num_leaves": 8}

    packed = fit_trees(made, options, 3, seed, 1)

    whole = {"objective": "lambdarank", "metric": "none", "verbose": -1, "seed": seed}
    whole |= {"deterministic": True, "force_row_wise": True, "num_threads": 1}
    kept = {name: int(v) if float(v).is_integer() else v for name, v in options.items()}
    data = lightgbm.Dataset(features[skipped:], labels[skipped:].astype(np.int32), group=groups[7:])
    array = lightgbm.train({**whole, **kept}, data, 3).model_to_string()
    assert packed.text.split("\nparameters:")[0] == array.split("\nparameters:")[0]


def test_rows_come_back_as_they_went_in() -> None:
    rng = np.random.default_rng(5)
    features = rng.normal(size=(1_000, 4)).astype(np.float32)
    features[3] = np.nan, np.inf, -0.0, 1e-40
    groups = np.full(100, 10, np.int32)
    made = rows_from(features, np.zeros(1_000, np.bool_), groups)

    assert made.features().tobytes() == features.tobytes()
    for begin, end in ((0, 1), (136, 138), (5, 700), (999, 1_000), (4, 4)):
        assert made.features(begin, end).tobytes() == features[begin:end].tobytes()
    assert made.first(60).last(20).features().tobytes() == features[400:600].tobytes()
