"""The recovery directory of the engine: made whole, and safe to resume from after a crash."""

import fcntl
import logging
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from bytewax.recovery import init_db_dir

from streamrec.dataflows.engine.flags import LOCK, addresses, recovery_directory

_logger = logging.getLogger(__name__)

_RECOVERY_PARTITIONS = 4


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
