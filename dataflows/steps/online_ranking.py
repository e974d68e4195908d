"""Ranking by a model that learns inside the flow: what a user does next labels what was shown."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.models.contract import Candidates, Ranking, Sessions
from streamrec.models.rankers.online import OnlineRanker
from streamrec.models.sessions.recommender import SessionRecommender

SHOWN_MAX = 10_000  # sessions of a shard whose last answer waits for its label; the oldest go first


@dataclass(frozen=True, slots=True)
class Shown:
    """What a session was shown last, best first."""

    item_keys: NDArray[np.int64]  # (k,)
    features: NDArray[np.float32]  # (k, n_features)


class OnlineRanking:
    """One shard's ranker. For each click, in order: learn its label, then predict.

    The click of a session is the label of what the session was shown before: taken or not. Each
    click is learned from once. The ranker's state is saved with the shard; what waits for its label
    is not, so a restart loses at most one label a session.
    """

    def __init__(self, recommender: SessionRecommender, saved: dict[str, Any] | None) -> None:
        self._recommender = recommender
        n_features = len(recommender.info.features)
        self._ranker = OnlineRanker(n_features) if saved is None else OnlineRanker.of_state(saved)
        if self._ranker.n_features != n_features:
            raise ValueError(
                f"saved ranker expected {self._ranker.n_features} inputs, got a model with "
                f"{n_features}; begin with a new recovery directory"
            )
        self._shown: OrderedDict[int, Shown] = OrderedDict()

    def state(self) -> dict[str, Any]:
        return self._ranker.state()

    def rank(
        self,
        sessions: Sessions,
        clicked: NDArray[np.int64],
        asking: NDArray[np.bool_],
        k: int,
    ) -> Ranking:
        """Take in the clicks of n sessions (`clicked`: their item keys) and rank for those asking.

        The ranking has a row for each session; rows of sessions that do not ask are empty (-1).
        """
        n = len(sessions)
        ranking = Ranking(
            items=np.full((n, k), -1, np.int32),
            scores=np.zeros((n, k), np.float32),
            methods=np.zeros((n, k), np.int32),
        )
        candidates = self._recommender.candidates(sessions)
        for row, (session, item) in enumerate(
            zip(sessions.keys.tolist(), clicked.tolist(), strict=True)
        ):
            shown = self._shown.pop(session, None)
            if shown is not None:
                self._ranker.learn(shown.features, shown.item_keys == item)
            if asking[row]:
                self._answer(session, row, candidates, ranking)
        return ranking

    def _answer(self, session: int, row: int, candidates: Candidates, ranking: Ranking) -> None:
        k = ranking.items.shape[1]
        found = np.flatnonzero(candidates.items[row] >= 0)
        features = np.ascontiguousarray(candidates.features[row, found])
        scores = self._ranker.scores(features)
        # Equal scores (an untaught ranker's are) keep the order of the blend.
        best = np.argsort(-scores, kind="stable")[:k]
        items = candidates.items[row, found[best]]
        ranking.items[row, : len(best)] = items
        ranking.scores[row, : len(best)] = scores[best]
        ranking.methods[row, : len(best)] = candidates.methods[row, found[best]]
        self._shown[session] = Shown(self._recommender.items.keys(items), features[best])
        if len(self._shown) > SHOWN_MAX:
            self._shown.popitem(last=False)
