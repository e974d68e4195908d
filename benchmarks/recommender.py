"""What the session recommender costs in CPU: a query by batch size, and a click learned.

Run `python -m benchmarks.recommender`. The shop is made up: 40,000 items, 400,000 clicks in
sessions of three to seven, every method and 160 trees of 31 leaves, top 20.
"""

import time

import lightgbm
import numpy as np

from streamrec.models.rankers.trees import TreeRanker
from streamrec.models.sessions.numbered import NumberedSessions
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.training.logs import ClickLog, SessionRows, take

_ITEMS = 40_000
_SESSIONS = 80_000
_QUERIES = 4_000
_TOP = 20
_REPEATS = 3


def made_log(seed: int = 0) -> ClickLog:
    """Sessions that go on to one of a few followers of the item before, popular items first."""
    rng = np.random.default_rng(seed)
    followers = rng.integers(0, _ITEMS, (_ITEMS, 8))
    lengths = rng.integers(3, 8, _SESSIONS)
    sessions = np.repeat(np.arange(_SESSIONS), lengths)
    items = (_ITEMS * rng.random(len(sessions)) ** 4).astype(np.int64)
    follows = (rng.random(len(sessions)) < 0.7) & (np.diff(sessions, prepend=-1) == 0)
    choice = (8 * rng.random(len(sessions)) ** 2).astype(np.int64)
    for click in np.flatnonzero(follows).tolist():
        items[click] = followers[items[click - 1], choice[click]]
    return ClickLog(sessions, items, 1_000 * np.arange(len(sessions), dtype=np.int64))


def made_trees(model: SessionRecommender, sessions: NumberedSessions) -> TreeRanker:
    """Trees of the usual size; what they say is of no matter here."""
    proposed = model.candidates(sessions)
    features = proposed.features.reshape(-1, proposed.features.shape[-1])
    rng = np.random.default_rng(0)
    labels = features[:, 6] + rng.random(len(features)) > 1.0
    options = {"objective": "binary", "num_leaves": 31, "verbose": -1, "num_threads": 1}
    booster = lightgbm.train(options, lightgbm.Dataset(features, labels.astype(np.int32)), 160)
    return TreeRanker.parse(booster.model_to_string())


def measure() -> dict[str, float]:
    """Microseconds of CPU, the least of three rounds: `query_us_batch_N` and `learn_us_batch_N`."""
    log = made_log()
    model = SessionRecommender()
    rows = SessionRows(log, model.items.numbers(log.items, None, add=True))
    held_back = 20_000
    model.learn(rows.sessions(slice(0, len(rows) - held_back)))
    asked = rows.sessions(slice(len(rows) - _QUERIES, len(rows)))
    model.ranker = made_trees(model, take(asked, slice(0, 500)))
    figures: dict[str, float] = {}
    for size in (1, 10, 100, 1_000):
        batches = [take(asked, slice(at, at + size)) for at in range(0, _QUERIES, size)]
        spent = []
        for _ in range(_REPEATS):
            begin = time.process_time_ns()
            for batch in batches:
                model.recommend(batch, _TOP)
            spent.append((time.process_time_ns() - begin) / 1e3 / _QUERIES)
        figures[f"query_us_batch_{size}"] = min(spent)
    first = len(rows) - held_back
    for size in (1, 100, 1_000):
        # The clicks are learned once by each size: the next size goes on where this one stopped.
        part = [rows.sessions(slice(at, at + size)) for at in range(first, first + 6_000, size)]
        begin = time.process_time_ns()
        for batch in part:
            model.learn(batch)
        figures[f"learn_us_batch_{size}"] = (time.process_time_ns() - begin) / 1e3 / 6_000
        first += 6_000
    figures["memory_mb_per_million_clicks"] = model.bytes_used / 1e6 / (len(rows) / 1e6)
    return figures


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:32} {value:8.2f}")  # noqa: T201  # a program's output
