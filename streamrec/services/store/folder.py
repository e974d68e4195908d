"""A store in a folder: the file in use, and another that may be made beside it and take its place.

    store/current     the name of the file in use
    store/gate        a lock: held for each put, and while a file takes another's place
    store/<name>/     LMDB's files; others with each rebuild

Who puts looks each time, with the gate in hand, which file is in use; who gets looks twice a
second. So a put is in the file that was in use when it began, and `Replacement.swap`, which waits
for it, takes in what the topic holds by then: nothing falls between the two.
"""

import fcntl
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from streamrec.connectors.state_files import write_durably
from streamrec.services.store.contract import Item, Space, StoreError
from streamrec.services.store.lmdb_file import LmdbFile, opened

LOOK_S = 0.5  # how often who reads looks for another file

_CURRENT = "current"
_NAME_BYTES = 8
_NAME = re.compile(f"[0-9a-f]{{{2 * _NAME_BYTES}}}")


class FolderStore:
    """Keeps the contract over the file in use."""

    def __init__(
        self, folder: Path, make: bool = False, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        """With `make` a store that is missing is made with the first put; without, every `get`
        raises StoreError until there is one."""
        self.folder = folder
        self.where = f"store {str(folder)!r}"
        self._make = make
        self._clock_s = clock_s
        self._lock = threading.RLock()
        self._file: LmdbFile | None = None
        self._name = ""
        self._look_at_s = 0.0
        self._gate: int | None = None

    def get(self, space: Space, keys: Sequence[bytes]) -> list[bytes | None]:
        now_s = self._clock_s()
        with self._lock:
            if self._file is None or now_s >= self._look_at_s:
                self._look_at_s = now_s + LOOK_S
                self._look(make=False)
            assert self._file is not None
            return self._file.get(space, keys)

    def put(self, space: Space, items: Iterable[Item]) -> None:
        with self._lock, self._gated():
            self._look(self._make)
            assert self._file is not None
            self._file.put(space, items)

    def sync(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.sync()

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file = None
            if self._gate is not None:
                os.close(self._gate)
                self._gate = None

    def _look(self, make: bool) -> None:
        """Open the file in use, if it is another than before."""
        name = current_name(self.folder)
        while name != self._name or self._file is None:
            if name is None:
                if not make:
                    raise StoreError(
                        f"{self.where} expected a store, got none; run dataflows.store, which "
                        "makes one, or let STREAMREC_STORE name another"
                    )
                name = self._made()
            if self._file is not None:
                self._file.close()
                self._file = None
            try:
                self._file, self._name = opened(self.folder / name), name
            except StoreError:
                if current_name(self.folder) == name:
                    raise  # else another has taken its place meanwhile
            name = current_name(self.folder)

    def _made(self) -> str:
        with explained(self.where):
            name = new_name()
            opened(self.folder / name, make=True).close()
            set_current(self.folder, name)
        return name

    @contextmanager
    def _gated(self) -> Iterator[None]:
        if self._gate is None:
            self._gate = opened_gate(self.folder, self._make)
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._gate, fcntl.LOCK_UN)


class Replacement:
    """A new file beside the one in use: filled, then swapped in; or closed, and gone."""

    def __init__(self, folder: Path) -> None:
        """Raises StoreError while another is being made there."""
        self.folder = folder
        self._where = f"store {str(folder)!r}"
        with explained(self._where):
            folder.mkdir(parents=True, exist_ok=True)
            self._alone = os.open(folder / "rebuild", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(self._alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(self._alone)
                raise StoreError(
                    f"{self._where} expected one rebuild at a time, got another that runs"
                ) from error
            self._name = new_name()
            with shut_gate(folder):  # or a file that is just being made would be taken for one
                _remove_others(folder)  # of rebuilds that were killed
            self.store = opened(folder / self._name, make=True)

    def swap(self, complete: Callable[[], None]) -> None:
        """Put it in the place of the one in use. `complete` is called while nobody puts, to take in
        what came meanwhile."""
        with shut_gate(self.folder):
            complete()
            self.store.sync()
            with explained(self._where):
                set_current(self.folder, self._name)

    def close(self) -> None:
        """Remove what is not in use: the file before, or this one."""
        self.store.close()
        _remove_others(self.folder)
        os.close(self._alone)


def current_name(folder: Path) -> str | None:
    """The name of the file in use; None: there is none."""
    try:
        return (folder / _CURRENT).read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


def set_current(folder: Path, name: str) -> None:
    """All or nothing, also over a power cut."""
    write_durably(folder / _CURRENT, name.encode())


def new_name() -> str:
    """A name that no file has had: who has one open must not take another for it."""
    return secrets.token_hex(_NAME_BYTES)


def opened_gate(folder: Path, make: bool) -> int:
    """The gate's file, to be locked."""
    with explained(f"store {str(folder)!r}"):
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / "gate", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


@contextmanager
def shut_gate(folder: Path) -> Iterator[None]:
    """While nobody puts."""
    gate = opened_gate(folder, make=True)
    try:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield
    finally:
        os.close(gate)


def _remove_others(folder: Path) -> None:
    current = current_name(folder)
    for path in _files(folder):
        if path.name != current:
            shutil.rmtree(path, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]


@contextmanager
def explained(where: str) -> Iterator[None]:
    """What the file system says, as a StoreError."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{where} expected a folder that can be written, got {error.strerror or error}"
        ) from error


__all__ = ["FolderStore", "Replacement", "current_name"]
