"""Sessions, rankings and candidates by the numbers of an `ItemTable`: what the kernels work on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamrec.models.contract import spans


@dataclass(frozen=True, slots=True)
class NumberedSessions:
    """n sessions, each as it stands right after its latest click, in the order of those clicks."""

    keys: NDArray[np.int64]  # (n,) which session: equal keys are the same session
    items: NDArray[
        np.int32
    ]  # (total,) item numbers of an ItemTable, oldest first, session after session; -1: unknown
    times_ms: NDArray[
        np.int64
    ]  # (total,) event time of each click, Unix milliseconds; 0: not known
    bounds: NDArray[np.int64]  # (n + 1,) session i is items[bounds[i]:bounds[i + 1]]; may be empty
    positions: NDArray[
        np.int32
    ]  # (n,) clicks in the session so far, which may be more than are kept in items
    user_features: NDArray[
        np.float32
    ]  # (n, n_user_features) as declared in models.users.features; (n, 0): no users

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: NDArray[np.int64]) -> "NumberedSessions":
        """Some of the sessions, in the order given."""
        bounds, flat = spans(self.bounds, rows)
        return NumberedSessions(
            keys=self.keys[rows],
            items=self.items[flat],
            times_ms=self.times_ms[flat],
            bounds=bounds,
            positions=self.positions[rows],
            user_features=self.user_features[rows],
        )


@dataclass(frozen=True, slots=True)
class NumberedRanking:
    """The answer to n sessions: the best k items of each, best first."""

    items: NDArray[np.int32]  # (n, k) item numbers; -1: fewer than k candidates
    scores: NDArray[np.float32]  # (n, k) larger is better; comparable within a row only
    methods: NDArray[np.int32]  # (n, k) bit i: proposed by the i-th of ModelInfo.methods


@dataclass(frozen=True, slots=True)
class Candidates:
    """What the methods propose for n sessions, with the ranker's inputs; c slots each."""

    items: NDArray[
        np.int32
    ]  # (n, c) item numbers in the order of the untrained blend, best first; -1: empty
    methods: NDArray[np.int32]  # (n, c) bit i: proposed by the i-th of ModelInfo.methods
    features: NDArray[np.float32]  # (n, c, n_features) in the order of ModelInfo.features
