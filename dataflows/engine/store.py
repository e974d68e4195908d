"""The engine's recovery store, read by what we know of its private tables."""

import pickle
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from streamrec.connectors.state_files import StateFileError

BUSY_S = 60.0


class Snapshot(NamedTuple):
    """The newest snapshot of one key that a restart would take, or one that is newer than that."""

    part: Path
    step: str
    key: str
    epoch: int
    content: bytes | None  # pickled; None: the key was dropped

    def value(self) -> Mapping[Any, Any] | None:
        """Plain types. Raises StateFileError for what is garbled."""
        if self.content is None:
            return None
        try:
            found = pickle.loads(self.content)
        except Exception as error:  # a garbled pickle raises anything
            raise self.garbled() from error
        return found if isinstance(found, dict) else None

    def garbled(self) -> StateFileError:
        return StateFileError(
            f"{self.part}: the snapshot of {self.key!r} of step {self.step!r} is garbled; "
            f"{put_back(self.part)}"
        )


@dataclass(frozen=True, slots=True)
class Store:
    """What the partitions of one recovery directory hold."""

    parts: tuple[Path, ...]  # those that are here
    part_count: int  # all there are
    executions: dict[int, tuple[int, int]] = field(default_factory=dict)  # workers, first epoch
    frontiers: dict[tuple[int, int], int] = field(default_factory=dict)  # by execution, worker
    origins: dict[int, Path] = field(default_factory=dict)  # which part names an execution
    fronts_in: dict[int, Path] = field(default_factory=dict)  # and one that says how far it came
    newest: dict[Path, int] = field(default_factory=dict)  # epoch of each part's newest snapshot

    @property
    def resume_epoch(self) -> int | None:
        """The epoch with which the engine will go on; None: nothing ran yet.

        As the engine finds it: of the last execution, the epoch that every worker has reached.
        """
        if not self.executions:
            return None
        last = max(self.executions)
        workers, first_epoch = self.executions[last]
        return min(max(first_epoch, self.frontiers.get((last, w), 0)) for w in range(workers))


def put_back(path: Path) -> str:
    """What an operator can do about a file that is not what it was."""
    return (
        f"put back the whole recovery directory {path.parent} as it was at one time, or begin anew "
        "on purpose: `streamrec state reset`"
    )


def read_store(parts: Sequence[Path]) -> Store:
    """Read what the partitions say of runs. Raises StateFileError that names a damaged one."""
    store = Store(tuple(parts), 0)
    part_count = 0
    for part in parts:
        with _opened(part) as db:
            part_count = db.execute("SELECT part_count FROM parts").fetchone()[0]
            for number, *found in db.execute("SELECT ex_num, worker_count, resume_epoch FROM exs"):
                store.executions[number] = (found[0], found[1])
                store.origins[number] = part
            for number, worker, epoch in db.execute(
                "SELECT ex_num, worker_index, worker_frontier FROM fronts"
            ):
                store.frontiers[number, worker] = epoch
                store.fronts_in[number] = part
            newest = db.execute("SELECT max(snap_epoch) FROM snaps").fetchone()[0]
            store.newest[part] = newest or 0
    return Store(
        store.parts,
        part_count,
        store.executions,
        store.frontiers,
        store.origins,
        store.fronts_in,
        store.newest,
    )


def snapshots_before(parts: Sequence[Path], epoch: int = 1 << 62) -> list[Snapshot]:
    """Of each key the newest snapshot before an epoch: what a restart with that epoch takes."""
    found = []
    for part in parts:
        with _opened(part) as db:
            rows = db.execute(
                "SELECT step_id, state_key, max(snap_epoch), ser_change FROM snaps "
                "WHERE snap_epoch < ? GROUP BY step_id, state_key",
                (epoch,),
            )
            found += [Snapshot(part, *row) for row in rows]
    return found


def check_intact(part: Path) -> None:
    """Raises StateFileError for what is no whole SQLite database with the engine's tables."""
    with _opened(part) as db:
        said = [row[0] for row in db.execute("PRAGMA integrity_check(3)")]
        if said != ["ok"]:
            raise StateFileError(
                f"{part} is damaged: SQLite says {'; '.join(said)!r}; {put_back(part)}"
            )
        if db.execute("SELECT count(*) FROM parts").fetchone()[0] != 1:
            raise StateFileError(f"{part} is no partition of a recovery store; {put_back(part)}")


class _opened:
    """A partition, with SQLite's errors as ours."""

    def __init__(self, part: Path) -> None:
        self._part = part
        self._db: closing[sqlite3.Connection] | None = None

    def __enter__(self) -> sqlite3.Connection:
        # Not made where it is missing: an empty database would look like one that lost all.
        self._db = closing(sqlite3.connect(f"file:{self._part}?mode=rw", uri=True, timeout=BUSY_S))
        return self._db.__enter__()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        assert self._db is not None
        self._db.__exit__(kind, error, trace)
        if isinstance(error, sqlite3.Error):
            raise StateFileError(
                f"{self._part} is damaged: SQLite says {str(error)!r}; {put_back(self._part)}"
            ) from error
