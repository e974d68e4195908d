"""What the dataflows need to know of how the engine was started, and what it leaves undone.

`bytewax.run` reads its flags before it asks for the dataflow, and tells the dataflow none of them.
Where state is kept follows from two: so they are read here in the same way.
"""

import fcntl
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from bytewax.recovery import init_db_dir

_logger = logging.getLogger(__name__)

_RECOVERY_PARTITIONS = 4


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


def backup_interval_s() -> float:
    """For how long superseded snapshots are kept."""
    found = flag("--backup-interval", "-b", "BYTEWAX_RECOVERY_BACKUP_INTERVAL")
    return 0.0 if found is None else float(found)


def addresses() -> list[str]:
    """Addresses of the processes of a cluster; empty: this process is alone."""
    found = flag("--addresses", "-a", "BYTEWAX_ADDRESSES")
    hosts = os.environ.get("BYTEWAX_HOSTFILE_PATH")
    if found is None and hosts is not None:
        return Path(hosts).read_text().split()
    return [] if found is None else found.split(";")


def prepare_recovery_directory() -> None:
    """Make an empty recovery directory usable, as `python -m bytewax.recovery` would.

    Left to the operator for a cluster of several machines, where each must hold other partitions.
    """
    folder = recovery_directory()
    if folder is None or not _all_here(addresses()):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "init.lock").open("w") as lock:  # another process may be starting, too
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not any(folder.glob("part-*.sqlite3")):
            init_db_dir(folder, _RECOVERY_PARTITIONS)  # type: ignore[no-untyped-call]  # native
            _logger.info("recovery directory %s: new, made its partitions", folder)


def _all_here(cluster: Sequence[str]) -> bool:
    return all(a.rpartition(":")[0] in ("localhost", "127.0.0.1", "[::1]") for a in cluster)


class Stopping:
    """Whether the process was asked to stop. Sources then end, as if their input had: the engine
    finishes the epoch, saves every state and closes the sinks, and nothing is repeated later."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def __call__(self) -> bool:
        return self._asked.is_set()

    def on_signals(self) -> "Stopping":
        """Take SIGTERM and SIGINT for the wish to stop; a second one ends the process at once."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        _logger.info("%s: finishing the epoch, then leaving", signal.Signals(number).name)
        self._asked.set()
