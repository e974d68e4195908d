"""A thread that puts what others hand over, and puts together what has come meanwhile."""

import logging
import threading
import time
from collections.abc import Callable

from streamrec.services.store.contract import Item, Space, StoreAwayError, ValueStore

_logger = logging.getLogger(__name__)

WAITING_MAX = 20_000  # values that may wait to be put
_RETRY_S = 1.0
_SAY_S = 30.0


class Putting:
    """Owned by one sink. What the store says is raised to whoever comes next."""

    def __init__(self, store: ValueStore, space: Space, stopping: Callable[[], bool]) -> None:
        self._store = store
        self._space = space
        self._stopping = stopping
        self._changed = threading.Condition()
        self._waiting: list[Item] = []
        self._is_putting = False
        self._ended = False
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How many values wait to be put."""
        return len(self._waiting)

    def hand_over(self, items: list[Item]) -> None:
        """Returns at once, unless too much waits. Raises StoreError of what was put before."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="store", daemon=True)
                self._thread.start()
            self._changed.wait_for(lambda: self._error or len(self._waiting) < WAITING_MAX)
            self._raise()
            self._waiting += items
            self._changed.notify_all()

    def until_put(self) -> None:
        """Wait until all that was handed over is put. Raises StoreError."""
        with self._changed:
            self._changed.wait_for(lambda: self._error or not (self._waiting or self._is_putting))
            self._raise()

    def end(self) -> None:
        """End the thread. Nothing may be waiting."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    return
                items, self._waiting = self._waiting, []
                self._is_putting = True
                self._changed.notify_all()
            try:
                waited_for(lambda items=items: self._put(items), self._stopping)  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001  # raised where the next one comes
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._is_putting = False
                self._changed.notify_all()

    def _put(self, items: list[Item]) -> None:
        self._store.put(self._space, items)


def waited_for(act: Callable[[], None], stopping: Callable[[], bool]) -> None:
    """Do it, however long the store is away, which is said; not while a stop is wanted. Raises
    StoreError."""
    said_s = -_SAY_S
    while True:
        try:
            act()
            return
        except StoreAwayError as error:
            if stopping():
                raise
            if time.monotonic() - said_s >= _SAY_S:
                said_s = time.monotonic()
                _logger.warning("%s; waiting for it", error)
            time.sleep(_RETRY_S)


__all__ = ["Putting", "waited_for"]
