"""The wish to stop, of this process or its peers, and how sources learn of it."""

import logging
import os
import signal
import threading
import time
from types import FrameType

from streamrec.dataflows.engine.flags import addresses, recovery_directory

_logger = logging.getLogger(__name__)


class Stopping:
    """Whether this cluster was asked to stop. Sources then end, as if their input had: the engine
    finishes the epoch, saves every state and closes the sinks, and nothing is repeated later.

    A dataflow ends when the sources of all processes have, so a process that is asked tells the
    others by a file in the recovery directory. Where that is not shared they learn of it when this
    process leaves: after `LEAVE_S` it does so in any case, and what it had not saved is repeated.
    """

    LEAVE_S = 9.0
    _LOOK_S = 0.2

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._began_s = time.time()
        self._look_at = 0.0
        folder = recovery_directory()
        self._has_peers = len(addresses()) > 1
        self._notice = None if folder is None or not self._has_peers else folder / "stop"

    def __call__(self) -> bool:
        if not self._asked.is_set() and self._notice is not None:
            now_s = time.monotonic()
            if now_s >= self._look_at:
                self._look_at = now_s + self._LOOK_S
                if self._notice.exists() and self._notice.stat().st_mtime > self._began_s:
                    self._asked.set()
        return self._asked.is_set()

    def on_signals(self) -> "Stopping":
        """Take SIGTERM and SIGINT for the wish to stop; a second one ends the process at once."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        _logger.info("%s: finishing the epoch, then leaving", signal.Signals(number).name)
        self._asked.set()
        if self._notice is not None:
            self._notice.touch()
        if self._has_peers:
            leave = threading.Timer(self.LEAVE_S, self._leave)
            leave.daemon = True
            leave.start()

    def _leave(self) -> None:
        _logger.error("peers go on after %.0f s: leaving without them", self.LEAVE_S)
        os._exit(1)
