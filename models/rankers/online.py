"""`OnlineRanker`: river's logistic regression, which learns inside the flow from what was shown."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from river import linear_model, optim, preprocessing, utils

from streamrec.models.artifact import read_arrays, write_arrays
from streamrec.models.rankers.squash import squashed

_LEARNING_RATE = 0.002  # ten times as much ranked worse than the blend that it starts from
_L2 = 1e-5
_MISSED_MAX = 12  # of the candidates that were not taken, so many are learned from


class OnlineRanker:
    """Chance that a candidate is taken: standard scaling and logistic regression, both of river.

    `scores` is river's own prediction worked out for all rows at once. `learn` takes one group of
    candidates that was shown: each one taken, and twelve evenly spaced of those not, since
    a row costs about 0.1 ms (from the best of those not taken alone it would learn to rank upside
    down). Squashed inputs (`models.rankers.squash`). Used by one thread.

    State: 4 numbers a feature, never more; saved as an array and read back exactly.
    """

    kind: ClassVar[str] = "river"

    def __init__(self, n_features: int) -> None:
        self.n_features = n_features
        self._scaler = preprocessing.StandardScaler()
        self._model = linear_model.LogisticRegression(
            optimizer=optim.SGD(_LEARNING_RATE), l2=_L2, clip_gradient=10.0
        )
        self._refresh()

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., n_features) to (...). Changes nothing."""
        values = squashed(features).astype(np.float64)
        scaled = (values - self._means) * self._inverse
        scores: NDArray[np.float32] = (scaled @ self._weights).astype(np.float32)
        return scores + np.float32(self._model.intercept)

    def learn(self, features: NDArray[np.float32], labels: NDArray[np.bool_]) -> None:
        """(rows, n_features), (rows,): one group that was shown, best first, and what was taken."""
        taken = np.flatnonzero(labels)
        if len(taken) == 0:
            return
        missed = np.flatnonzero(~labels)
        step = max(len(missed) // _MISSED_MAX, 1)
        rows = np.sort(np.concatenate([taken, missed[::step][:_MISSED_MAX]]))
        for values, label in zip(
            squashed(features[rows]).astype(np.float64).tolist(),
            labels[rows].tolist(),
            strict=True,
        ):
            row = dict(enumerate(values))
            self._scaler.learn_one(row)  # type: ignore[no-untyped-call]  # river's are not typed
            scaled = self._scaler.transform_one(row)  # type: ignore[no-untyped-call]
            self._model.learn_one(scaled, bool(label))
        self._refresh()

    def save(self, folder: Path) -> list[str]:
        write_arrays(folder / "online.npz", self.state())
        return ["online.npz"]

    @classmethod
    def load(cls, folder: Path) -> "OnlineRanker":
        return cls.of_state(read_arrays(folder / "online.npz"))

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything learned, as arrays."""
        columns = range(self.n_features)
        weights = self._model.weights
        return {
            "counts": np.array([self._scaler.counts[each] for each in columns], np.int64),
            "means": np.array([self._scaler.means[each] for each in columns], np.float64),
            "variances": np.array([self._scaler.vars[each] for each in columns], np.float64),
            "weights": np.array([weights.get(each, 0.0) for each in columns], np.float64),
            "intercept": np.array([self._model.intercept], np.float64),
            "iterations": np.array([self._model.optimizer.n_iterations], np.int64),
        }

    @classmethod
    def of_state(cls, state: dict[str, NDArray[Any]]) -> "OnlineRanker":
        """The ranker that `state` described, exactly."""
        ranker = cls(len(state["means"]))
        if state["iterations"][0] > 0:
            scaler, model = ranker._scaler, ranker._model
            scaler.counts = Counter(dict(enumerate(state["counts"].tolist())))
            scaler.means = defaultdict(float, enumerate(state["means"].tolist()))
            scaler.vars = defaultdict(float, enumerate(state["variances"].tolist()))
            model._weights = utils.VectorDict(dict(enumerate(state["weights"].tolist())))
            model.intercept = float(state["intercept"][0])
            model.optimizer.n_iterations = int(state["iterations"][0])
        ranker._refresh()
        return ranker

    def _refresh(self) -> None:
        """The weights as arrays, for `scores`."""
        columns = range(self.n_features)
        weights = self._model.weights
        variances = np.array([self._scaler.vars[each] for each in columns])
        self._means = np.array([self._scaler.means[each] for each in columns])
        # As river does: a column that never varied is scaled to nothing.
        self._inverse = np.divide(
            1.0, np.sqrt(variances), out=np.zeros_like(variances), where=variances > 0
        )
        self._weights = np.array([weights.get(each, 0.0) for each in columns])
