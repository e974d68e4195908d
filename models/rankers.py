"""Rankers by kind: how each is written to an artifact and read back without running its code."""

from pathlib import Path
from typing import Any

from models.artifact import BadArtifact
from models.contract import Ranker


def save_ranker(ranker: Ranker, folder: Path) -> dict[str, Any]:
    """Write the ranker's files; returns its kind and their names for the manifest."""
    raise TypeError(f"ranker expected a kind that can be saved, got {type(ranker).__name__}")


def load_ranker(about: dict[str, Any], folder: Path) -> Ranker:
    """The ranker that `save_ranker` described."""
    raise BadArtifact(f"{folder} expected a known ranker, got {about.get('kind')!r}")
