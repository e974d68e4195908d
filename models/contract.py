"""The small contract between the dataflow and what recommends: arrays in, arrays out.

A recommender proposes candidates for sessions, ranks them, and learns from each click. It knows
nothing of topics, workers or the wall clock: every time it sees is event time, handed in. The same
contract is used by the dataflow, by training and by `./justw evaluate`.

Order of calls: `recommend` for the sessions as they stand after a click, then `learn` for the same
clicks; predicting changes nothing. Equal seeds and equal calls give equal outputs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Sessions:
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


@dataclass(frozen=True, slots=True)
class Ranking:
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


@dataclass(frozen=True, slots=True)
class ModelInfo:
    name: str
    version: str  # digest of the artifact
    methods: tuple[str, ...]  # candidate methods, in the order of the bits
    features: tuple[str, ...]  # inputs of the ranker
    user_features: tuple[
        str, ...
    ]  # names that Sessions.user_features must follow; (): none are used


class Recommender(Protocol):
    """Candidates and ranking behind one face."""

    info: ModelInfo

    def recommend(self, sessions: Sessions, k: int) -> Ranking:
        """Rank what comes next in each session. Changes nothing."""

    def learn(self, sessions: Sessions) -> None:
        """Learn that the last item of each session has just been clicked, in this order."""

    def save(self, folder: Path) -> None:
        """Write everything learned, exactly, as files without code."""


class Ranker(Protocol):
    """Scores candidates; may learn online."""

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., n_features) to (...): larger is better. Changes nothing."""

    def learn(self, features: NDArray[np.float32], labels: NDArray[np.bool_]) -> None:
        """(rows, n_features), (rows,): one group of candidates shown, and which were taken.
        Raises TypeError where the ranker does not learn online."""
