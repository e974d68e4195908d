"""The small contract between the dataflow and what recommends: keys and ids in, ids out.

A recommender proposes and ranks items for sessions, and learns from each click. It knows nothing of
topics, workers or the wall clock: every time it sees is event time, handed in. How it numbers items
inside is its own business.

*Order of calls.* `recommend` for sessions as they stand after a click, then `learn` for the same
clicks; predicting changes no answer. Equal seeds and equal calls give equal outputs. With
`one_by_one` the two are called click by click, else with what a batch holds.

*Scope.* One of the *process* (`scope = "process"`, the default) is one object for all shards and
worker threads. It learns each click of its process at once, and those of other processes, and of
the days before its start, from the topic `sessions`; the flow saves nothing of it. One of the
*shard* is made anew for each shard and learns that shard's clicks only; its `state()`, arrays
without objects, is saved with each snapshot and handed to `restore` when the flow resumes. (The
kind `river` stands on one of the process, its `beside`, which is rebuilt as any of the process.)

*Locks.* Every call is made under one lock of the process, so none needs to be safe for threads.

*Errors.* What `recommend` raises is tried again click by click and is then the record's own: it is
on `errors` as `model_failed`, and its neighbours are answered. What `learn` raises is logged with
its place and counted; the answers stand, the flow goes on, and the batch is not tried again.

`models.checks.check_recommender`, and `streamrec model check`, tell what a class gets wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from streamrec.schemas.columns import Bytes, strings, take

Scope = Literal["process", "shard"]


@dataclass(frozen=True, slots=True)
class Sessions:
    """n sessions, each as it stands right after its latest click, in the order of those clicks.

    An item has a key, the 64-bit hash of its id (`schemas.hashing.hash64`). Of the latest click the
    id is given too, so that keys can be told as ids later.
    """

    keys: NDArray[np.int64]  # (n,) which session: equal keys are the same session
    item_ids: Bytes  # n ids of the items just clicked
    user_ids: Bytes  # n ids of whose sessions they are; empty where another process read the click
    item_keys: NDArray[np.int64]  # (total,) oldest first, session after session
    times_ms: NDArray[np.int64]  # (total,) event time of each click, Unix ms; 0: not known
    bounds: NDArray[np.int64]  # (n + 1,) session i is item_keys[bounds[i]:bounds[i + 1]]
    positions: NDArray[np.int32]  # (n,) clicks in the session so far, also those no longer kept
    # (n, ...) in the order of ModelInfo.user_features; (n, 0) where another process read the click
    user_features: NDArray[np.float32]
    # Of which sessions these are some rows, so that work done for all need not be done again.
    part_of: "tuple[Sessions, NDArray[np.int64]] | None" = None

    def __len__(self) -> int:
        return len(self.keys)

    def ids(self) -> list[str]:
        """The ids of the items just clicked, as plain strings."""
        return [self.item_ids.bytes_at(row).decode() for row in range(len(self))]

    def users(self) -> list[str]:
        """The ids of their users, as plain strings."""
        return [self.user_ids.bytes_at(row).decode() for row in range(len(self))]

    def take(self, rows: NDArray[np.int64]) -> "Sessions":
        """Some of the sessions, in the order given."""
        bounds, flat = spans(self.bounds, rows)
        whole, own = (self, None) if self.part_of is None else self.part_of
        return Sessions(
            keys=self.keys[rows],
            item_ids=take(self.item_ids, rows),
            user_ids=take(self.user_ids, rows),
            item_keys=self.item_keys[flat],
            times_ms=self.times_ms[flat],
            bounds=bounds,
            positions=self.positions[rows],
            user_features=self.user_features[rows],
            part_of=(whole, rows if own is None else own[rows]),
        )


def spans(
    bounds: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The bounds of chosen rows of a ragged array, and where their values stand in the whole."""
    begins = bounds[:-1][rows]
    lengths = bounds[1:][rows] - begins
    chosen = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=chosen[1:])
    return chosen, np.arange(chosen[-1]) + np.repeat(begins - chosen[:-1], lengths)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The answer to n sessions: up to k items of each, best first."""

    item_ids: Bytes  # (total,) session after session; none twice in a session
    bounds: NDArray[np.int64]  # (n + 1,) session i has rows bounds[i] to bounds[i + 1]
    scores: NDArray[np.float32]  # (total,) larger is better, finite; comparable within a session
    methods: NDArray[np.int32]  # (total,) bit i: proposed by the i-th of ModelInfo.methods

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @classmethod
    def of_lists(
        cls, items: Sequence[Sequence[str]], scores: Sequence[Sequence[float]] | None = None
    ) -> "Ranking":
        """From plain lists, one for each session. Without scores: 1, 1/2, 1/3, ... by rank.

        >>> Ranking.of_lists([["i1", "i2"], []]).bounds
        array([0, 2, 2])
        """
        if scores is None:
            scores = [[1.0 / rank for rank in range(1, len(each) + 1)] for each in items]
        bounds = np.cumsum([0, *map(len, items)])
        flat = np.array([score for each in scores for score in each], np.float32)
        return cls(
            strings([item for each in items for item in each]),
            bounds,
            flat,
            np.zeros(len(flat), np.int32),
        )


def check_ranking(ranking: Any, n: int) -> None:
    """Raises TypeError where an answer is no Ranking, ValueError where it is not one to n sessions:
    what is let through can be encoded."""
    if not isinstance(ranking, Ranking):
        raise TypeError(f"recommend expected a Ranking, got {type(ranking).__name__}")
    ids, bounds = ranking.item_ids, ranking.bounds
    if not isinstance(ids, Bytes):
        raise TypeError(f"item_ids expected Bytes (schemas.columns), got {type(ids).__name__}")
    for name, kinds in (("bounds", "i"), ("scores", "f"), ("methods", "i")):
        array = getattr(ranking, name)
        if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in kinds:
            what = "floats" if kinds == "f" else "integers"
            raise TypeError(f"{name} expected an array of {what} in one dimension, got {array!r}")
    if len(bounds) != n + 1:
        raise ValueError(f"recommend expected a ranking of {n} sessions, got {len(bounds) - 1}")
    total = int(bounds[-1])
    if bounds[0] != 0 or (np.diff(bounds) < 0).any():
        raise ValueError(f"bounds expected to rise from 0, got {bounds[:8].tolist()}")
    for name in ("item_ids", "scores", "methods"):
        got = len(getattr(ranking, name))
        if got != total:
            raise ValueError(f"{name} expected {total} values, as bounds say, got {got}")
    if ids.valid is not None and not ids.valid.all():
        raise ValueError("item_ids expected no nulls, got some")
    if not np.isfinite(ranking.scores).all():
        raise ValueError("scores expected finite numbers, got nan or infinity")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a recommender says of itself; stands in every recommendation."""

    name: str
    version: str  # of an artifact: its digest
    methods: tuple[str, ...] = ()  # candidate methods, in the order of the bits
    features: tuple[str, ...] = ()  # inputs of the ranker
    user_features: tuple[str, ...] = ()  # declared features that it reads of each click's user


class Recommender(Protocol):
    """What answers sessions and learns from them. Any class with these is one.

    It may also have `scope` and `one_by_one` (see above); of a shard it must have `state() ->
    dict[str, NDArray]` and `restore(state)`. One that is to log what its ranker saw
    (`STREAMREC_LOG_RANKER_INPUTS`) has `recommend_with_inputs` (`TellsInputs`).
    """

    @property
    def info(self) -> ModelInfo:
        """What it says of itself."""

    def recommend(self, sessions: Sessions, k: int) -> Ranking:
        """Up to k items that come next in each session, best first. Changes no answer."""

    def learn(self, sessions: Sessions) -> None:
        """Learn that the last item of each session has just been clicked, in this order."""


class TellsInputs(Protocol):
    """A recommender that tells what its ranker saw."""

    def recommend_with_inputs(
        self, sessions: Sessions, k: int, wanted: NDArray[np.bool_]
    ) -> tuple[Ranking, NDArray[np.float32]]:
        """The answer of `recommend`, and of the items of the sessions that are wanted, (n,), the
        ranker's inputs: (total, ModelInfo.features), session after session, best first."""


def check_inputs(inputs: Any, ranking: Ranking, wanted: NDArray[np.bool_], width: int) -> None:
    """Raises ValueError where they are not those of the items that are wanted."""
    expected = (int(np.diff(ranking.bounds)[wanted].sum()), width)
    if not isinstance(inputs, np.ndarray) or inputs.shape != expected or inputs.dtype != np.float32:
        got = f"{inputs.dtype} {inputs.shape}" if isinstance(inputs, np.ndarray) else repr(inputs)
        raise ValueError(f"ranker's inputs expected float32 {expected}, got {got}")


def scope_of(recommender: Any) -> Scope:
    """`process` where it does not say."""
    scope: Scope = getattr(recommender, "scope", "process")
    return scope


def is_one_by_one(recommender: Any) -> bool:
    """Whether it wants each click by itself; no where it does not say."""
    return bool(getattr(recommender, "one_by_one", False))


class Ranker(Protocol):
    """Scores candidates; may learn online."""

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., n_features) to (...): larger is better. Changes nothing."""

    def learn(self, features: NDArray[np.float32], labels: NDArray[np.bool_]) -> None:
        """(rows, n_features), (rows,): one group of candidates shown, and which were taken.
        Raises TypeError where the ranker does not learn online."""
