"""Models asked about held-out clicks: how often they are right, and what that costs.

Nothing is ever fitted to what is judged by.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamrec.models.sessions.candidate_kernel import METHODS
from streamrec.models.sessions.numbered import NumberedSessions
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.training.fitting import RANKERS
from streamrec.models.training.logs import ClickLog, Judged, SessionRows
from streamrec.models.training.metrics import Mean, hits, mean_of, reciprocal_ranks, target_ranks

_ASKED = 40  # items asked for: twice the largest cut-off, so that ties across it count against us
_SHOWN = 20
_BATCH = 64
_ALONE_MAX = 2_000  # queries asked one by one for their cost
_COLD_CLICKS = 5  # a target with at most so many training clicks is a cold item
_TEST_KEYS = 1 << 40  # keeps the sessions of a test file apart from those learned
MODELS = (*RANKERS, "blend", *METHODS)


Progress = Callable[[int, int], None]  # queries asked just now, and how many there are in all


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of CPU a query."""

    batch_median_us: float
    batch_p99_us: float
    alone_median_us: float
    alone_p99_us: float


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table."""

    model: str
    prequential: bool
    queries: int
    hr5: Mean
    hr10: Mean
    hr20: Mean
    mrr20: Mean
    cold_items: tuple[Mean, Mean]  # HR@20, MRR@20 of targets with few training clicks or none
    cold_sessions: tuple[Mean, Mean]  # of sessions of one click
    repeats: tuple[Mean, Mean]  # of targets that are in their session already
    new_in_session: tuple[Mean, Mean]  # of the others
    coverage: float  # share of the known items that were shown to anybody
    popularity_rank: float  # mean rank by training clicks of what was shown, 1 the most popular
    cost: Cost
    learn_us: float  # of CPU a click learned
    training_s: float
    memory_mb: float


class Asked:
    """What one model said to the queries so far, and what it cost."""

    def __init__(self, name: str, model: SessionRecommender) -> None:
        self.name = name
        self.model = model
        self.ranks: list[NDArray[np.int64]] = []
        self.shown: list[NDArray[np.int32]] = []
        self.batch_us: list[float] = []

    def ask(self, judged: Judged) -> None:
        begin = time.process_time_ns()
        self.model.recommend(judged.sessions, _SHOWN)
        self.batch_us.append((time.process_time_ns() - begin) / 1e3 / len(judged))
        # Asked again for more, untimed: ties across the cut-off have to be seen.
        ranking = self.model.recommend(judged.sessions, _ASKED)
        self.ranks.append(target_ranks(ranking, judged.targets))
        self.shown.append(ranking.items[:, :_SHOWN])

    def result(
        self,
        judged: Judged,
        clicks: NDArray[np.int64],
        prequential: bool,
        learn_us: float,
        training_s: float,
    ) -> Result:
        """`clicks` (n_items,): training clicks by item number."""
        ranks = np.concatenate(self.ranks)
        shown = np.concatenate(self.shown).ravel()
        shown = shown[(shown >= 0) & (shown < len(clicks))]
        targets = judged.targets
        known = np.flatnonzero(clicks > 0)
        popularity = np.empty(len(clicks), np.int64)
        popularity[np.argsort(-clicks, kind="stable")] = np.arange(1, len(clicks) + 1)
        cold = (targets < 0) | (clicks[np.maximum(targets, 0)] <= _COLD_CLICKS)
        repeat = is_repeat(judged)
        alone = self._alone_us(judged.sessions)
        return Result(
            model=self.name,
            prequential=prequential,
            queries=len(judged),
            hr5=mean_of(hits(ranks, 5)),
            hr10=mean_of(hits(ranks, 10)),
            hr20=mean_of(hits(ranks, 20)),
            mrr20=mean_of(reciprocal_ranks(ranks, 20)),
            cold_items=_pair(ranks[cold]),
            cold_sessions=_pair(ranks[judged.sessions.positions == 1]),
            repeats=_pair(ranks[repeat]),
            new_in_session=_pair(ranks[~repeat]),
            coverage=len(np.unique(shown)) / max(len(known), 1),
            popularity_rank=float(popularity[shown].mean()) if len(shown) else 0.0,
            cost=Cost(
                float(np.median(self.batch_us)),
                float(np.quantile(self.batch_us, 0.99)),
                float(np.median(alone)),
                float(np.quantile(alone, 0.99)),
            ),
            learn_us=learn_us,
            training_s=training_s,
            memory_mb=self.model.bytes_used / 1e6,
        )

    def _alone_us(self, sessions: NumberedSessions) -> NDArray[np.float64]:
        rows = np.linspace(0, len(sessions) - 1, min(_ALONE_MAX, len(sessions))).astype(np.int64)
        spent = np.empty(len(rows))
        for place, row in enumerate(rows.tolist()):
            first, end = sessions.bounds[row], sessions.bounds[row + 1]
            one = NumberedSessions(
                keys=sessions.keys[row : row + 1],
                items=sessions.items[first:end],
                times_ms=sessions.times_ms[first:end],
                bounds=np.array([0, end - first]),
                positions=sessions.positions[row : row + 1],
                user_features=sessions.user_features[row : row + 1],
            )
            begin = time.process_time_ns()
            self.model.recommend(one, _SHOWN)
            spent[place] = (time.process_time_ns() - begin) / 1e3
        return spent


def is_repeat(judged: Judged) -> NDArray[np.bool_]:
    """Whether each target is in its session already, (n,)."""
    sessions = judged.sessions
    row = np.repeat(np.arange(len(judged)), np.diff(sessions.bounds))
    same = (sessions.items == judged.targets[row]) & (sessions.items >= 0)
    return np.bincount(row[same], minlength=len(judged)) > 0


def _pair(ranks: NDArray[np.int64]) -> tuple[Mean, Mean]:
    return mean_of(hits(ranks, _SHOWN)), mean_of(reciprocal_ranks(ranks, _SHOWN))


def asked_models(trained: SessionRecommender, names: Sequence[str]) -> list[Asked]:
    """The models by name, all on the index that `trained` has learned."""
    asked = []
    for name in names:
        # What is learned is the same for all: predicting changes nothing, so they can share it.
        model = trained.alone(*((name,) if name in METHODS else METHODS))
        if name in RANKERS:
            model.ranker = trained.ranker
        asked.append(Asked(name, model))
    return asked


def judge(
    asked: list[Asked],
    judged: Judged,
    rows: SessionRows | None = None,
    progress: Progress = lambda count, total: None,
) -> None:
    """Ask every model about every query; with `rows`, learn each click of the test log after it
    was judged, in batches of 64 clicks (prequential)."""
    if rows is None:
        for first in range(0, len(judged), _BATCH):
            _ask_all(asked, judged, slice(first, first + _BATCH), progress)
        return
    index = asked[0].model
    of_row = rows.judged_rows()[: len(judged)]
    end_row = int(of_row[-1]) + 1 if len(of_row) else 0
    for first in range(0, end_row, _BATCH):
        begin, end = np.searchsorted(of_row, [first, first + _BATCH])
        if begin < end:
            # Targets by their numbers of now: the item may have become known since.
            _ask_all(asked, judged, slice(int(begin), int(end)), progress)
        index.learn(rows.sessions(slice(first, min(first + _BATCH, len(rows)))))


def _ask_all(asked: list[Asked], judged: Judged, part: slice, progress: Progress) -> None:
    batch = judged[part]
    for each in asked:
        each.ask(batch)
    progress(len(batch), len(judged))


@dataclass(frozen=True, slots=True)
class Judge:
    """A trained model and those that share its index, before a test log or questions."""

    model: SessionRecommender
    log: ClickLog  # what the model was trained on
    names: Sequence[str]  # some of MODELS
    training_s: float
    progress: Progress

    def of_questions(self, judged: Judged) -> list[Result]:
        """Each question by itself; nothing is learned."""
        return self._results(judged, None)

    def of_log(
        self, test: ClickLog, limit: int | None = None, prequential: bool = False
    ) -> list[Result]:
        """Each click after a session's first; with `prequential` then again, learning live."""
        # Items first seen in the test have no number while nothing is learned from it.
        rows = SessionRows(test, self.model.items.numbers(test.items, None, add=False), _TEST_KEYS)
        judged = rows.judged(rows.judged_rows()[:limit])
        results = self._results(judged, None)
        if prequential:
            numbers = self.model.items.numbers(test.items, None, add=True)
            rows = SessionRows(test, numbers, _TEST_KEYS)
            results += self._results(rows.judged(rows.judged_rows()[:limit]), rows)
        return results

    def _results(self, judged: Judged, rows: SessionRows | None) -> list[Result]:
        if not len(judged):
            return []
        numbers = self.model.items.numbers(self.log.items, None, add=False)
        clicks = np.bincount(numbers, minlength=len(self.model.items))
        learn_us = _learn_us(self.log, self.model)
        asked = asked_models(self.model, self.names)
        judge(asked, judged, rows, self.progress)
        return [
            each.result(judged, clicks, rows is not None, learn_us, self.training_s)
            for each in asked
        ]


def _learn_us(log: ClickLog, model: SessionRecommender) -> float:
    """CPU of learning a click, measured on the log's last 50,000 by a recommender of its own."""
    part = log[slice(max(len(log) - 50_000, 0), len(log))]
    fresh = SessionRecommender(model.bounds, model.weights)
    rows = SessionRows(part, fresh.items.numbers(part.items, None, add=True))
    spent = 0
    for first in range(0, len(part), _BATCH):
        sessions = rows.sessions(slice(first, min(first + _BATCH, len(part))))
        begin = time.process_time_ns()
        fresh.learn(sessions)
        spent += time.process_time_ns() - begin
    return spent / 1e3 / len(part)
