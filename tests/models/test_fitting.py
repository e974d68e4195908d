"""Trees are told of while they grow, which takes most of a training."""

import time

import numpy as np

from streamrec.models.training.fitting import FIRST_OPTIONS, TREES, fit, fit_trees
from streamrec.models.training.rows import HeldOut, Rows

_SESSIONS, _CANDIDATES = 60, 8


def rows(seed: int = 0) -> Rows:
    """Candidates of which the one with the largest first feature is taken."""
    features = np.random.default_rng(seed).random((_SESSIONS, _CANDIDATES, 3)).astype(np.float32)
    taken = features[:, :, 0] == features[:, :, 0].max(axis=1, keepdims=True)
    groups = np.full(_SESSIONS, _CANDIDATES, np.int32)
    return Rows(features.reshape(-1, 3), taken.ravel(), groups)


def held_out() -> HeldOut:
    made = rows(1)
    items = np.tile(np.arange(_CANDIDATES, dtype=np.int32), (_SESSIONS, 1))
    targets = made.labels.reshape(_SESSIONS, _CANDIDATES).argmax(axis=1).astype(np.int32)
    return HeldOut(made.features.reshape(_SESSIONS, _CANDIDATES, 3), items, targets)


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
    features = held_out().features
    assert np.array_equal(silent.scores(features), heard.scores(features))
