"""Becoming the engine: the options that `run` and `pipeline run` hand on to it."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

# For `typer`: what follows the options goes to the engine as it stands.
ENGINE_CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}

RecoveryDirectory = Annotated[
    Path | None,
    typer.Option(
        "--recovery-directory",
        "-r",
        help="Keep state here, made if need be; without it nothing is kept over a restart.",
        file_okay=False,
    ),
]
SnapshotInterval = Annotated[
    int | None,
    typer.Option("--snapshot-interval", "-s", min=0, help="With -r: seconds between saves.  [10]"),
]
BackupInterval = Annotated[
    int | None,
    typer.Option(
        "--backup-interval",
        "-b",
        min=0,
        help="With -r: seconds for which superseded saves are kept; 0 unless you copy the "
        "directory while it runs.  [0]",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers-per-process", "-w", min=1, help="Threads of this process.  [1]"),
]


def engine_flags(
    recovery_directory: Path | None,
    snapshot_interval: int | None,
    backup_interval: int | None,
    workers: int | None,
) -> list[str]:
    """The options as the engine takes them."""
    if recovery_directory is not None:  # the engine itself would ask for them
        snapshot_interval = 10 if snapshot_interval is None else snapshot_interval
        backup_interval = backup_interval or 0
    given = {"-r": recovery_directory, "-s": snapshot_interval, "-b": backup_interval}
    flags = [f"{name}{value}" for name, value in given.items() if value is not None]
    return flags if workers is None else [*flags, f"-w{workers}"]


def become_engine(
    module: str, arguments: Sequence[str], variables: Mapping[str, str] | None = None
) -> NoReturn:
    """Run a dataflow's module in this process, with these variables set."""
    sys.stdout.flush()
    command = [sys.executable, "-m", "bytewax.run", module, *arguments]
    os.execve(sys.executable, command, {**os.environ, **(variables or {})})
