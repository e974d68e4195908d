"""How long a question to the log or to the registry may go unanswered, and what is said meanwhile.

A job waits for as long as it takes and says the cause every 30 s; a command gives up after seconds;
and whoever is asked to stop waits no longer than it takes to elect a leader. (That a peer has died
is looked at elsewhere, whatever this process waits for.)
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

TELL_EVERY_S = 30.0
STOPPING_S = 5.0  # for an answer, in all, once the process is to stop
_LOOK_S = 0.1

_told_s: dict[str, float] = {}


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Patience:
    """`limit_s` None: as long as it takes. `stopping` says whether this process is to end."""

    limit_s: float | None = 30.0
    stopping: Callable[[], bool] = _never

    def wait(self) -> "Wait":
        """Begin to wait for one answer."""
        return Wait(self)


class Wait:
    """For one answer, from now on."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._began_s = time.monotonic()

    def left_s(self) -> float:
        """How much longer to wait; infinite without a limit."""
        limit_s = self._patience.limit_s
        limit_s = float("inf") if limit_s is None else limit_s
        if self._patience.stopping():
            limit_s = min(limit_s, STOPPING_S)
        return max(0.0, limit_s - self.waited_s())

    def waited_s(self) -> float:
        return time.monotonic() - self._began_s

    def again(self, pause_s: float) -> bool:
        """Pause, then say whether to ask again: not when the limit is reached, in mid-pause too."""
        until_s = time.monotonic() + pause_s
        while left_s := self.left_s():
            now_s = time.monotonic()
            if now_s >= until_s:
                return True
            time.sleep(min(_LOOK_S, until_s - now_s, left_s))
        return False


def is_time_to_tell(what: str) -> bool:
    """Whether it was not told for 30 s, by any thread; it counts as told now."""
    now_s = time.monotonic()
    if now_s - _told_s.get(what, -TELL_EVERY_S) < TELL_EVERY_S:
        return False
    _told_s[what] = now_s
    return True


__all__ = ["TELL_EVERY_S", "Patience", "Wait", "is_time_to_tell"]
