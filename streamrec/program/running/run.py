"""`run`: a dataflow, for ever, or to the end of its topics."""

from typing import Annotated

import typer

from streamrec.program.running.engine import (
    BackupInterval,
    RecoveryDirectory,
    SnapshotInterval,
    Workers,
    become_engine,
    engine_flags,
)
from streamrec.program.shared import UsageError, hand_on_debug


def run(
    context: typer.Context,
    flow: Annotated[str, typer.Option(help="Module of the dataflow, ours or yours.")] = (
        "streamrec.dataflows.recommender"
    ),
    recovery_directory: RecoveryDirectory = None,
    snapshot_interval: SnapshotInterval = None,
    backup_interval: BackupInterval = None,
    workers: Workers = None,
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
    flags = engine_flags(recovery_directory, snapshot_interval, backup_interval, workers)
    become_engine(module, [*flags, *context.args])
