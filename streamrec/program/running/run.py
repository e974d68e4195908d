"""`run`: a dataflow, for ever, or to the end of its topics."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from streamrec.program.shared import UsageError, hand_on_debug

# For `typer`: what follows the options goes to the engine as it stands.
ENGINE_CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}


def run(
    context: typer.Context,
    flow: Annotated[str, typer.Option(help="Module of the dataflow, ours or yours.")] = (
        "streamrec.dataflows.recommender"
    ),
    recovery_directory: Annotated[
        Path | None,
        typer.Option(
            "--recovery-directory",
            "-r",
            help="Keep state here, made if need be; without it nothing is kept over a restart.",
            file_okay=False,
        ),
    ] = None,
    snapshot_interval: Annotated[
        int | None,
        typer.Option(
            "--snapshot-interval", "-s", min=0, help="With -r: seconds between saves.  [10]"
        ),
    ] = None,
    backup_interval: Annotated[
        int | None,
        typer.Option(
            "--backup-interval",
            "-b",
            min=0,
            help="With -r: seconds for which superseded saves are kept; 0 unless you copy the "
            "directory while it runs.  [0]",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers-per-process", "-w", min=1, help="Threads of this process.  [1]"),
    ] = None,
) -> None:
    """Run a dataflow as the settings say, for ever, or to the end with STREAMREC_FOLLOW=false.

    `run -r state -s 10 -b 0` keeps state in ./state, saved every 10 s. Other options go to the
    engine: `python -m bytewax.run --help`.
    """
    # Here and not above: the other commands need not wait for the engine.
    from streamrec.dataflows.job.module_names import FlowError, module_name

    hand_on_debug(context)
    try:
        module = module_name(flow)
    except FlowError as error:
        raise UsageError(f"--flow: {error}") from None
    if recovery_directory is not None:  # the engine itself would ask for them
        snapshot_interval = 10 if snapshot_interval is None else snapshot_interval
        backup_interval = backup_interval or 0
    given = {"-r": recovery_directory, "-s": snapshot_interval, "-b": backup_interval}
    flags = [f"{name}{value}" for name, value in given.items() if value is not None]
    if workers is not None:
        flags.append(f"-w{workers}")
    sys.stdout.flush()
    command = [sys.executable, "-m", "bytewax.run", module, *flags, *context.args]
    os.execv(sys.executable, command)
