"""Locks that the kernel keeps, and takes back from a process that dies, however it dies."""

import errno
import fcntl
import logging
import os
from pathlib import Path
from typing import NamedTuple

_logger = logging.getLogger(__name__)

# What file systems say that keep no locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class KernelLock(NamedTuple):
    """A lock that this process has until it lets go of it or ends."""

    handle: int

    def release(self) -> None:
        os.close(self.handle)


class KernelLocks:
    """A lock file for each slot, in one folder."""

    def __init__(self, folder: Path, optional: bool = False) -> None:
        """`optional`: a folder that cannot be written to means that there are no locks."""
        self._folder = folder
        self._optional = optional
        self.supported = True  # until the file system says otherwise

    def take(self, slot: int) -> KernelLock | None:
        """None: another has it, or the file system keeps no locks (`supported`)."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path(slot), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if not self._optional:
                raise
            _logger.warning("no locks of this machine can be had: %s", error)
            self.supported = False
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if error.errno in _NO_LOCKS:
                self.supported = False
            elif error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            return None
        return KernelLock(handle)

    def identity(self, slot: int) -> str:
        """What tells the lock file from those of other folders, on one machine. "": none."""
        try:
            found = self._path(slot).stat()
        except FileNotFoundError:
            return ""
        return f"{found.st_dev}:{found.st_ino}"

    def _path(self, slot: int) -> Path:
        return self._folder / f"slot-{slot}.lock"
