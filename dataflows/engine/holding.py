"""What this process alone may write: recovery directories and logs that it holds a lease of."""

import threading
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path

from streamrec.connectors.leases.board import FolderBoard
from streamrec.connectors.leases.holder import Claim
from streamrec.connectors.leases.kernel_locks import KernelLocks
from streamrec.connectors.leases.lease import Lease
from streamrec.dataflows.engine.flags import addresses, process_index, workers
from streamrec.dataflows.engine.leaving import leave

_guard = threading.Lock()
_leases: dict[str, tuple[Lease, int]] = {}  # of this process, and how many hold it
_gone: deque[str] = deque()  # what is held once less


def own_claim(lease_s: float) -> Claim:
    """The slot of this process in its cluster, as the engine was started."""
    processes = max(1, len(addresses()))
    shape = (
        f"{processes} process{'es' * (processes > 1)} of {workers()} worker{'s' * (workers() > 1)}"
    )
    return Claim(process_index(), shape, lease_s)


def folder_lease(what: str, folder: Path, claim: Claim) -> Lease:
    """A lease that is kept in files."""
    own = "a folder of its own"
    return Lease(what, own, claim, FolderBoard(folder), KernelLocks(folder), end_at_once)


class Holding:
    """What one dataflow of this process holds, until nothing refers to this any more or the process
    ends. Called before anything is handed on or saved: returns when all of it is still ours."""

    def __init__(self) -> None:
        self._held: list[Lease] = []
        self._keys: list[str] = []
        self._end = weakref.finalize(self, _release, self._keys)

    def __call__(self) -> None:
        for lease in self._held:
            lease.check()

    def take(self, key: str, make: Callable[[], Lease]) -> Lease:
        """Hold what the key names; a process may hold a thing several times. Raises InUseError."""
        try:
            with _guard:
                lease, count = _leases.get(key, (None, 0))
                if lease is None:
                    lease = make()
                    lease.claim()
                _leases[key] = (lease, count + 1)
        finally:
            _leave_gone()
        self._held.append(lease)
        self._keys.append(key)
        return lease


def _release(keys: list[str]) -> None:
    _gone.extend(keys)
    _leave_gone()


def _leave_gone() -> None:
    """By whoever has the guard, once it is done. A finalizer runs anywhere, in the middle of `take`
    and of this too, in the same thread: it must neither wait for the guard nor change what is
    counted there."""
    while _gone and _guard.acquire(blocking=False):
        try:
            while _gone:
                key = _gone.popleft()
                lease, count = _leases.pop(key)
                if count > 1:
                    _leases[key] = (lease, count - 1)
                else:
                    lease.leave()
        finally:
            _guard.release()


def end_at_once(message: str) -> None:
    """Another writes now: not even an end in good order may be left to this process."""
    leave(1, f"{message}; this process ends at once, and nothing more of it is written")
