"""Fitting a ranker to training rows; trees are tuned on sessions held out from the rows."""

import time
from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from streamrec.models.contract import Ranker
from streamrec.models.rankers.trees import TreeRanker
from streamrec.models.training.memory import give_back
from streamrec.models.training.rows import HeldOut, Rows

RANKERS = ("lightgbm", "sklearn", "river")
TREES = 160  # about 0.2 microseconds of CPU each for a query of 96 candidates
_LINEAR_GROUPS_MAX = 20_000  # more rows change nothing about so few weights
_ONLINE_GROUPS_MAX = 20_000

Options = dict[str, float]
Progress = Callable[[str], None]

FIRST_OPTIONS: Options = {
    "num_leaves": 31,
    "learning_rate": 0.1,
    "min_data_in_leaf": 100,
    "lambda_l2": 5.0,
    "feature_fraction": 0.7,
    "lambdarank_truncation_level": 25,
}
_CHOICES: dict[str, tuple[float, ...]] = {
    "num_leaves": (16, 24, 31, 31),
    "learning_rate": (0.05, 0.07, 0.1, 0.13),
    "min_data_in_leaf": (20, 50, 100, 300, 1_000),
    "lambda_l2": (0.0, 1.0, 5.0, 20.0),
    "feature_fraction": (0.4, 0.55, 0.7, 0.9),
    "lambdarank_truncation_level": (10, 20, 30, 50),
}


def fit(
    kind: str,
    rows: Rows,
    tuning_rows: Rows,
    held_out: HeldOut,
    configurations: int,
    seed: int,
    threads: int,
    deadline: float,
    progress: Progress,
) -> Ranker:
    """A ranker of the kind. Options are chosen on `tuning_rows`, which end before `held_out`
    begins; the ranker is then fitted to all `rows`, or to as many of the newest as can be done by
    the deadline, of `time.monotonic()`. Of trees, neither has its inputs any more afterwards: they
    would take a fifth of the memory while all that is left to do is done with bins."""
    if kind == "sklearn":
        from streamrec.models.rankers.linear import (
            LinearRanker,  # scikit-learn takes a second to import
        )

        progress("logistic regression: fitting")
        part = rows.last(_LINEAR_GROUPS_MAX)
        return LinearRanker.fit(part.features(), part.labels, seed)
    if kind == "river":
        return _fit_online(rows.last(_ONLINE_GROUPS_MAX), progress)
    if kind != "lightgbm":
        raise ValueError(f"ranker expected one of {RANKERS}, got {kind!r}")
    options, group_s = tune_trees(
        tuning_rows, held_out, configurations, seed, threads, deadline, len(rows.groups), progress
    )
    if group_s:
        affordable = int((deadline - time.monotonic()) / group_s)
        rows = rows.last(max(affordable, len(tuning_rows.groups)))
    sessions = f"from {len(rows.groups):,} sessions"

    def grown(trees: int) -> None:
        progress(f"trees: {trees} of {TREES} grown {sessions}")

    def binned() -> None:
        rows.blocks.clear()
        held_out.features.clear()

    return fit_trees(rows, options, TREES, seed, threads, grown, binned)


def tune_trees(
    rows: Rows,
    held_out: HeldOut,
    configurations: int,
    seed: int,
    threads: int,
    deadline: float,
    groups: int,
    progress: Progress,
) -> tuple[Options, float]:
    """The best of the first options and of random ones, by HR@20 + MRR@20 on `held_out`, and the
    seconds that trees took for a group; 0: none were tried. Ends in time for trees from `groups`
    to be grown by the deadline."""
    rng = np.random.default_rng(seed)
    best, top, group_s, tried = FIRST_OPTIONS, -1.0, 0.0, 0

    def tell(trees: int = 0) -> None:
        under_way = f", {trees} of {TREES} trees of the next" if trees else ""
        so_far = f", best HR@20 + MRR@20 on the clicks to tune on {top:.3f}" if tried else ""
        progress(f"settings of trees: {tried} of up to {configurations} tried{under_way}{so_far}")

    if configurations < 2 or len(held_out.targets) == 0 or len(rows.groups) == 0:
        return best, group_s
    began = time.monotonic()
    for number in range(configurations):
        options = {name: values[rng.integers(len(values))] for name, values in _CHOICES.items()}
        if number == 0:
            options = FIRST_OPTIONS
        grown = fit_trees(rows, options, TREES, seed, threads, tell)
        value = held_out.quality(held_out.scores(grown))
        if value > top:
            best, top = options, value
        tried = number + 1
        tell()
        took_s = (time.monotonic() - began) / tried
        group_s = took_s / len(rows.groups)
        if time.monotonic() + took_s + group_s * groups > deadline:
            break
    return best, group_s


def fit_trees(
    rows: Rows,
    options: Options,
    trees: int,
    seed: int,
    threads: int,
    grown: Callable[[int], None] = lambda trees: None,
    binned: Callable[[], None] = lambda: None,
) -> TreeRanker:
    """LightGBM's lambdarank (Burges, MSR-TR-2010-82) over groups of candidates. `grown` is told
    after each tree how many there are, `binned` once the rows are not needed any more."""
    whole = {"num_leaves", "min_data_in_leaf", "lambdarank_truncation_level"}
    parameters = {
        "objective": "lambdarank",
        "metric": "none",
        "verbose": -1,
        "seed": seed,
        # Equal seeds give equal trees, whatever the number of threads.
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads,
        **{name: int(value) if name in whole else value for name, value in options.items()},
    }
    data = lightgbm.Dataset(
        _InTurns(rows),
        rows.labels.astype(np.int32),
        group=rows.groups,
        params={**parameters, "data_random_seed": _seed_of_data(seed)},
    )
    give_back()
    data.construct()
    binned()
    # Of the rows that bins are made of there were several copies.
    give_back()
    booster = lightgbm.train(
        parameters, data, trees, callbacks=[lambda now: grown(now.iteration + 1)]
    )
    return TreeRanker.parse(booster.model_to_string())


def _seed_of_data(seed: int) -> int:
    """By which LightGBM chooses the rows of which bins are made, where it is given `seed`. It does
    not say it to what reads rows in turns: the first draw of its own generator (utils/random.h,
    io/config.cpp)."""
    drawn = (214_013 * seed + 2_531_011) % (1 << 32) >> 16 & 0x7FFF
    return drawn % 0x7FFF


class _InTurns(lightgbm.Sequence):
    """Rows as LightGBM takes them in, part by part; it keeps bins of a byte, the same as those that
    it would make of one array."""

    batch_size = 1 << 14

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, at: int | slice | list[int]) -> NDArray[Any]:
        if isinstance(at, slice):
            return self._rows.features(at.start, at.stop)
        assert not isinstance(at, list), "LightGBM asks for ranges and for single rows"
        # One of those of which bins are made, which must be doubles.
        row: NDArray[np.float64] = self._rows.features(at, at + 1)[0].astype(np.float64)
        return row


def _fit_online(rows: Rows, progress: Progress) -> Ranker:
    from streamrec.models.rankers.online import OnlineRanker  # river takes seconds to import

    ranker = OnlineRanker(rows.width)
    ends = np.cumsum(rows.groups)
    for group, (begin, end) in enumerate(zip(ends - rows.groups, ends, strict=True)):
        ranker.learn(rows.features(int(begin), int(end)), rows.labels[begin:end])
        if group % 1_000 == 0:
            progress(f"online ranker: {group:,} of {len(ends):,} sessions learned")
    return ranker
