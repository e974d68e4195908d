"""Rankers by kind: how each is written to an artifact and read back without running its code."""

import importlib
from pathlib import Path
from typing import Any, Protocol, cast

from streamrec.models.artifact import BadArtifact
from streamrec.models.contract import Ranker

# Imported when asked for: scikit-learn, skops and river take seconds that most runs can save.
KINDS = {
    "lightgbm": ("streamrec.models.rankers.trees", "TreeRanker"),
    "sklearn": ("streamrec.models.rankers.linear", "LinearRanker"),
    "river": ("streamrec.models.rankers.online", "OnlineRanker"),
}


class SavedRanker(Ranker, Protocol):
    """A ranker that an artifact can hold."""

    kind: str

    def save(self, folder: Path) -> list[str]:
        """Write the ranker's files into the folder; returns their names."""

    @classmethod
    def load(cls, folder: Path) -> "SavedRanker":
        """What `save` wrote."""


def save_ranker(ranker: Ranker, folder: Path) -> dict[str, Any]:
    """Write the ranker's files; returns its kind and their names for the manifest."""
    kind = getattr(ranker, "kind", None)
    if kind not in KINDS:
        raise TypeError(f"ranker expected a kind of {tuple(KINDS)}, got {type(ranker).__name__}")
    return {"kind": kind, "files": cast(SavedRanker, ranker).save(folder)}


def load_ranker(about: dict[str, Any], folder: Path) -> Ranker:
    """The ranker that `save_ranker` described. Raises BadArtifact for a kind that is not known."""
    kind = about.get("kind")
    if kind not in KINDS:
        raise BadArtifact(f"{folder} expected a ranker of {tuple(KINDS)}, got {kind!r}")
    module, name = KINDS[kind]
    made_by: type[SavedRanker] = getattr(importlib.import_module(module), name)
    return made_by.load(folder)
