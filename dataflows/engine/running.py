"""What the dataflows need to know of how the engine was started, and what it leaves undone.

`bytewax.run` reads its flags before it asks for the dataflow, and tells the dataflow none of them.
Where state is kept follows from two: so they are read here in the same way.
"""

import fcntl
import logging
import os
import shutil
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import FrameType

from bytewax.recovery import init_db_dir

_logger = logging.getLogger(__name__)

_RECOVERY_PARTITIONS = 4
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


def addresses() -> list[str]:
    """Addresses of the processes of a cluster; empty: this process is alone."""
    found = flag("--addresses", "-a", "BYTEWAX_ADDRESSES")
    hosts = os.environ.get("BYTEWAX_HOSTFILE_PATH")
    if found is None and hosts is not None:
        return Path(hosts).read_text().split()
    return [] if found is None else found.split(";")


def prepare_recovery_directory() -> None:
    """Make an empty recovery directory usable, as `python -m bytewax.recovery` would, and one that
    a crash left safe to resume from.

    For a cluster of several machines an empty one is left to the operator: where the machines do
    not share a volume, each must hold other partitions.
    """
    folder = recovery_directory()
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:  # another process may be starting, too
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _all_here(addresses()) and not (folder / "part-0.sqlite3").exists():
            _init_whole(folder)
            _logger.info("recovery directory %s: new, made its partitions", folder)
        drop_abandoned_snapshots(folder)


def _init_whole(folder: Path) -> None:
    """Make the partitions all or none: the engine refuses a directory that lacks some."""
    unfinished = folder / "init.part"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    init_db_dir(unfinished, _RECOVERY_PARTITIONS)  # type: ignore[no-untyped-call]  # native
    for path in sorted(unfinished.iterdir(), reverse=True):  # part-0, which is looked for, last
        path.rename(folder / path.name)
    unfinished.rmdir()


def drop_abandoned_snapshots(folder: Path) -> int:
    """Remove snapshots of epochs that will run again; returns how many.

    A crash leaves snapshots of the epoch that it broke off, of those keys that had got so far. The
    engine overwrites them when it runs the epoch again, but only for keys that are then awake in
    it; for the others it would resume, after a second crash, from a state that knows the future.
    Every process does this before it joins its peers, so before any engine of theirs runs.
    """
    parts = sorted(folder.glob("part-*.sqlite3"))
    resume_epoch = _resume_epoch(parts)
    if resume_epoch is None:
        return 0
    dropped = 0
    for part in parts:
        with closing(sqlite3.connect(part, timeout=60.0)) as db, db:
            found = db.execute("DELETE FROM snaps WHERE snap_epoch >= ?", (resume_epoch,))
            dropped += found.rowcount
    return dropped


def _resume_epoch(parts: Sequence[Path]) -> int | None:
    """The epoch with which the engine will go on; None: nothing ran yet, or parts are elsewhere.

    As the engine finds it: of the last execution, the epoch that every worker has reached.
    """
    executions: dict[int, tuple[int, int]] = {}  # workers, first epoch
    frontiers: dict[tuple[int, int], int] = {}
    part_count = 0
    for part in parts:
        with closing(sqlite3.connect(part, timeout=60.0)) as db:
            part_count = db.execute("SELECT part_count FROM parts").fetchone()[0]
            for number, *found in db.execute("SELECT ex_num, worker_count, resume_epoch FROM exs"):
                executions[number] = (found[0], found[1])
            for number, worker, epoch in db.execute(
                "SELECT ex_num, worker_index, worker_frontier FROM fronts"
            ):
                frontiers[number, worker] = epoch
    if part_count > len(parts):
        _logger.warning(
            "%d of %d recovery partitions are on other machines: snapshots of an epoch that a "
            "crash broke off stay; keep the recovery directory on a volume that all share",
            part_count - len(parts),
            part_count,
        )
        return None
    if not executions:
        return None
    last = max(executions)
    workers, first_epoch = executions[last]
    return min(max(first_epoch, frontiers.get((last, w), 0)) for w in range(workers))


def _all_here(cluster: Sequence[str]) -> bool:
    return all(a.rpartition(":")[0] in ("localhost", "127.0.0.1", "[::1]") for a in cluster)


class Stopping:
    """Whether this cluster was asked to stop. Sources then end, as if their input had: the engine
    finishes the epoch, saves every state and closes the sinks, and nothing is repeated later.

    A dataflow ends when the sources of all processes have, so a process that is asked tells the
    others by a file in the recovery directory. Where that is not shared they learn of it when this
    process leaves: after `LEAVE_S` it does so in any case, and what it had not saved is repeated.
    """

    LEAVE_S = 9.0
    _LOOK_S = 0.2

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._began_s = time.time()
        self._look_at = 0.0
        folder = recovery_directory()
        self._has_peers = len(addresses()) > 1
        self._notice = None if folder is None or not self._has_peers else folder / "stop"

    def __call__(self) -> bool:
        if not self._asked.is_set() and self._notice is not None:
            now_s = time.monotonic()
            if now_s >= self._look_at:
                self._look_at = now_s + self._LOOK_S
                if self._notice.exists() and self._notice.stat().st_mtime > self._began_s:
                    self._asked.set()
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
        if self._notice is not None:
            self._notice.touch()
        if self._has_peers:
            leave = threading.Timer(self.LEAVE_S, self._leave)
            leave.daemon = True
            leave.start()

    def _leave(self) -> None:
        _logger.error("peers go on after %.0f s: leaving without them", self.LEAVE_S)
        os._exit(1)
