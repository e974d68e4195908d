"""The kinds of models that the setting `STREAMREC_MODEL` names: one row each."""

from pathlib import Path
from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of model: where the function stands that makes it, and what it is."""

    module: str
    function: str  # takes models.loading.ModelOptions, returns models.loading.Model
    doc: str


# Looked up by name and imported when used: river takes seconds to import.
KINDS: dict[str, Kind] = {
    "artifact": Kind("streamrec.models.loading", "trained", "the trained ranker"),
    "river": Kind("streamrec.models.sessions.online", "online", "one that learns online"),
    "none": Kind("streamrec.models.loading", "untrained", "the blend"),
}


def complaint_of(name: str) -> str | None:
    """What is wrong with the name of a model; None: it may be one."""
    if name in KINDS or ":" in name or Path(name).is_dir():
        return None
    return f"expected {', '.join(KINDS)}, an artifact's folder or module:Class, got {name!r}"
