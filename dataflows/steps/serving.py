"""The model of a process, shared by its shards and by the table of sessions."""

import logging
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.models.contract import ModelInfo, Sessions
from streamrec.models.loading import Model
from streamrec.models.sessions.variants import Variants
from streamrec.user_code import told

_logger = logging.getLogger(__name__)


class Serving:
    """A model, its lock, and what it did not learn. Worker threads take turns."""

    def __init__(
        self,
        model: Model,
        info: ModelInfo,
        user_columns: NDArray[np.int64],
        variants: Variants | None = None,
    ) -> None:
        self.model = model
        self.variants = variants  # rankers that are compared; None: the model answers by itself
        self.info = info  # as it was at the start: asking again calls user code
        self.user_columns = user_columns  # of the declared features, those that the model reads
        self.lock = threading.Lock()  # held for every call of the model
        self.not_learned = 0  # clicks of batches at which `learn` raised
        self.keeps: list[object] = []  # what lives as long as this

    def learn(self, recommender: Any, sessions: Sessions, place: str) -> None:
        """Learn, with the lock held; what it raises is counted and told with its place."""
        try:
            recommender.learn(sessions)
        except Exception as error:  # a model is user code: an answer that was given stands
            self.not_learned += len(sessions)
            _logger.error(
                "model %s: %d clicks may not have been learned (%s); %d in all: %s",
                self.info.name,
                len(sessions),
                place,
                self.not_learned,
                told(error),
                exc_info=error if _logger.isEnabledFor(logging.DEBUG) else None,
            )

    def unlearned(self, sessions: Sessions, topic: str, places: NDArray[np.int64]) -> Sessions:
        """The sessions without those whose last click training has learned; (n, 2) places of the
        clicks."""
        learned = self.model.learned
        if learned is None:
            return sessions
        times_ms = sessions.times_ms[sessions.bounds[1:] - 1]
        return _without(sessions, learned.holds(topic, places, times_ms))

    def learn_from_others(self, sessions: Sessions, place: str) -> None:
        """Learn what another process, or an earlier run, has read."""
        if self.model.shared is None:
            return
        if self.model.learned is not None:
            times_ms = sessions.times_ms[sessions.bounds[1:] - 1]
            sessions = _without(sessions, self.model.learned.holds_times(times_ms))
        if len(sessions):
            with self.lock:
                self.learn(self.model.shared, sessions, place)


def _without(sessions: Sessions, dropped: NDArray[np.bool_]) -> Sessions:
    return sessions if not dropped.any() else sessions.take(np.flatnonzero(~dropped))
