"""Modules of dataflows, by name: ours, and those that somebody else wrote."""

import importlib
import sys
from pathlib import Path
from typing import Any

from bytewax.dataflow import Dataflow

from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.paper import PaperJob
from streamrec.dataflows.job.topics import Topic


class FlowError(Exception):
    """A name stands for no module of a dataflow; the message says what is missing."""


def flow_module(name: str) -> Any:
    """Import a module, first of all from the folder in which the command runs; ours also by their
    short names, `dataflows.scoring`. Raises FlowError."""
    here = str(Path.cwd())
    if sys.path[:1] not in ([""], [here]):
        sys.path.insert(0, here)
    candidates = (f"streamrec.{name}", name) if name.startswith("dataflows.") else (name,)
    for candidate in candidates:
        try:
            return importlib.import_module(candidate)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{candidate}.".startswith(f"{error.name}."):
                raise  # the module is there; something that it imports is not
    raise FlowError(
        f"dataflow expected a module such as dataflows.recommender, got {name!r}, which is not in "
        f"{here} and not installed"
    )


def on_paper(name: str) -> tuple[PaperJob, Dataflow]:
    """The dataflow of a module, wired by its own `build_flow(job)` on paper. Raises FlowError."""
    module = flow_module(name)
    build = getattr(module, "build_flow", None)
    if not callable(build):
        raise FlowError(f"module {name!r} expected a function build_flow(job), got no build_flow")
    job = PaperJob(getattr(module, "FLOW_ID", name))
    return job, build(job)


def topics_of(name: str) -> tuple[list[Topic], list[Topic]]:
    """What the dataflow of a module reads, and what it writes. Raises FlowError."""
    job, _ = on_paper(name)
    return job.topics_read, job.topics_written


__all__ = ["FlowError", "Job", "flow_module", "on_paper", "topics_of"]
