"""What one `up` has for itself: its folder, and the ports that its parts are about to take."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from streamrec.connectors.local.free_ports import LOOPBACK
from streamrec.services.http.server import AddressError, hold_address

_LOCK = "up.lock"
_PID_BYTES = 20


class ClaimError(Exception):
    """A folder or a port is somebody else's; the message says which, and how to name another."""


@contextmanager
def folder_alone(folder: Path) -> Iterator[None]:
    """While no other `up` uses the folder, which is made where it is not there; it is free again
    however this process ends. Raises ClaimError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ClaimError(f"folder {str(folder)!r} expected to be writable: {error}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(lock, _PID_BYTES, 0).decode("ascii", "replace")
            raise ClaimError(
                f"folder {str(folder)!r} expected one that no other `up` uses, got that of process "
                f"{pid}; --folder names another"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(lock)


def check_free(ports: Mapping[str, int]) -> None:
    """Whether nobody listens there, by the option that names each: a part that cannot have its port
    would be taken for ready when somebody else's answers there. Raises ClaimError."""
    for option, port in ports.items():
        try:
            hold_address(LOOPBACK, port).close()
        except AddressError as error:
            raise ClaimError(f"{error}; {option} names another") from error


__all__ = ["ClaimError", "check_free", "folder_alone"]
