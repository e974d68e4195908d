"""Whether a process can do its work now, and if not, why."""

import threading
from collections.abc import Callable

Check = Callable[[], str | None]  # why not; None: all is well


class Health:
    """Reasons for which a process is not ready. It is alive as long as it answers at all.

    >>> health = Health()
    >>> health.add("log", lambda: "the log does not answer")
    >>> health.reasons()
    ['the log does not answer']
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._checks: dict[str, Check] = {}

    def add(self, name: str, check: Check) -> None:
        """`check` is asked by the server's thread, and returns at once; one of the same name is
        replaced."""
        with self._lock:
            self._checks[name] = check

    def set(self, name: str, reason: str | None) -> None:
        """The same for what is known when it changes."""
        self.add(name, lambda: reason)

    def reasons(self) -> list[str]:
        """Why it is not ready; empty: it is."""
        with self._lock:
            checks = list(self._checks.values())
        return [reason for check in checks if (reason := check()) is not None]


__all__ = ["Check", "Health"]
