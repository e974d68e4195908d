"""Rankers that are compared: variants of an experiment, over one session index.

Each click is learned once. The variants propose and rank from that one index, each with its own
ranker, weights of methods, and number of candidates; which of them answers a user is a split
(`models.serving.split`). What shapes the index must be the same in all of them. Its content is the
first variant's, where training has left one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamrec.models.contract import ModelInfo, Ranking, Sessions
from streamrec.models.loading import SHIPPED_MODEL, BadModel, Model, ModelOptions, trained
from streamrec.models.serving.split import Split, split_of
from streamrec.models.sessions.model import SessionModel
from streamrec.models.sessions.numbered import NumberedSessions
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.sessions.variant_specs import VariantSpec
from streamrec.models.sessions.weights import Bounds

# Weights that say how the index forgets; all others weigh what it holds.
_OF_INDEX = ("short_clicks", "long_clicks", "pair_clicks")


@dataclass(frozen=True, slots=True)
class RankerVariant:
    """One ranker over the index that all share. Answers as `SessionModel` does."""

    name: str
    weight: float  # share of the users
    recommender: SessionRecommender
    base: SessionModel  # numbers items for all variants
    columns: NDArray[np.int64] | None  # of all variants' user features, its own; None: all of them

    @property
    def info(self) -> ModelInfo:
        return self.recommender.info

    def recommend(self, sessions: Sessions, k: int) -> Ranking:
        """As the contract says, of all variants' user features."""
        return self.base.ranked_by(self.recommender, self._numbered(sessions), k)

    def recommend_with_inputs(
        self, sessions: Sessions, k: int, wanted: NDArray[np.bool_]
    ) -> tuple[Ranking, NDArray[np.float32]]:
        """As the contract says."""
        numbered = self._numbered(sessions)
        return self.base.ranked_with_inputs(self.recommender, numbered, k, wanted)

    def _numbered(self, sessions: Sessions) -> NumberedSessions:
        numbered = self.base.numbered(sessions)
        if self.columns is None:
            return numbered
        return replace(numbered, user_features=numbered.user_features[:, self.columns])


@dataclass(frozen=True, slots=True)
class Variants:
    """The rankers of an experiment, and who is given which."""

    experiment: str
    split: Split  # by user_id
    rankers: tuple[RankerVariant, ...]  # in the order of the split
    user_features: tuple[str, ...]  # that any of them reads


def load_variants(
    experiment: str, specs: Sequence[VariantSpec], options: ModelOptions
) -> tuple[Model, Variants]:
    """The model that learns, and the variants that rank what it has learned; the experiment's name
    is the salt. Raises BadModel, BadArtifact."""
    model = trained(options._replace(path=_folder(specs[0], options)))
    base = model.shared
    assert isinstance(base, SessionModel)
    first = base.recommender
    recommenders = [first, *(_over(first, specs[0], spec, options) for spec in specs[1:])]
    names = (name for each in recommenders for name in each.info.user_features)
    user_features = tuple(dict.fromkeys(names))
    split = split_of(experiment, {spec.name: spec.weight for spec in specs})
    rankers = tuple(
        RankerVariant(
            name, share, recommender, base, _columns(recommender.info.user_features, user_features)
        )
        for name, share, recommender in zip(
            split.names, split.weights.tolist(), recommenders, strict=True
        )
    )
    return model, Variants(experiment, split, rankers, user_features)


def _over(
    first: SessionRecommender, first_spec: VariantSpec, spec: VariantSpec, options: ModelOptions
) -> SessionRecommender:
    """The ranker of an artifact over the first one's index; its own is not read."""
    found = SessionRecommender.load(_folder(spec, options) or SHIPPED_MODEL, index_of=first)
    ours, theirs = _shape(first), _shape(found)
    differing = [
        f"{name} {theirs[name]!r} ({first_spec.name}: {ours[name]!r})"
        for name in ours
        if ours[name] != theirs[name]
    ]
    if differing:
        raise BadModel(
            f"variant {spec.name!r} expected an artifact for the session index of "
            f"{first_spec.name!r}, which all variants share, got {', '.join(differing)}; "
            "train both with the same"
        )
    return found


def _shape(recommender: SessionRecommender) -> Mapping[str, float]:
    """What an index depends on."""
    bounds = {name: getattr(recommender.bounds, name) for name in Bounds.__slots__}
    return bounds | {name: getattr(recommender.weights, name) for name in _OF_INDEX}


def _folder(spec: VariantSpec, options: ModelOptions) -> Path | None:
    if spec.model == "artifact":
        return options.path
    path = Path(spec.model)
    if not path.is_dir():
        raise BadModel(
            f"variant {spec.name!r} expected artifact or an artifact's folder, got {spec.model!r}"
        )
    return path


def _columns(own: Sequence[str], all_of_them: Sequence[str]) -> NDArray[np.int64] | None:
    if tuple(own) == tuple(all_of_them):
        return None
    return np.array([all_of_them.index(name) for name in own], np.int64)


__all__ = ["RankerVariant", "Variants", "load_variants"]
