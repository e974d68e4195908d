"""The recovery directory of the engine: made whole, and safe to resume from after a crash."""

import fcntl
import logging
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from bytewax.recovery import init_db_dir

from streamrec.connectors.state_files import MANIFEST, StateFileError
from streamrec.dataflows.engine.flags import LOCK, addresses, recovery_directory
from streamrec.dataflows.engine.store import BUSY_S, put_back, read_store
from streamrec.dataflows.engine.witnesses import check_saved_state

_logger = logging.getLogger(__name__)

_RECOVERY_PARTITIONS = 4


def prepare_recovery_directory(state: Path | None = None) -> int | None:
    """Make an empty recovery directory usable, as `python -m bytewax.recovery` would, and one that
    a crash left safe to resume from. `state` is where shards keep their files. Returns the last
    epoch that is durable, 0: none is; None: there is no recovery directory, or it is not all here.

    For a cluster of several machines an empty one is left to the operator: where the machines do
    not share a volume, each must hold other partitions. Raises StateFileError, which names the
    file, for saved state that is not what was saved.
    """
    folder = recovery_directory()
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:  # another process may be starting, too
        fcntl.flock(lock, fcntl.LOCK_EX)
        all_here = _all_here(addresses())
        parts = sorted(folder.glob("part-*.sqlite3"))
        if not parts:
            _refuse_state_without_parts(folder, state)
            if all_here:
                _init_whole(folder)
                _logger.info("recovery directory %s: new, made its partitions", folder)
                return 0
            return None
        before = check_saved_state(parts, state, all_here)
        drop_abandoned_snapshots(folder)
        return before


def _refuse_state_without_parts(folder: Path, state: Path | None) -> None:
    """Without its partitions what is in the files of shards would be counted once more."""
    manifests = [] if state is None else sorted(state.glob(f"*/*/{MANIFEST}"))
    if manifests:
        part = folder / "part-0.sqlite3"
        raise StateFileError(
            f"{part} and all other partitions are missing, but {manifests[0]} is there; "
            f"{put_back(part)}"
        )


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
        with closing(sqlite3.connect(part, timeout=BUSY_S)) as db, db:
            found = db.execute("DELETE FROM snaps WHERE snap_epoch >= ?", (resume_epoch,))
            dropped += found.rowcount
    return dropped


def _resume_epoch(parts: Sequence[Path]) -> int | None:
    """The epoch with which the engine will go on; None: nothing ran yet, or parts are elsewhere."""
    store = read_store(parts)
    if store.part_count > len(parts):
        _logger.warning(
            "%d of %d recovery partitions are on other machines: snapshots of an epoch that a "
            "crash broke off stay; keep the recovery directory on a volume that all share",
            store.part_count - len(parts),
            store.part_count,
        )
        return None
    return store.resume_epoch


def _all_here(cluster: Sequence[str]) -> bool:
    return all(a.rpartition(":")[0] in ("localhost", "127.0.0.1", "[::1]") for a in cluster)
