"""Starts parts, brings one back that dies, and ends all in good order."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from streamrec.connectors.local.guarded_process import GuardedProcess
from streamrec.services.together.parts import Part

_logger = logging.getLogger(__name__)

_POLL_S = 0.05
_STOP_S = 20.0  # a dataflow takes 10 s at most, and longer only if a broker is away
_DELAY_S_MAX = 30.0
_YOUNG_S = 60.0


class PartsError(Exception):
    """A part did not become ready; the message says which, and where its log is."""


@dataclass
class _Running:
    part: Part
    process: GuardedProcess
    started_s: float
    delay_s: float = 0.0
    again_s: float | None = None  # when it is started again; None: it runs


@dataclass
class Keeper:
    """The parts, with their logs in a folder."""

    parts: Sequence[Part]
    environment: Mapping[str, str]
    logs: Path
    stopping: Callable[[], bool] = lambda: False
    _running: list[_Running] = field(default_factory=list)

    def start(self) -> None:
        """Start all."""
        self.logs.mkdir(parents=True, exist_ok=True)
        now_s = time.monotonic()
        self._running = [_Running(part, self._open(part), now_s) for part in self.parts]

    def await_ready(self, timeout_s: float) -> None:
        """Wait until each that says so is ready, or a stop is wanted. Raises PartsError for one
        that is not in time, or ends."""
        until_s = time.monotonic() + timeout_s
        for each in self._running:
            url = each.part.ready_url
            while url is not None and not _is_ready(url) and not self.stopping():
                if not each.process.running():
                    raise PartsError(self._told(each, f"ended with status {each.process.status}"))
                if time.monotonic() > until_s:
                    raise PartsError(self._told(each, f"is not ready after {timeout_s:.0f} s"))
                time.sleep(_POLL_S)

    def keep(self) -> None:
        """Until a stop is wanted: start again what has ended, at once the first time and ever more
        slowly while it dies young."""
        while not self.stopping():
            for each in self._running:
                self._look_at(each)
            time.sleep(_POLL_S)

    def kill(self, name: str) -> None:
        """End a part at once, as `kill -9` does; `keep` brings it back."""
        for each in self._running:
            if each.part.name == name and each.again_s is None:
                each.process.kill()

    def stop(self) -> bool:
        """End all, one after the other; says whether each ended in good order."""
        good = True
        for each in self._running:
            each.process.ask_to_stop()
            until_s = time.monotonic() + _STOP_S
            while each.process.running() and time.monotonic() < until_s:
                time.sleep(_POLL_S)
            if each.again_s is None and each.process.status != 0:
                _logger.warning("%s", self._told(each, f"ended with status {each.process.status}"))
                good = False
            each.process.kill()  # of one that has ended this lets go of what is left
        return good

    def _look_at(self, each: _Running) -> None:
        now_s = time.monotonic()
        if each.again_s is not None:
            if now_s >= each.again_s:
                each.process, each.started_s, each.again_s = self._open(each.part), now_s, None
            return
        if each.process.running():
            return
        status = each.process.status
        each.process.kill()
        is_young = now_s - each.started_s < _YOUNG_S
        delay_s = min(max(2 * each.delay_s, 1.0), _DELAY_S_MAX) if is_young else 0.0
        each.delay_s, each.again_s = delay_s, now_s + delay_s
        what = self._told(each, f"ended with status {status}")
        _logger.warning("%s; starting it again in %.0f s", what, delay_s)

    def _open(self, part: Part) -> GuardedProcess:
        environment = {**self.environment, **part.environment}
        return GuardedProcess(part.command, self._log(part), environment)

    def _log(self, part: Part) -> Path:
        return self.logs / f"{part.name}.log"

    def _told(self, each: _Running, what: str) -> str:
        return f"{each.part.name} {what}; its log is {self._log(each.part)}"


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0).status_code == 200
    except httpx.HTTPError:
        return False


__all__ = ["Keeper", "PartsError"]
