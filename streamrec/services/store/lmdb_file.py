"""A store in one LMDB file: one writes at a time, many read, and nobody waits for a writer.

- *Commits.* A put is one transaction: readers see all of it or nothing, and a process that is
  killed leaves the file as its last commit had it. `sync` flushes to the disk; without it a power
  cut may take back what came since, and may, on file systems that reorder writes, harm the file:
  it is made anew from the topic (`streamrec store rebuild`).
- *Growth.* The map grows by itself, here by doubling, elsewhere when another process has grown it.
- *Readers that were killed* leave their slot, which would keep old pages alive: `sync` frees it.
- *A full disk* is told as StoreFullError, and the file is as it was.

Local file systems only: LMDB's locks do not go over a network.
"""

import errno
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import lmdb

from streamrec.services.store.contract import Item, Space, StoreError, StoreFullError, folded

T = TypeVar("T")

FIRST_MAP_BYTES = 64 * 1024 * 1024
_STEP_BYTES_MAX = 8 * 1024 * 1024 * 1024
_READERS_MAX = 1_024  # threads, of all processes
_SLOT_BYTES = 64
# LMDB says EIO where a write was cut short, as by a disk that has just become full.
_FULL = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO))


_opened: dict[str, "LmdbFile"] = {}  # LMDB allows a file to be opened once in a process
_opening = threading.Lock()


def opened(folder: Path, make: bool = False) -> "LmdbFile":
    """The file in a folder, which all who ask for it in this process share. Raises StoreError where
    there is none, unless it is to be made."""
    place = str(folder.resolve())
    with _opening:
        file = _opened.get(place)
        if file is None:
            file = _opened[place] = LmdbFile(folder, make)
        file.users += 1
        return file


class LmdbFile:
    """Keeps the contract in one folder. Made by `opened`."""

    def __init__(self, folder: Path, make: bool = False, map_bytes: int = FIRST_MAP_BYTES) -> None:
        self.folder = folder
        self.users = 0
        self.where = f"store {str(folder)!r}"
        self._lock = threading.Lock()  # a map is resized while nobody of this process reads
        try:
            if make:
                _make(folder)
            self._env = lmdb.open(
                str(folder),
                map_size=map_bytes,
                readonly=not os.access(folder, os.W_OK),
                create=make,
                sync=False,
                # Without it Linux takes pages that are read for the first that may go: a store
                # that fits in memory is read from the disk again and again.
                readahead=True,
                meminit=False,
                max_readers=_READERS_MAX,
                mode=0o644,
            )
        except (lmdb.Error, OSError) as error:
            raise self._told(error, "to be opened") from error

    def get(self, space: Space, keys: Sequence[bytes]) -> list[bytes | None]:
        prefix = _prefix(space)

        def read() -> list[bytes | None]:
            with self._env.begin() as txn:
                return [txn.get(prefix + key) for key in keys]

        return self._with_map(read, "to be read")

    def put(self, space: Space, items: Iterable[Item]) -> None:
        prefix, merge = _prefix(space), space.merge
        given = [(prefix + key, value) for key, value in folded(merge, items)]
        if not given:
            return

        def write() -> None:
            with self._env.begin(write=True) as txn, txn.cursor() as cursor:
                held = dict(cursor.getmulti([key for key, _ in given]))
                changed = []
                for key, value in given:
                    old = held.get(key)
                    new = value if old is None else merge(old, value)
                    if new != old:
                        changed.append((key, new))
                cursor.putmulti(changed)

        self._with_map(write, "to be written")

    def sync(self) -> None:
        try:
            self._env.reader_check()
            self._env.sync(True)
        except lmdb.Error as error:
            raise self._told(error, "to be synced") from error

    def close(self) -> None:
        """For one of those who share it; the last one closes it."""
        with _opening:
            self.users -= 1
            if self.users:
                return
            del _opened[str(self.folder.resolve())]
            with self._lock:
                self._env.close()

    @property
    def map_bytes(self) -> int:
        """How far it may grow before it is grown."""
        return int(self._env.info()["map_size"])

    def _with_map(self, act: Callable[[], T], what: str) -> T:
        """Act on a map that is large enough."""
        with self._lock:
            while True:
                try:
                    return act()
                except lmdb.MapFullError:
                    size = self.map_bytes
                    self._env.set_mapsize(size + min(size, _STEP_BYTES_MAX))
                except lmdb.MapResizedError:
                    self._env.set_mapsize(0)  # as large as another process has made it
                except (lmdb.Error, OSError) as error:
                    raise self._told(error, what) from error

    def _told(self, error: Exception, what: str) -> StoreError:
        said = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if isinstance(error, lmdb.DiskError) or any(text in said for text in _FULL):
            return StoreFullError(
                f"{self.where} expected room for what is put, got {said!r}; the disk is "
                "full, or failed: free space, then start again"
            )
        return StoreError(f"{self.where} expected {what}, got {said!r}")


def _make(folder: Path) -> None:
    """The folder, and room for the readers' slots: LMDB writes them to memory that stands for the
    file, so that a disk which is full then ends the process by a signal."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "lock.mdb", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, _SLOT_BYTES * (_READERS_MAX + 16))
    finally:
        os.close(handle)


def _prefix(space: Space) -> bytes:
    return space.name.encode() + b"/"


__all__ = ["FIRST_MAP_BYTES", "LmdbFile", "opened"]
