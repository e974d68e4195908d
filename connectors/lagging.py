"""Asking again for what a registry does not know yet: a follower may lag behind its leader."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import TypeVar

from streamrec.connectors.log import UnknownSchemaError

T = TypeVar("T")

_AGAIN_S = 2.0
_QUIET_S = 20.0
_PAUSE_S = 0.2
_MET_MAX = 10_000


class Lag:
    """Asks again for 2 s for what is met for the first time.

    Garbage makes up ids without end, and must not hold up what is good: what is met within 20 s of
    a wait in vain is asked for once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._met: set[Hashable] = set()
        self._until_s = 0.0
        self._quiet_s = 0.0

    def asked(self, key: Hashable, ask: Callable[[], T]) -> T:
        """The answer to a question. Raises UnknownSchemaError, and what `ask` raises."""
        waited = False
        while True:
            try:
                found = ask()
            except UnknownSchemaError:
                if not self._may_lag(key):
                    raise
            else:
                if waited:  # not in vain: the next one may lag as well
                    with self._lock:
                        self._quiet_s = 0.0
                return found
            waited = True
            time.sleep(_PAUSE_S)

    def _may_lag(self, key: Hashable) -> bool:
        now_s = time.monotonic()
        with self._lock:
            if len(self._met) > _MET_MAX:
                self._met.clear()
            if now_s < self._until_s:
                return True
            if key in self._met or now_s < self._quiet_s:
                self._met.add(key)
                return False
            self._met.add(key)
            self._until_s = now_s + _AGAIN_S
            self._quiet_s = self._until_s + _QUIET_S
            return True
