"""The processes of one model: one that works, one that is being warmed, one to spare."""

import logging
from dataclasses import dataclass

from streamrec.models.serving.apart.ends import crashed
from streamrec.models.serving.apart.process import ModelProcess
from streamrec.models.serving.apart.settings import Limits, Plan
from streamrec.models.serving.apart.wire import Header, Unmade, Warm, unpacked
from streamrec.models.serving.contract import Metadata

_logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.1  # after a start that failed; doubled with each in a row
_LONGEST_PAUSE_S = 30.0
_TOLD_LINES = 3  # of what a process printed that could not be made


@dataclass(slots=True)
class Counts:
    """Of what happened to a model's processes."""

    starts: int = 0
    failed_starts: int = 0
    timeouts: int = 0
    outgrown: int = 0
    crashes: int = 0
    leaks: int = 0  # replaced because they had grown over many records


class Crew:
    """Not locked: its owner is. `step` starts processes and is for the loop's thread alone."""

    def __init__(self, name: str, plan: Plan, limits: Limits) -> None:
        self.working: ModelProcess | None = None
        self.metadata: Metadata | None = None  # once a process has been warm
        self.refused: str | None = None  # why the first could not be made: nothing is tried again
        self.counts = Counts()
        self._name = name
        self._plan = plan
        self._limits = limits
        self._spare: ModelProcess | None = None
        self._starting: ModelProcess | None = None
        self._ended: list[ModelProcess] = []
        self._failures = 0  # in a row
        self._not_before_s = 0.0

    @property
    def processes(self) -> list[ModelProcess]:
        """Those that may run."""
        return [each for each in (self.working, self._spare, self._starting) if each is not None]

    def step(self, now_s: float) -> None:
        self._ended = [process for process in self._ended if not process.reaped()]
        if self._spare is not None:
            self._look_at_spare(self._spare, now_s)
        if self._starting is not None:
            self._look_at_start(self._starting, now_s)
        if self._wants_one and now_s >= self._not_before_s:
            self._start(now_s)

    @property
    def until_s(self) -> float | None:
        """When `step` has something to do, whatever happens."""
        if self._starting is not None:
            return self._starting.started_s + self._limits.start_s
        return self._not_before_s if self._wants_one else None

    def lost(self, process: ModelProcess, now_s: float, in_vain: bool) -> None:
        """The one that worked has ended or is to end; `in_vain`: at nobody's fault, and without
        having answered anything, so that the next may do the same."""
        self._end(process)
        self.working, self._spare = self._spare, None
        if in_vain:
            self._pause(now_s)

    def has_answered(self) -> None:
        if self._spare is not None or not self._limits.spare:  # else the spare may be what fails
            self._failures = 0

    def end_all(self) -> list[ModelProcess]:
        """Kill all; those that are to be waited for."""
        for process in self.processes:
            self._end(process)
        self.working = self._spare = self._starting = None
        return self._ended

    @property
    def _wants_one(self) -> bool:
        if self.refused is not None or self._starting is not None:
            return False
        return self.working is None or (self._limits.spare and self._spare is None)

    def _start(self, now_s: float) -> None:
        self._not_before_s = now_s + self._limits.pause_s
        self.counts.starts += 1
        try:
            self._starting = ModelProcess(self._name, self._plan, self._limits)
        except OSError as error:  # no memory, no processes left
            self._failed(f"its process cannot be started: {error}", now_s)

    def _look_at_spare(self, spare: ModelProcess, now_s: float) -> None:
        spare.printed.read()
        spare.receive()  # nothing but the end
        if spare.status is not None:
            self._end(spare)
            self._spare = None
            self._failed(f"its spare process ended: {_told_end(spare)}", now_s)

    def _look_at_start(self, process: ModelProcess, now_s: float) -> None:
        process.flush()
        process.printed.read()
        for header, body in process.receive():
            message = unpacked(body)
            if isinstance(message, Warm):
                self._warm(process, header, message)
                return
            assert isinstance(message, Unmade)
            self._start_failed(process, message.message, now_s)
            return
        if process.status is not None:
            self._start_failed(process, f"ended while it was loaded: {_told_end(process)}", now_s)
        elif now_s - process.started_s > self._limits.start_s:
            self._start_failed(
                process, f"expected to be loaded within {self._limits.start_s:g} s, is not", now_s
            )

    def _warm(self, process: ModelProcess, header: Header, said: Warm) -> None:
        process.base_bytes = header.resident or process.resident()
        process.rest_bytes = process.base_bytes or 0
        process.one_by_one = said.one_by_one
        self.metadata = said.metadata
        self._starting = None
        if self.working is None:
            self.working = process
        else:
            self._spare = process

    def _start_failed(self, process: ModelProcess, message: str, now_s: float) -> None:
        self._end(process)
        self._starting = None
        printed = [line.strip() for line in process.printed.last if line.strip()]
        if printed:
            message += f"; it printed {' | '.join(printed[-_TOLD_LINES:])!r}"
        self._failed(message, now_s)

    def _failed(self, message: str, now_s: float) -> None:
        self.counts.failed_starts += 1
        if self.metadata is None:
            self.refused = message
            return
        pause_s = self._pause(now_s)
        _logger.warning("model %r: %s; started again in %.1f s", self._name, message, pause_s)

    def _pause(self, now_s: float) -> float:
        pause_s = min(_FIRST_PAUSE_S * 2.0**self._failures, _LONGEST_PAUSE_S)
        self._failures = min(self._failures + 1, 20)
        self._not_before_s = max(self._not_before_s, now_s + pause_s)
        return pause_s

    def _end(self, process: ModelProcess) -> None:
        process.kill()
        process.close()
        self._ended.append(process)


def _told_end(process: ModelProcess) -> str:
    status = process.status
    return "it runs" if status is None else crashed(status).message


__all__ = ["Counts", "Crew"]
