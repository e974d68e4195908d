"""How far a dataflow is behind the ends of its inputs, asked when somebody wants to know."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from streamrec.connectors.log import Log, LogAdmin
from streamrec.dataflows.job.counts import Place

_logger = logging.getLogger(__name__)

FRESH_S = 5.0  # no sooner is it asked again
_WAIT_S = 1.0  # for an answer; who looks gets what was known before if it takes longer


@dataclass(frozen=True, slots=True)
class Lags:
    """What is known."""

    records: Mapping[Place, int] = field(default_factory=dict)  # behind, by topic and reader
    answers: bool | None = None  # whether the log does; None: not known yet


class LagWatch:
    """Asks in a thread of its own, with clients of its own: a log that is away holds up nobody.
    Neither is made before the first look."""

    def __init__(
        self,
        open_log: Callable[[], Log],
        positions: Callable[[], Mapping[Place, Mapping[int, int]]],
    ) -> None:
        """`open_log` opens one whose patience is a matter of seconds."""
        self._open_log = open_log
        self._positions = positions
        self._changed = threading.Condition()
        self._wanted = False
        self._known = Lags()
        self._asked_s: float | None = None
        self._thread: threading.Thread | None = None

    def look(self, wait_s: float = _WAIT_S) -> Lags:
        """No older than some seconds, as long as the log answers within `wait_s`; 0: what was known
        before, and the next look knows more."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lag", daemon=True)
                self._thread.start()
            is_old = self._asked_s is None or time.monotonic() - self._asked_s > FRESH_S
            if is_old and not self._wanted:
                self._wanted = True
                self._changed.notify_all()
            if self._known.answers is not False:  # else nobody need wait for it to be away
                self._changed.wait_for(lambda: not self._wanted, wait_s)
            return self._known

    def _run(self) -> None:
        admin: LogAdmin | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted)
            try:
                if admin is None:
                    admin = self._open_log().admin()
                positions = self._positions()
                known = Lags(lags_of(admin, positions), True if positions else None)
            except Exception as error:  # noqa: BLE001  # the thread must live on
                _logger.debug("the lag is not known: %s", error)
                known = Lags({}, False)
                if admin is not None:
                    with suppress(Exception):
                        admin.close()
                admin = None
            with self._changed:
                self._known, self._asked_s, self._wanted = known, time.monotonic(), False
                self._changed.notify_all()


def lags_of(admin: LogAdmin, positions: Mapping[Place, Mapping[int, int]]) -> dict[Place, int]:
    """How many records lie between positions and the ends, by topic and reader. Raises LogError."""
    ends = {topic: admin.ends(topic, committed=True) for topic, _ in positions}
    return {
        (topic, reader): sum(max(0, ends[topic].get(p, at) - at) for p, at in places.items())
        for (topic, reader), places in positions.items()
    }


__all__ = ["FRESH_S", "LagWatch", "Lags", "lags_of"]
