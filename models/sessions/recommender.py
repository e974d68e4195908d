"""`SessionRecommender`: the candidate methods and a ranker behind the contract's one face."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamrec.models.artifact import (
    BadArtifact,
    read_arrays,
    read_manifest,
    write_arrays,
    write_manifest,
)
from streamrec.models.contract import ModelInfo, Ranker
from streamrec.models.rankers.kinds import load_ranker, save_ranker
from streamrec.models.sessions.candidate_kernel import best_of, inputs_of, propose
from streamrec.models.sessions.candidates.inputs import FEATURES
from streamrec.models.sessions.candidates.memory import UNION_MAX, Scratch
from streamrec.models.sessions.candidates.scores import METHODS, SCORES
from streamrec.models.sessions.index import ClickIndex
from streamrec.models.sessions.items import ItemTable
from streamrec.models.sessions.learned import LearnedLog
from streamrec.models.sessions.numbered import Candidates, NumberedRanking, NumberedSessions
from streamrec.models.sessions.weights import Bounds, Weights

_CHUNK = 64  # sessions whose features lie in the caches together
_LANES = 16  # candidates come in multiples of what one vector register holds


class SessionRecommender:
    """Proposes by neighbours, rules, co-occurrence and popularity; ranks by the ranker given.

    Without a ranker the order is the untrained blend of the methods' scores. A new recommender
    works at once: as soon as one item was learned it is recommended, to empty and unknown sessions
    too.

    `items` numbers the items, as `models.sessions.model` does for a flow. `methods` leaves methods
    out; one method alone ranks by its score. Used by one thread: calls share working memory.
    """

    def __init__(
        self,
        bounds: Bounds | None = None,
        weights: Weights | None = None,
        ranker: Ranker | None = None,
        methods: tuple[str, ...] = METHODS,
        candidates: int = 96,
        user_features: tuple[str, ...] = (),
    ) -> None:
        unknown = set(methods) - set(METHODS)
        if unknown or not methods:
            raise ValueError(f"methods expected some of {METHODS}, got {methods!r}")
        if not 1 <= candidates <= UNION_MAX:
            raise ValueError(f"candidates expected 1 to {UNION_MAX}, got {candidates!r}")
        self.bounds = bounds or Bounds()
        self.ranker = ranker
        self.methods = methods
        self.slots = -(-candidates // _LANES) * _LANES
        self.index = ClickIndex(self.bounds, weights or Weights())
        self.items = ItemTable(self.bounds.items_max, self.index.forget)
        self.info = ModelInfo(
            name="session-recommender",
            version="untrained",
            methods=METHODS,
            features=(*FEATURES, *user_features),
            user_features=user_features,
        )
        self.weights = weights or Weights()
        self.learned: LearnedLog | None = None  # what training has learned; kept by `save`
        self._scratch = _scratch(1_024, len(self.index.state.lines), 0)
        self._use_weights()

    def use_weights(self, weights: Weights) -> None:
        """Weigh by these from now on; the memories of popularity and pairs stay as they are."""
        self.weights = weights
        self._use_weights()

    def alone(self, *methods: str) -> "SessionRecommender":
        """These methods only and no ranker, on what this recommender has learned and learns."""
        model = SessionRecommender(
            self.bounds, self.weights, None, methods, self.slots, self.info.user_features
        )
        model.items, model.index = self.items, self.index
        return model

    def candidates(self, sessions: NumberedSessions) -> Candidates:
        """What the methods propose, in the order of the blend, with the ranker's inputs.

        `features` is a view whose last two axes are swapped in memory: rankers that go feature by
        feature take it as it is. Changes nothing.
        """
        return self._propose(sessions, 0, len(sessions), True)[0]

    def recommend(self, sessions: NumberedSessions, k: int) -> NumberedRanking:
        """Rank what comes next in each session: (n, k). Changes nothing."""
        return self._recommend(sessions, k, None)[0]

    def recommend_with_inputs(
        self, sessions: NumberedSessions, k: int, wanted: NDArray[np.bool_]
    ) -> tuple[NumberedRanking, NDArray[np.float32]]:
        """The same, and the inputs that a ranker sees of what was ranked, for those sessions that
        are wanted (n,): (m, k, n_features), in the order of the ranking; of no item, anything."""
        return self._recommend(sessions, k, wanted)

    def _recommend(
        self, sessions: NumberedSessions, k: int, wanted: NDArray[np.bool_] | None
    ) -> tuple[NumberedRanking, NDArray[np.float32]]:
        n = len(sessions)
        count = 0 if wanted is None else int(wanted.sum())
        inputs, done = np.zeros((count, k, len(self.info.features)), np.float32), 0
        ranking = NumberedRanking(
            items=np.empty((n, k), np.int32),
            scores=np.empty((n, k), np.float32),
            methods=np.empty((n, k), np.int32),
        )
        for first in range(0, n, _CHUNK):
            end = min(first + _CHUNK, n)
            logged = None if wanted is None else np.flatnonzero(wanted[first:end])
            is_logged = logged is not None and len(logged) > 0
            with_features = self.ranker is not None or is_logged
            proposed, scores = self._propose(sessions, first, end, with_features)
            if self.ranker is not None:
                scores = np.ascontiguousarray(self.ranker.scores(proposed.features))
            best_of(
                proposed.items,
                proposed.methods,
                scores,
                ranking.items[first:end],
                ranking.methods[first:end],
                ranking.scores[first:end],
            )
            if logged is not None and is_logged:
                inputs_of(
                    proposed.items,
                    proposed.features.transpose(0, 2, 1),
                    logged,
                    ranking.items[first:end],
                    inputs[done : done + len(logged)],
                )
                done += len(logged)
        return ranking, inputs

    def learn(self, sessions: NumberedSessions) -> None:
        """Learn that the last item of each session was clicked now, in this order."""
        self.index.learn(sessions, len(self.items))

    def save(self, folder: Path) -> None:
        """Write everything learned, the ranker too, exactly: NPZ, JSON and text, with digests."""
        folder.mkdir(parents=True, exist_ok=True)
        write_arrays(folder / "items.npz", self.items.state())
        write_arrays(folder / "index.npz", self.index.arrays())
        files = ["items.npz", "index.npz"]
        about: dict[str, Any] = {
            "kind": "session-recommender",
            "format": 1,
            "bounds": {name: getattr(self.bounds, name) for name in Bounds.__slots__},
            "weights": self.weights.as_dict(),
            "methods": list(self.methods),
            "candidates": self.slots,
            "features": list(self.info.features),
            "user_features": list(self.info.user_features),
        }
        if self.learned is not None:
            about["learned"] = self.learned.plain()
        if self.ranker is not None:
            about["ranker"] = save_ranker(self.ranker, folder)
            files += about["ranker"]["files"]
        write_manifest(folder, about, files)

    @classmethod
    def load(cls, folder: Path, index_of: "SessionRecommender | None" = None) -> Self:
        """The recommender that `save` wrote; with `index_of`, over that one's items and index
        instead of its own. Raises BadArtifact where a file was changed."""
        version, about = read_manifest(folder)
        if about.get("kind") != "session-recommender" or about.get("format") != 1:
            raise BadArtifact(
                f"{folder} expected a session-recommender of format 1, got {about.get('kind')!r}"
                f" of format {about.get('format')!r}"
            )
        user_features = tuple(about["user_features"])
        if about["features"] != [*FEATURES, *user_features]:
            raise BadArtifact(
                f"{folder} was made for other ranker inputs than this version has: train it anew"
            )
        ranker = load_ranker(about["ranker"], folder) if "ranker" in about else None
        try:
            bounds, weights = Bounds(**about["bounds"]), Weights(**about["weights"])
        except (TypeError, ValueError) as error:
            raise BadArtifact(f"{folder}: {error}") from error
        model = cls(
            bounds=bounds,
            weights=weights,
            ranker=ranker,
            methods=tuple(about["methods"]),
            candidates=about["candidates"],
            user_features=user_features,
        )
        if index_of is not None:
            model.items, model.index = index_of.items, index_of.index
        else:
            model.items.restore(read_arrays(folder / "items.npz"))
            model.index.restore(read_arrays(folder / "index.npz"))
        if "learned" in about and index_of is None:
            model.learned = LearnedLog.of_plain(about["learned"])
        info = model.info
        model.info = ModelInfo(info.name, version, info.methods, info.features, info.user_features)
        return model

    @property
    def bytes_used(self) -> int:
        """Memory of everything kept, in bytes; working memory included."""
        scratch = sum(array.nbytes for array in self._scratch)
        return self.index.bytes_used + self.items.bytes_used + scratch

    def _use_weights(self) -> None:
        self._tables = self.weights.tables()
        self._floats = self.weights.as_floats(self.methods)
        self._ints = self.weights.as_ints(self.methods)

    def _propose(
        self, sessions: NumberedSessions, first: int, end: int, with_features: bool
    ) -> tuple[Candidates, NDArray[np.float32]]:
        state = self.index.state
        scratch = self._scratch
        found_max = 4 * self.weights.sampled
        if (
            len(state.stats) > len(scratch.union_of)
            or len(state.lines) > len(scratch.line_of)
            or found_max > len(scratch.found)
        ):
            scratch = _scratch(len(state.stats), len(state.lines), found_max)
            self._scratch = scratch
        n = end - first
        user_features = sessions.user_features[first:end]
        expected = len(self.info.user_features)
        if expected == 0:
            user_features = np.zeros((n, 0), np.float32)
        elif user_features.shape[1] != expected:
            raise ValueError(
                f"user_features expected the {expected} columns {self.info.user_features}, "
                f"got {user_features.shape[1]}"
            )
        n_features = len(self.info.features) if with_features else 0
        items = np.empty((n, self.slots), np.int32)
        methods = np.empty((n, self.slots), np.int32)
        features = np.empty((n, n_features, self.slots), np.float32)
        blend = np.empty((n, self.slots), np.float32)
        propose(
            state,
            self.index.vectors.current,
            self.index.vectors.scale,
            scratch,
            self._tables,
            self._ints,
            self._floats,
            sessions.keys[first:end],
            sessions.items,
            sessions.times_ms,
            sessions.bounds[first : end + 1],
            sessions.positions[first:end],
            user_features,
            items,
            methods,
            features,
            blend,
        )
        return Candidates(items, methods, features.transpose(0, 2, 1)), blend


def _scratch(items: int, lines: int, found: int) -> Scratch:
    return Scratch(
        union_of=np.zeros(items, np.int32),
        union=np.zeros(UNION_MAX, np.int32),
        rows=np.zeros((UNION_MAX, SCORES), np.float32),
        line_of=np.zeros(lines, np.int32),
        found=np.zeros(found, np.int64),
        similarity=np.zeros(found, np.float32),
        faded=np.zeros(found, np.float32),
        found_by=np.zeros(found, np.int32),
        voters=np.zeros(found, np.int32),
        words=np.zeros(found, np.int32),
        blend=np.zeros(UNION_MAX, np.float32),
        spare=np.zeros(max(UNION_MAX, found), np.float32),
        chosen=np.zeros(UNION_MAX, np.int32),
    )
