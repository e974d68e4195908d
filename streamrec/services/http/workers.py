"""Several processes of one service at one address, between which the kernel deals connections.

Each is the same command again, told by its environment that it is one of several. One that dies is
brought back; asked to stop, this process asks all, and ends when they have.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

from streamrec.services.http.server import FINISH_S, hold_address, url_of
from streamrec.services.http.settings import WORKER

_logger = logging.getLogger(__name__)

_GOOD = (0, -signal.SIGTERM)
_LOOK_S = 0.1
_AGAIN_S = 1.0  # before one that died is brought back
_GRACE_S = 5.0  # beyond what a drain may take


def worker_index() -> int | None:
    """Which of several processes this is; None: it is alone, or looks after them."""
    found = os.environ.get(WORKER)
    return int(found) if found is not None and found.isdecimal() else None


def run_workers(
    count: int,
    command: Sequence[str],
    host: str,
    port: int,
    drain_s: float,
    listening: Callable[[str], None],
) -> int:
    """Run so many of a command, which is told `--port`, until asked to stop; the status to leave
    with. Raises AddressError."""
    held = hold_address(host, port)
    at = held.getsockname()[1]
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    before = {each: signal.signal(each, ask) for each in (signal.SIGTERM, signal.SIGINT)}
    crew = _Crew([*command, "--port", str(at)])
    try:
        for index in range(count):
            crew.start(index)
        listening(url_of(host, at))
        while not asked:
            time.sleep(_LOOK_S)
            crew.bring_back()
        return crew.end(drain_s + FINISH_S + _GRACE_S, asked)
    finally:
        crew.kill()
        for number, handler in before.items():
            signal.signal(number, handler)
        held.close()


class _Crew:
    """The processes, by their numbers."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._start_at_s: dict[int, float] = {}

    def start(self, index: int) -> None:
        # In a session of its own: a terminal's Ctrl-C is told by us, once.
        self._running[index] = subprocess.Popen(
            self._command,
            env={**os.environ, WORKER: str(index)},
            start_new_session=True,
        )

    def bring_back(self) -> None:
        """Start those again that have died, a while ago."""
        now_s = time.monotonic()
        for index, process in self._running.items():
            if process.poll() is None:
                continue
            if index not in self._start_at_s:
                _logger.warning("worker %d ended with status %d", index, process.returncode)
                self._start_at_s[index] = now_s + _AGAIN_S
        for index, at_s in list(self._start_at_s.items()):
            if at_s <= now_s:
                del self._start_at_s[index]
                self.start(index)

    def end(self, timeout_s: float, asked: list[int]) -> int:
        """Ask all to end, again where this process is asked again; 0: all did, in good order."""
        told, give_up_s = 0, time.monotonic() + timeout_s
        while any(each.poll() is None for each in self._running.values()):
            if told < len(asked):
                told += 1
                for each in self._running.values():
                    if each.poll() is None:
                        each.send_signal(signal.SIGTERM)
            if time.monotonic() > give_up_s:
                return 1
            time.sleep(_LOOK_S)
        # One that was told before it listened to signals had nothing to finish.
        bad = [each.returncode for each in self._running.values() if each.returncode not in _GOOD]
        return abs(bad[0]) if bad else 0

    def kill(self) -> None:
        for each in self._running.values():
            if each.poll() is None:
                each.kill()
            each.wait()


def own_command() -> list[str]:
    """This program as it was called, but for its port."""
    found: list[str] = []
    skip = False
    for argument in sys.argv[1:]:
        if skip or argument.startswith("--port="):
            skip = False
        elif argument == "--port":
            skip = True
        else:
            found.append(argument)
    return [sys.executable, "-m", "streamrec", *found]


__all__ = ["own_command", "run_workers", "worker_index"]
