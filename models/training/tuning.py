"""Choosing the weights of the methods by a seeded search on validation sessions."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.sessions.weights import Weights
from streamrec.models.training.logs import Judged
from streamrec.models.training.metrics import hits, reciprocal_ranks, target_ranks
from streamrec.models.training.rows import CUT_OFF

Progress = Callable[[str], None]

# More cost more: a query's votes are the dearest part of it. On validation sessions of two shops
# 80 to 500 were equally good (DECISIONS.md).
_NEIGHBOURS = (60, 120)


def quality(model: SessionRecommender, judged: Judged) -> float:
    """What tuning maximises: HR@20 + MRR@20."""
    ranks = target_ranks(model.recommend(judged.sessions, 2 * CUT_OFF), judged.targets)
    return float(hits(ranks, CUT_OFF).mean() + reciprocal_ranks(ranks, CUT_OFF).mean())


def tune_weights(
    model: SessionRecommender,
    judged: Judged,
    rng: np.random.Generator,
    trials: int,
    deadline: float,
    progress: Progress = lambda message: None,
) -> Weights:
    """Weights by random steps from the best so far: first those of kNN alone, then of the blend.

    The model's index is asked as it stands; its weights are those found when this returns.
    `deadline`, of `time.monotonic()`, ends the search early and is the only thing in it that is
    not decided by the seed.
    """
    best = model.weights
    alone = model.alone("knn")
    for name, subject, step in (("knn", alone, _step_knn), ("blend", model, _step_blend)):
        subject.use_weights(best)
        top = quality(subject, judged)
        for trial in range(trials):
            if time.monotonic() > deadline:
                break
            tried = step(best, rng)
            subject.use_weights(tried)
            value = quality(subject, judged)
            if value > top:
                best, top = tried, value
            progress(
                f"weights of {name}: {trial + 1} of up to {trials} tried, best HR@20 + MRR@20 on "
                f"the clicks to tune on {top:.3f}"
            )
    model.use_weights(best)
    return best


def _step_knn(weights: Weights, rng: np.random.Generator) -> Weights:
    factors = np.exp(rng.normal(0.0, 0.4, 7) * (rng.random(7) < 0.5))
    neighbours = round(_within(weights.neighbours * factors[6], *_NEIGHBOURS))
    return replace(
        weights,
        sampled=2 * neighbours,
        neighbours=neighbours,
        recency_sessions=_within(weights.recency_sessions * factors[0] ** 2, 1e3, 1e7),
        idf_power=_within(weights.idf_power * factors[1], 0.05, 8.0),
        query_decay=_within(weights.query_decay * factors[2], 0.05, 0.98),
        after_decay=_within(weights.after_decay * factors[3], 0.05, 0.99),
        before_decay=_within(weights.before_decay * factors[4], 0.05, 0.99),
        before_weight=_within(weights.before_weight * factors[5], 0.01, 3.0),
    )


def _step_blend(weights: Weights, rng: np.random.Generator) -> Weights:
    factors = np.exp(
        rng.normal(0.0, 0.6, len(weights.blend)) * (rng.random(len(weights.blend)) < 0.4)
    )
    steps = np.exp(rng.normal(0.0, 0.2, 2))
    return replace(
        weights,
        blend={
            name: _within(value * factor, 1e-3, 10.0)
            for (name, value), factor in zip(weights.blend.items(), factors, strict=True)
        },
        rule_decay=_within(weights.rule_decay * steps[0], 0.05, 0.95),
        repeat_decay=_within(weights.repeat_decay * steps[1], 0.05, 0.99),
    )


def _within(value: float, least: float, most: float) -> float:
    return float(np.clip(value, least, most))
