"""Modules of dataflows, by name: ours, and those that somebody else wrote."""

import importlib
from typing import Any

from bytewax.dataflow import Dataflow

from streamrec.dataflows.job.module_names import FlowError, module_name
from streamrec.dataflows.job.paper import PaperJob
from streamrec.dataflows.job.settings import SettingsError, load_settings
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import Topic
from streamrec.user_code import told


def on_paper(name: str, **given: Any) -> tuple[PaperJob, Dataflow]:
    """The dataflow of a module, wired by its own `build_flow(job)` on paper; settings that are
    given win over the environment. Raises FlowError."""
    try:
        module = importlib.import_module(module_name(name))
    except (Exception, SystemExit) as error:  # the module may be the user's, and raise anything
        if isinstance(error, FlowError):
            raise
        raise FlowError(f"module {name!r} cannot be imported: {told(error)}") from error
    build = getattr(module, "build_flow", None)
    if not callable(build):
        raise FlowError(f"module {name!r} expected a function build_flow(job), got no build_flow")
    try:
        job = PaperJob(getattr(module, "FLOW_ID", name), settings=load_settings(**given))
        flow = build(job)
    except (StartError, SettingsError) as error:
        raise FlowError(f"module {name!r}: {error}") from error
    except (Exception, SystemExit) as error:  # as above
        raise FlowError(f"module {name!r}: build_flow raised {told(error)}") from error
    if not isinstance(flow, Dataflow):
        raise FlowError(f"module {name!r}: build_flow expected to return a Dataflow, got {flow!r}")
    return job, flow


def topics_of(name: str, **given: Any) -> tuple[list[Topic], list[Topic]]:
    """What the dataflow of a module reads, and what it writes; `given` as there. Raises
    FlowError."""
    job, _ = on_paper(name, **given)
    return job.topics_read, job.topics_written


__all__ = ["FlowError", "on_paper", "topics_of"]
