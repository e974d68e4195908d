"""How the engine was started, which it tells no dataflow.

`bytewax.run` reads its flags before it asks for the dataflow, and tells the dataflow none of them.
Where state is kept follows from two: so they are read here in the same way.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LOCK = "init.lock"  # in the recovery directory, held while it is prepared


def flag(
    long: str,
    short: str,
    variable: str,
    arguments: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> str | None:
    """A flag of `bytewax.run`: `-r X`, `-rX`, `--long X` or `--long=X`, else the variable.

    >>> flag("--recovery-directory", "-r", "X", ["-w2", "-r", "here"], {})
    'here'
    >>> flag("--recovery-directory", "-r", "X", ["--recovery-directory=there"], {})
    'there'
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    found: str | None = None
    for index, argument in enumerate(arguments):
        if argument in (short, long):
            found = arguments[index + 1] if index + 1 < len(arguments) else None
        elif argument.startswith(f"{long}="):
            found = argument.removeprefix(f"{long}=")
        elif argument.startswith(short) and not argument.startswith("--"):
            found = argument.removeprefix(short)
    return found or (os.environ if environ is None else environ).get(variable) or None


def recovery_directory() -> Path | None:
    """Where the engine keeps its recovery store; None: it keeps none."""
    found = flag("--recovery-directory", "-r", "BYTEWAX_RECOVERY_DIRECTORY")
    return None if found is None else Path(found)


def with_recovery_directory(folder: Path) -> list[str]:
    """This process's arguments with another recovery directory."""
    found = recovery_directory()
    return [
        *(
            argument
            for index, argument in enumerate(sys.argv[1:])
            if not argument.startswith(("-r", "--recovery-directory"))
            and not (sys.argv[index] in ("-r", "--recovery-directory") and Path(argument) == found)
        ),
        f"--recovery-directory={folder}",
    ]


def backup_interval_s() -> float:
    """For how long superseded snapshots are kept."""
    found = flag("--backup-interval", "-b", "BYTEWAX_RECOVERY_BACKUP_INTERVAL")
    return 0.0 if found is None else float(found)


def epoch_interval_s() -> float:
    """How long an epoch is, before what closing it takes."""
    found = flag("--snapshot-interval", "-s", "BYTEWAX_SNAPSHOT_INTERVAL")
    return 10.0 if found is None else float(found)


def process_index() -> int:
    """Which process of its cluster this is, from 0."""
    found = flag("--process-id", "-i", "BYTEWAX_PROCESS_ID")
    pod, group = os.environ.get("BYTEWAX_POD_NAME"), os.environ.get("BYTEWAX_STATEFULSET_NAME")
    if found is None and pod is not None and group is not None:
        found = pod.removeprefix(f"{group}-")
    return int(found) if found is not None and found.isdigit() else 0


def workers() -> int:
    """How many workers, which are threads, each process has."""
    found = flag("--workers-per-process", "-w", "BYTEWAX_WORKERS_PER_PROCESS")
    return int(found) if found is not None and found.isdigit() else 1


def addresses() -> list[str]:
    """Addresses of the processes of a cluster; empty: this process is alone."""
    found = flag("--addresses", "-a", "BYTEWAX_ADDRESSES")
    hosts = os.environ.get("BYTEWAX_HOSTFILE_PATH")
    if found is None and hosts is not None:
        return Path(hosts).read_text().split()
    return [] if found is None else found.split(";")


def all_workers() -> int:
    """How many workers the cluster has."""
    return workers() * max(1, len(addresses()))
