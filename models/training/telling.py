"""Progress of a training, in few lines."""

import time
from collections.abc import Callable


class Telling:
    """Passes on what each phase (the words before a colon) says first at its end, and in between
    no more often than every so many seconds."""

    def __init__(self, tell: Callable[[str], object], every_s: float) -> None:
        self._tell = tell
        self._every_s = every_s
        self._phase = ""
        self._waiting: str | None = None
        self._told_s = time.monotonic()

    def __call__(self, message: str) -> None:
        phase = message.partition(":")[0]
        if phase != self._phase:
            self.end()
            self._phase = phase
        self._waiting = message
        if time.monotonic() - self._told_s >= self._every_s:
            self.end()

    def end(self) -> None:
        """Pass on what waits."""
        if self._waiting is not None:
            self._tell(self._waiting)
            self._told_s = time.monotonic()
        self._waiting = None
