"""Training from a click log: replay it, ask before learning, tune on its end, grow the trees.

Every training row is made from what was known before its click. The log is cut into blocks; the
sessions that begin in a block are asked about with an index that ends where the block begins, and
only then is the block learned. Asking with an index some hours old, rather than up to the click,
is what a published test does to a model, and what a worker sees that lags behind. What is tuned is
tuned on the last part of the log, and no test file is ever seen here.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import lightgbm
import numpy as np
from numpy.typing import NDArray

from models.clicks import ClickLog, Judged, SessionRows
from models.contract import Ranker, Sessions
from models.metrics import hits, reciprocal_ranks, target_ranks
from models.recommender import SessionRecommender
from models.settings import Bounds, Weights
from models.trees import LEAVES_MAX, TreeRanker
from schemas.columns import Bytes

_LEARN_CHUNK = 20_000  # clicks handed over at once, a matter of memory only
_ASK_CHUNK = 512
_CUT_OFF = 20
_ENOUGH_QUESTIONS = 200  # with fewer, the blend is not worth learning from

RANKERS = ("lightgbm", "sklearn", "river")
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What training may cost and where its rows come from."""

    budget_minutes: float = 10.0
    seed: int = 0
    threads: int = 2
    validation_share: float = 0.08  # of the log's clicks, at its end
    rows_from_share: float = 0.35  # of the log's clicks: earlier ones only fill the index
    blocks: int = 24
    questions_max: int = 80_000  # sessions asked about; about 22 kB each
    questions_tuning: int = 4_000  # of the validation part, for each trial of weights
    trials: int = 48

    def __post_init__(self) -> None:
        if self.budget_minutes <= 0:
            raise ValueError(f"budget_minutes expected > 0, got {self.budget_minutes!r}")
        if not 0 < self.validation_share < 0.5:
            raise ValueError(f"validation_share expected 0 to 0.5, got {self.validation_share!r}")


@dataclass(frozen=True, slots=True)
class Rows:
    """Candidates of n sessions whose target is among them, group after group."""

    features: NDArray[np.float32]  # (rows, n_features)
    labels: NDArray[np.bool_]  # (rows,)
    groups: NDArray[np.int32]  # (n,) rows of each


def quality(model: SessionRecommender, judged: Judged) -> float:
    """What tuning maximises: HR@20 + MRR@20."""
    ranks = target_ranks(model.recommend(judged.sessions, 2 * _CUT_OFF), judged.targets)
    return float(hits(ranks, _CUT_OFF).mean() + reciprocal_ranks(ranks, _CUT_OFF).mean())


def train(
    log: ClickLog,
    ids: Bytes | None = None,
    bounds: Bounds | None = None,
    settings: TrainingSettings | None = None,
    ranker: str = "lightgbm",
    progress: Progress = lambda message: None,
) -> SessionRecommender:
    """A recommender that has learned the whole log, weights and ranker chosen within the budget.

    `ids` are the id strings of the log's items, row by row; None: the keys are the ids. Equal
    seeds give equal models unless the budget cuts the work short. Raises ValueError where the log
    has more items than `bounds` keep.
    """
    settings = settings or TrainingSettings()
    bounds = bounds or Bounds()
    distinct = len(np.unique(log.items))
    if distinct > bounds.items_max:
        raise ValueError(
            f"items_max expected at least the log's {distinct} items, got {bounds.items_max}"
        )
    started = time.monotonic()
    deadline = started + 60.0 * settings.budget_minutes
    rng = np.random.default_rng(settings.seed)
    split = int(len(log) * (1.0 - settings.validation_share))

    progress(f"learning {split} clicks to tune the weights on the {len(log) - split} after them")
    first = _fresh(log, ids, bounds, Weights(), ranker="none")
    learn_rows(first.model, first.rows, 0, split)
    judged = first.rows.judged(_questions(first.rows, split, len(log), rng, settings.questions_tuning))
    weights = Weights()
    if len(judged) >= _ENOUGH_QUESTIONS:
        weights = tune_weights(
            first.model, judged, rng, settings.trials, started + 0.2 * (deadline - started), progress
        )
    del first

    progress("replaying the clicks, asking before learning")
    replay = _fresh(log, ids, bounds, weights, ranker)
    model, rows = replay.model, replay.rows
    start = int(len(log) * settings.rows_from_share)
    cuts = np.unique(
        np.concatenate(
            [np.linspace(start, len(log), settings.blocks + 1).astype(np.int64), [split]]
        )
    )
    learn_rows(model, rows, 0, start)
    made: list[Rows] = []
    held_out: tuple[NDArray[np.float32], Judged, NDArray[np.int32]] | None = None
    n_before_split = 0
    for begin, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        if begin == split:
            n_before_split = len(made)
            held_out = _held_out(model, rows, split, len(log), rng)
        wanted = round(settings.questions_max * (end - begin) / (len(log) - start))
        questions = _questions(rows, begin, end, rng, wanted)
        if len(questions):
            made.append(rows_of(model, rows, questions))
        learn_rows(model, rows, begin, end)
        progress(f"asked about {sum(len(each.groups) for each in made)} sessions")
    n_questions = sum(len(each.groups) for each in made)
    if ranker == "none" or held_out is None or n_questions < _ENOUGH_QUESTIONS:
        return model
    model.ranker = _fit(ranker, made, n_before_split, held_out, settings, deadline, progress)
    return model


@dataclass(frozen=True, slots=True)
class _Replay:
    model: SessionRecommender
    rows: SessionRows


def _fresh(
    log: ClickLog, ids: Bytes | None, bounds: Bounds, weights: Weights, ranker: str
) -> _Replay:
    model = SessionRecommender(bounds, weights)
    return _Replay(model, SessionRows(log, model.items.numbers(log.items, ids, add=True)))


def learn_rows(model: SessionRecommender, rows: SessionRows, begin: int, end: int) -> None:
    """Learn the clicks `begin` to `end` of the log, in order."""
    for first in range(begin, end, _LEARN_CHUNK):
        model.learn(rows.sessions(slice(first, min(first + _LEARN_CHUNK, end))))


def _questions(
    rows: SessionRows, begin: int, end: int, rng: np.random.Generator, wanted: int
) -> NDArray[np.int64]:
    """Up to `wanted` clicks of sessions that begin and go on within [begin, end), in order."""
    block = np.arange(begin, end)
    place = rows.place[begin:end]
    # A session begins in the block where its first click is not before it.
    row_of_place = rows.row_of_place()
    begins = row_of_place[rows.first[begin:end]] >= begin
    goes_on = place < rows.last[begin:end]
    follows = row_of_place[np.minimum(place + 1, len(rows) - 1)] < end
    questions = block[begins & goes_on & follows]
    if len(questions) > wanted:
        questions = np.sort(rng.choice(questions, wanted, replace=False))
    return questions


def rows_of(model: SessionRecommender, rows: SessionRows, questions: NDArray[np.int64]) -> Rows:
    """Training rows of the questions whose target is proposed; all candidates of each are rows."""
    features: list[NDArray[np.float32]] = []
    labels: list[NDArray[np.bool_]] = []
    groups: list[NDArray[np.int32]] = []
    for first in range(0, len(questions), _ASK_CHUNK):
        judged = rows.judged(questions[first : first + _ASK_CHUNK])
        proposed = model.candidates(judged.sessions)
        taken = proposed.items == judged.targets[:, None]
        useful = taken.any(axis=1) & (judged.targets >= 0)
        filled = proposed.items[useful] >= 0
        features.append(proposed.features[useful][filled])
        labels.append(taken[useful][filled])
        groups.append(filled.sum(axis=1).astype(np.int32))
    return Rows(np.concatenate(features), np.concatenate(labels), np.concatenate(groups))


def _held_out(
    model: SessionRecommender, rows: SessionRows, begin: int, end: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], Judged, NDArray[np.int32]]:
    judged = rows.judged(_questions(rows, begin, end, rng, 6_000))
    proposed = model.candidates(judged.sessions)
    return proposed.features, judged, proposed.items


def _held_out_quality(
    ranker: Ranker, held_out: tuple[NDArray[np.float32], Judged, NDArray[np.int32]]
) -> tuple[float, float]:
    """HR@20 and MRR@20 of a ranker on candidates made once."""
    features, judged, items = held_out
    scores = np.where(items >= 0, ranker.scores(features), -np.inf)
    found = (items == judged.targets[:, None]) & (judged.targets[:, None] >= 0)
    mine = np.max(np.where(found, scores, -np.inf), axis=1)
    ranks = np.where(found.any(axis=1), (scores >= mine[:, None]).sum(axis=1), 0)
    return float(hits(ranks, _CUT_OFF).mean()), float(reciprocal_ranks(ranks, _CUT_OFF).mean())


def tune_weights(
    model: SessionRecommender,
    judged: Judged,
    rng: np.random.Generator,
    trials: int,
    deadline: float,
    progress: Progress = lambda message: None,
) -> Weights:
    """Weights of the methods by random steps from the best so far: first kNN alone, then the blend.

    The model's index is asked as it stands; its weights are those found when this returns.
    """
    best = model.weights
    alone = SessionRecommender(model.bounds, best, methods=("knn",))
    alone.items, alone.index = model.items, model.index
    for name, subject, step in (
        ("knn", alone, _step_knn),
        ("blend", model, _step_blend),
    ):
        subject.with_weights(best)
        top = quality(subject, judged)
        for trial in range(trials):
            if time.monotonic() > deadline:
                break
            tried = step(best, rng)
            subject.with_weights(tried)
            value = quality(subject, judged)
            if value > top:
                best, top = tried, value
            progress(f"{name} {trial + 1}/{trials}: {value:.4f}, best {top:.4f}")
    model.with_weights(best)
    return best


def _step_knn(weights: Weights, rng: np.random.Generator) -> Weights:
    spread = np.exp(rng.normal(0.0, 0.4, 6) * (rng.random(6) < 0.5))
    return replace(
        weights,
        recency_sessions=float(np.clip(weights.recency_sessions * spread[0] ** 2, 1e3, 1e7)),
        idf_power=float(np.clip(weights.idf_power * spread[1], 0.05, 4.0)),
        query_decay=float(np.clip(weights.query_decay * spread[2], 0.05, 0.98)),
        after_decay=float(np.clip(weights.after_decay * spread[3], 0.05, 0.99)),
        before_decay=float(np.clip(weights.before_decay * spread[4], 0.05, 0.99)),
        before_weight=float(np.clip(weights.before_weight * spread[5], 0.01, 3.0)),
    )


def _step_blend(weights: Weights, rng: np.random.Generator) -> Weights:
    blend = {
        name: float(np.clip(value * np.exp(rng.normal(0.0, 0.6) * (rng.random() < 0.4)), 1e-3, 10))
        for name, value in weights.blend.items()
    }
    return replace(
        weights,
        blend=blend,
        rule_decay=float(np.clip(weights.rule_decay * np.exp(rng.normal(0, 0.2)), 0.05, 0.95)),
        repeat_decay=float(np.clip(weights.repeat_decay * np.exp(rng.normal(0, 0.2)), 0.05, 0.99)),
    )


def _fit(
    ranker: str,
    made: list[Rows],
    n_before_split: int,
    held_out: tuple[NDArray[np.float32], Judged, NDArray[np.int32]],
    settings: TrainingSettings,
    deadline: float,
    progress: Progress,
) -> Ranker:
    assert ranker == "lightgbm"
    rng = np.random.default_rng(settings.seed + 1)
    best = dict(DEFAULT_TREES)
    return fit_trees(joined(made), best, settings)


DEFAULT_TREES: dict[str, float] = {
    "trees": 160,
    "num_leaves": 31,
    "learning_rate": 0.1,
    "min_data_in_leaf": 100,
    "lambda_l2": 5.0,
    "feature_fraction": 0.7,
    "lambdarank_truncation_level": 25,
}


def fit_trees(rows: Rows, options: dict[str, float], settings: TrainingSettings) -> TreeRanker:
    options = dict(options)
    trees = int(options.pop("trees"))
    data = lightgbm.Dataset(
        rows.features, rows.labels.astype(np.int32), group=rows.groups, free_raw_data=True
    )
    booster = lightgbm.train(
        {
            "objective": "lambdarank",
            "metric": "none",
            "verbose": -1,
            "seed": settings.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": settings.threads,
            **options,
        },
        data,
        trees,
    )
    return TreeRanker.parse(booster.model_to_string())


def joined(made: list[Rows]) -> Rows:
    return Rows(
        np.concatenate([each.features for each in made]),
        np.concatenate([each.labels for each in made]),
        np.concatenate([each.groups for each in made]),
    )
