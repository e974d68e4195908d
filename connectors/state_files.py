"""Files that hold what changed in a shard's state, one for each snapshot, and what they add up to.

A snapshot is a *reference*: the names and digests of a base file and of the changes since, oldest
first. The engine's recovery store holds references only. A file is on disk, whole and synced with
its folder, before its name is in any reference.

- *Compaction*: when the changes hold as many rows as the base (or are many), the next snapshot is a
  new base of everything, so that each row is written about twice however long a flow runs.
- *Removal*: a file that no newer reference names is kept for two more snapshots, since the engine
  lets a flow into an epoch only when the one before the last is durable, and for `keep_s` on top,
  for those who restore a backup of the recovery store.
- *Damage*: every read checks length and SHA-256; a torn or altered file raises StateFileError that
  names it.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from streamrec.connectors.log import LogError

_CHANGES_MAX = 24
_SNAPSHOTS_KEPT = 2
_READ_ATTEMPTS = 5
_READ_AGAIN_S = 0.1
MANIFEST = "MANIFEST.json"
ROWS = b"streamrec.rows"  # metadata of a table that holds others: how many rows they have in all


class StateFileError(LogError):
    """A file of saved state is missing or damaged, or could not be written."""


class StateFile(NamedTuple):
    """One file: its name within the shard's folder, and what it must be."""

    name: str
    sha256: str
    size: int  # bytes
    rows: int


class Reference(NamedTuple):
    """What a snapshot consists of, oldest file first, with small facts beside it (JSON types)."""

    files: tuple[StateFile, ...]
    facts: dict[str, Any]
    sequence: int = 0  # which snapshot of its shard this is, from 1; 0: saved before that was kept

    def plain(self) -> dict[str, Any]:
        """As JSON types."""
        files = [list(file) for file in self.files]
        return {"files": files, "facts": self.facts, "sequence": self.sequence}

    @classmethod
    def of_plain(cls, plain: dict[str, Any]) -> "Reference":
        files = tuple(StateFile(*file) for file in plain["files"])
        return cls(files, plain["facts"], plain.get("sequence", 0))


class StateFiles:
    """The files of one shard. One process writes a folder at a time."""

    def __init__(
        self, folder: Path, keep_s: float = 0.0, clock_s: Callable[[], float] = time.time
    ) -> None:
        self.folder = folder
        self._keep_s = keep_s
        self._clock_s = clock_s
        self.written_bytes = 0  # of all files so far
        self._files: list[StateFile] = []
        self._sequence = 0
        self._superseded: list[tuple[int, float, StateFile]] = []

    @property
    def wants_base(self) -> bool:
        """Whether the next snapshot should hold everything."""
        if not self._files:
            return True
        changed = sum(file.rows for file in self._files[1:])
        return len(self._files) > _CHANGES_MAX or changed > max(self._files[0].rows, 1_000)

    def write(
        self,
        table: pa.Table,
        is_base: bool,
        facts: dict[str, Any],
        mark: dict[str, Any] | None = None,
    ) -> Reference:
        """Write one snapshot's file and return the reference; empty changes write no file. `mark`
        goes into the manifest beside it."""
        self._sequence += 1
        if is_base or len(table):
            file = self._write_file(table, "base" if is_base else "change")
            if is_base:
                now_s = self._clock_s()
                self._superseded += [(self._sequence, now_s, old) for old in self._files]
                for old in self._files:  # from now on, also for who clears up after a crash
                    with suppress(FileNotFoundError):
                        os.utime(self.folder / old.name)
                self._files = []
            self._files.append(file)
        reference = Reference(tuple(self._files), facts, self._sequence)
        self._write_manifest(reference, mark or {})
        self._remove_superseded()
        return reference

    def read(self, reference: Reference, mark: dict[str, Any] | None = None) -> list[pa.Table]:
        """Verify and load a snapshot, and go on from it: the manifest is then its own, whatever a
        crash had left. Raises StateFileError."""
        tables = read_tables(self.folder, reference)
        self._files = list(reference.files)
        self._sequence = reference.sequence or max(
            (int(file.name.split("-")[0]) for file in self._files), default=0
        )
        self._write_manifest(reference, mark or {})
        return tables

    def remove_strays(self) -> int:
        """Remove files that the resumed snapshot does not name; returns how many.

        They are of snapshots that never became durable, or were superseded before a crash.
        """
        named = {file.name for file in self._files}
        oldest_s = self._clock_s() - self._keep_s
        strays = [
            path
            for path in self.folder.glob("*.arrow*")
            if path.name not in named and path.stat().st_mtime <= oldest_s
        ]
        for path in strays:
            path.unlink()
        return len(strays)

    def _write_file(self, table: pa.Table, kind: str) -> StateFile:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        content = sink.getvalue()
        digest = hashlib.sha256(content).hexdigest()
        name = f"{self._sequence:09d}-{kind}-{digest[:16]}.arrow"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_durably(self.folder / name, content)
            self.written_bytes += len(content)
        except OSError as error:
            raise StateFileError(
                f"state file {name} in {self.folder} could not be written: {error}; nothing is "
                "lost, the flow resumes from its last snapshot when there is room again"
            ) from error
        metadata = table.schema.metadata or {}
        rows = int(metadata.get(ROWS, len(table)))
        return StateFile(name, digest, len(content), rows)

    def _write_manifest(self, reference: Reference, mark: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps({**reference.plain(), **mark}).encode()
        write_durably(self.folder / MANIFEST, content, sync=False)

    def _remove_superseded(self) -> None:
        oldest_s = self._clock_s() - self._keep_s
        kept = []
        for since, at_s, file in self._superseded:
            if self._sequence - since >= _SNAPSHOTS_KEPT and at_s <= oldest_s:
                (self.folder / file.name).unlink(missing_ok=True)
            else:
                kept.append((since, at_s, file))
        self._superseded = kept


def read_tables(folder: Path, reference: Reference) -> list[pa.Table]:
    """Verify and load the files of a reference, oldest first. Raises StateFileError."""
    tables = []
    for file in reference.files:
        path = folder / file.name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StateFileError(f"state file {path} expected to be readable: {error}") from error
        digest = hashlib.sha256(content).hexdigest()
        if len(content) != file.size or digest != file.sha256:
            raise StateFileError(
                f"state file {path} expected {file.size} bytes with SHA-256 {file.sha256}, got "
                f"{len(content)} bytes with {digest}; it is torn or altered: restore it from a "
                "backup, or start from a new recovery directory"
            )
        tables.append(pa.ipc.open_file(content).read_all())
    return tables


def read_manifest(folder: Path) -> Reference | None:
    """The newest snapshot of a shard, running or not; None: there is none."""
    try:
        found = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        return None
    return Reference.of_plain(found)


def read_newest(folder: Path) -> list[pa.Table]:
    """The newest snapshot's files, of a shard that may be writing its next; none: there are none.

    Raises StateFileError, when files are missing or damaged and stay so.
    """
    for attempt in range(_READ_ATTEMPTS):
        reference = read_manifest(folder)
        if reference is None:
            return []
        try:
            return read_tables(folder, reference)
        except StateFileError:
            # A file may have been superseded and removed since the manifest was read.
            if attempt == _READ_ATTEMPTS - 1:
                raise
            time.sleep(_READ_AGAIN_S)
    raise AssertionError("the last attempt returns or raises")


def write_durably(path: Path, content: Any, sync: bool = True, mode: int = 0o666) -> None:
    """Write a file whole or not at all; with `sync`, on disk with its name when this returns.
    `mode` is who may do what with it, less the umask."""
    unfinished = path.with_name(path.name + ".part")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(content)
        handle.flush()
        if sync:
            os.fsync(handle.fileno())
    unfinished.replace(path)
    if sync:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def check_sizes(folder: Path, reference: Reference) -> None:
    """Whether the files of a reference are there, at a look. Raises StateFileError."""
    for file in reference.files:
        path = folder / file.name
        try:
            size = path.stat().st_size
        except OSError as error:
            raise StateFileError(f"state file {path} expected to be readable: {error}") from error
        if size != file.size:
            raise StateFileError(
                f"state file {path} expected {file.size} bytes, got {size}; it is torn or altered: "
                "restore it from a backup, or start from a new recovery directory"
            )
