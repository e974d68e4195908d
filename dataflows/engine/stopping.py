"""The wish to stop, of this process or its peers, and how sources learn of it."""

import logging
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from streamrec.dataflows.engine.flags import addresses, recovery_directory

_logger = logging.getLogger(__name__)


class Stopping:
    """Whether this cluster was asked to stop. Sources then end, as if their input had: the engine
    finishes the epoch, saves every state and closes the sinks, and nothing is repeated later.

    A dataflow ends when the sources of all processes have, so a process that is asked tells the
    others by a file in the recovery directory. Where that is not shared they learn of it when this
    process leaves (`engine.watch`).
    """

    _LOOK_S = 0.2

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._began_s = time.time()
        self._look_at = 0.0
        folder = recovery_directory()
        has_peers = len(addresses()) > 1
        self._notice = None if folder is None or not has_peers else folder / "stop"
        # Called when the wish is first heard of, before anybody else hears of it.
        self.first: Callable[[], object] = lambda: None

    def __call__(self) -> bool:
        if not self._asked.is_set() and self._notice is not None:
            now_s = time.monotonic()
            if now_s >= self._look_at:
                self._look_at = now_s + self._LOOK_S
                with suppress(OSError):  # it is not there, or cannot be asked now
                    if self._notice.stat().st_mtime > self._began_s:
                        self.first()
                        self._asked.set()
        return self._asked.is_set()

    def on_signals(self) -> "Stopping":
        """Take SIGTERM and SIGINT for the wish to stop; a second one ends the process at once."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_signal)
        return self

    def ask(self, name: str) -> None:
        """Stop, and tell the peers. `name` is who or what wants it."""
        if self._asked.is_set():
            return
        if self._notice is not None:
            try:
                if self._notice.parent.exists():
                    self._notice.touch()
            except OSError as error:  # the peers learn of it when this process leaves
                _logger.warning("peers cannot be told of the stop: %s", error)
        self.first()
        self._asked.set()
        _logger.info("%s: finishing the epoch, then leaving", name)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        self.ask(signal.Signals(number).name)
