"""`run`: a dataflow, for ever, or to the end of its topics."""

import os
import sys
from typing import Annotated

import typer

from streamrec.program.shared import UsageError

# For `typer`: what follows the options goes to the engine as it stands.
ENGINE_CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}


def run(
    context: typer.Context,
    flow: Annotated[str, typer.Option(help="Module of the dataflow, ours or yours.")] = (
        "streamrec.dataflows.recommender"
    ),
) -> None:
    """Run a dataflow as the settings say. What comes after the options goes to the engine:
    `run -r state -s 10 -b 0` keeps state in ./state, saved every 10 s."""
    # Here and not above: the other commands need not wait for the engine.
    from streamrec.dataflows.job.module_names import FlowError, module_name

    try:
        module = module_name(flow)
    except FlowError as error:
        raise UsageError(f"--flow: {error}") from None
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "bytewax.run", module, *context.args])
