"""`pipeline run`: serve a pipeline that is kept on the log."""

from typing import Annotated

import typer

from streamrec.dataflows.serving.kept_topics import group_of_pipeline
from streamrec.program.running.engine import (
    BackupInterval,
    RecoveryDirectory,
    SnapshotInterval,
    Workers,
    become_engine,
    engine_flags,
)
from streamrec.program.serving.named import kept_of
from streamrec.program.shared import hand_on_debug, opened

SCORER = "streamrec.dataflows.scorer"


def run_pipeline(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The pipeline.")],
    until_end: Annotated[
        bool, typer.Option("--until-end", help="End when what is there has been answered.")
    ] = False,
    recovery_directory: RecoveryDirectory = None,
    snapshot_interval: SnapshotInterval = None,
    backup_interval: BackupInterval = None,
    workers: Workers = None,
) -> None:
    """Serve a pipeline, for ever or to the end. Its model is found from the folder in which the
    command runs.

    A model in another version, or with another schema, than the log knows is refused. Other options
    go to the engine: `python -m bytewax.run --help`.
    """
    hand_on_debug(context)
    with opened() as (log, settings):
        kept_of(log, settings, name)  # raises where there is none; the scorer looks at the rest
        # A group of its own, so that several may run on one log.
        group = group_of_pipeline(settings, name)
    variables = {"STREAMREC_MODELS": f"pipeline:{name}", "STREAMREC_CONSUMER_GROUP": group}
    if until_end:
        variables["STREAMREC_FOLLOW"] = "false"
    flags = engine_flags(recovery_directory, snapshot_interval, backup_interval, workers)
    become_engine(SCORER, [*flags, *context.args], variables)
