"""`SessionModel`: a `SessionRecommender` as a flow serves it, by keys and ids, not numbers."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from streamrec.models.contract import ModelInfo, Ranking, Scope, Sessions
from streamrec.models.sessions.numbered import NumberedRanking, NumberedSessions
from streamrec.models.sessions.recommender import SessionRecommender


class SessionModel:
    """Keeps the contract of `models.contract`; one of a process.

    Items get their numbers when they are clicked first. A full table of items then forgets the one
    that was longest not seen, which is learning of a kind; answers do not depend on how often they
    are asked for.
    """

    scope: ClassVar[Scope] = "process"

    def __init__(self, recommender: SessionRecommender) -> None:
        self.recommender = recommender
        self._numbered: tuple[Sessions, NumberedSessions] | None = None  # the newest

    @property
    def info(self) -> ModelInfo:
        return self.recommender.info

    def numbered(self, sessions: Sessions) -> NumberedSessions:
        """The same sessions by the numbers of their items; items clicked first get one.

        A flow asks for some rows of a batch and then has all of them learned: they are numbered
        once.
        """
        whole, rows = (sessions, None) if sessions.part_of is None else sessions.part_of
        if self._numbered is None or self._numbered[0] is not whole:
            self._numbered = whole, self._number(whole)
        numbered = self._numbered[1]
        return numbered if rows is None else numbered.take(rows)

    def _number(self, sessions: Sessions) -> NumberedSessions:
        items = self.recommender.items
        last = sessions.bounds[1:] - 1
        # Clicked items get their numbers first, so that a session knows its own last item.
        items.numbers(sessions.item_keys[last], sessions.item_ids, add=True)
        return NumberedSessions(
            keys=sessions.keys,
            items=items.numbers(sessions.item_keys, None, add=False),
            times_ms=sessions.times_ms,
            bounds=sessions.bounds,
            positions=sessions.positions,
            user_features=sessions.user_features,
        )

    def recommend(self, sessions: Sessions, k: int) -> Ranking:
        """As the contract says."""
        return self.ranked_by(self.recommender, self.numbered(sessions), k)

    def recommend_with_inputs(
        self, sessions: Sessions, k: int, wanted: NDArray[np.bool_]
    ) -> tuple[Ranking, NDArray[np.float32]]:
        """As the contract says."""
        return self.ranked_with_inputs(self.recommender, self.numbered(sessions), k, wanted)

    def ranked_by(
        self, recommender: SessionRecommender, sessions: NumberedSessions, k: int
    ) -> Ranking:
        """The answer of a recommender that shares this one's items."""
        return self._by_ids(recommender.recommend(sessions, k))

    def ranked_with_inputs(
        self,
        recommender: SessionRecommender,
        sessions: NumberedSessions,
        k: int,
        wanted: NDArray[np.bool_],
    ) -> tuple[Ranking, NDArray[np.float32]]:
        """The same with the inputs of its ranker."""
        ranking, inputs = recommender.recommend_with_inputs(sessions, k, wanted)
        found = ranking.items[wanted] >= 0
        # As it is where nothing is missing: it is 6 kB an answer.
        flat = inputs.reshape(-1, inputs.shape[2]) if found.all() else inputs[found]
        return self._by_ids(ranking), flat

    def _by_ids(self, ranking: NumberedRanking) -> Ranking:
        found = ranking.items >= 0
        bounds = np.zeros(len(found) + 1, np.int64)
        np.cumsum(found.sum(axis=1), out=bounds[1:])
        ids = self.recommender.items.ids(ranking.items[found])
        return Ranking(ids, bounds, ranking.scores[found], ranking.methods[found])

    def learn(self, sessions: Sessions) -> None:
        """As the contract says."""
        self.recommender.learn(self.numbered(sessions))
        self._numbered = None
