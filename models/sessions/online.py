"""`OnlineModel`: ranks by a model that learns inside the flow; what is clicked labels what was
shown."""

from collections import OrderedDict
from dataclasses import dataclass
from itertools import compress
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from streamrec.models.contract import ModelInfo, Ranking, Scope, Sessions
from streamrec.models.loading import Model, ModelOptions, untrained
from streamrec.models.rankers.online import OnlineRanker
from streamrec.models.sessions.model import SessionModel

SHOWN_MAX = 10_000  # sessions of a shard whose last answer waits for its label; the oldest go first


@dataclass(frozen=True, slots=True)
class Shown:
    """What a session was shown last, best first."""

    item_keys: NDArray[np.int64]  # (k,)
    features: NDArray[np.float32]  # (k, n_features)


class OnlineModel:
    """One shard's ranker over the candidates of the process's session model.

    The click of a session is the label of what the session was shown before: taken or not. Each
    click is learned from once, and also by the session model. The ranker's state is saved with the
    shard; what waits for its label is not, so a restart loses at most one label a session.
    """

    scope: ClassVar[Scope] = "shard"
    one_by_one = True  # each click may teach the ranker of the next

    def __init__(self, sessions: SessionModel) -> None:
        self.beside = sessions
        self._ranker = OnlineRanker(len(sessions.info.features))
        self._answers: dict[int, Shown] = {}  # to the clicks that are learned next
        self._shown: OrderedDict[int, Shown] = OrderedDict()  # waits for its session's next click

    @property
    def info(self) -> ModelInfo:
        return self.beside.info

    def state(self) -> dict[str, Any]:
        """The ranker's, as arrays."""
        return self._ranker.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Become the ranker whose `state()` this is. Raises ValueError for other inputs."""
        ranker = OnlineRanker.of_state(state)
        if ranker.n_features != self._ranker.n_features:
            raise ValueError(
                f"saved ranker expected {ranker.n_features} inputs, got a model with "
                f"{self._ranker.n_features}; begin with a new recovery directory"
            )
        self._ranker = ranker

    def recommend(self, sessions: Sessions, k: int) -> Ranking:
        """As the contract says. Remembers what was shown, which no answer depends on."""
        return self._recommend(sessions, k)[0]

    def recommend_with_inputs(
        self, sessions: Sessions, k: int, wanted: NDArray[np.bool_]
    ) -> tuple[Ranking, NDArray[np.float32]]:
        """As the contract says."""
        ranking, inputs = self._recommend(sessions, k)
        return ranking, np.concatenate([inputs[0][:0], *compress(inputs, wanted.tolist())])

    def _recommend(self, sessions: Sessions, k: int) -> tuple[Ranking, list[NDArray[np.float32]]]:
        self._answers.clear()  # of clicks that were never learned
        recommender = self.beside.recommender
        candidates = recommender.candidates(self.beside.numbered(sessions))
        items: list[NDArray[np.int32]] = []
        scores: list[NDArray[np.float32]] = []
        methods: list[NDArray[np.int32]] = []
        inputs: list[NDArray[np.float32]] = []
        for row, session in enumerate(sessions.keys.tolist()):
            found = np.flatnonzero(candidates.items[row] >= 0)
            features = np.ascontiguousarray(candidates.features[row, found])
            scored = self._ranker.scores(features)
            # Equal scores (an untaught ranker's are) keep the order of the blend.
            best = np.argsort(-scored, kind="stable")[:k]
            items.append(candidates.items[row, found[best]])
            scores.append(scored[best])
            methods.append(candidates.methods[row, found[best]])
            inputs.append(features[best])
            self._answers[session] = Shown(recommender.items.keys(items[-1]), inputs[-1])
        numbers = np.concatenate([np.zeros(0, np.int32), *items])
        ranking = Ranking(
            item_ids=recommender.items.ids(numbers),
            bounds=np.cumsum([0, *map(len, items)]),
            scores=np.concatenate([np.zeros(0, np.float32), *scores]),
            methods=np.concatenate([np.zeros(0, np.int32), *methods]),
        )
        return ranking, inputs

    def learn(self, sessions: Sessions) -> None:
        """As the contract says."""
        clicked = sessions.item_keys[sessions.bounds[1:] - 1].tolist()
        for session, item in zip(sessions.keys.tolist(), clicked, strict=True):
            shown = self._shown.pop(session, None)
            if shown is not None:
                self._ranker.learn(shown.features, shown.item_keys == item)
            answer = self._answers.pop(session, None)
            if answer is not None:
                self._shown[session] = answer
        while len(self._shown) > SHOWN_MAX:
            self._shown.popitem(last=False)
        self.beside.learn(sessions)


def online(options: ModelOptions) -> Model:
    """The kind `river`."""
    shared = untrained(options).shared
    assert isinstance(shared, SessionModel)
    return Model(shared, lambda: OnlineModel(shared))
