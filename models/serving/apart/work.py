"""What one model has to answer: what waits, what is under way, what becomes of failed calls."""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from streamrec.models.serving.apart.crew import Crew
from streamrec.models.serving.apart.ends import End, crashed, outgrown, timed_out
from streamrec.models.serving.apart.memory import CHEAP
from streamrec.models.serving.apart.process import ModelProcess
from streamrec.models.serving.apart.progress import At
from streamrec.models.serving.apart.settings import Limits
from streamrec.models.serving.apart.sizes import BatchSize
from streamrec.models.serving.apart.tickets import Ticket
from streamrec.models.serving.apart.waiting import Run, WaitingRecords
from streamrec.models.serving.apart.wire import Header, packed_inputs, unpacked
from streamrec.models.serving.contract import Answer, Fault
from streamrec.schemas.reasons import Reason

_logger = logging.getLogger(__name__)

_FLYING = 2  # batches: one is called while the next is on its way
_MEMORY_LOOK_S = 0.02 if CHEAP else 0.25
_OF_TIMEOUT = 0.25  # what a batch is meant to take of it, at most
_EXIT_S = 1.0  # for a process to end that has closed the channel

_Record = tuple[Ticket, int]  # and the input's index in it


@dataclass(slots=True)
class _Batch:
    number: int
    run: Run[_Record]
    confined: bool  # left of a killed batch: nothing else is sent beside it
    sent_bytes: int


class Work:
    """Not locked: its owner is. `tell` is called when a ticket is answered, `wake` when the loop's
    thread is to step."""

    def __init__(
        self,
        name: str,
        crew: Crew,
        limits: Limits,
        tell: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        self.crew = crew
        self._name = name
        self._limits = limits
        self._tell = tell
        self._wake = wake
        cut_s = limits.cut_ms / 1000
        if limits.timeout_s is not None:  # a batch that takes what it is meant to must not be late
            cut_s = min(cut_s, _OF_TIMEOUT * limits.timeout_s)
        self._size = BatchSize(cut_s)
        self._queue: WaitingRecords[_Record] = WaitingRecords()
        self._flying: deque[_Batch] = deque()
        self._number = 0
        self._ending_since_s: float | None = None  # the channel is closed, the process not ended

    @property
    def idle(self) -> bool:
        return not self._flying

    def add(self, ticket: Ticket) -> None:
        for index in range(len(ticket.inputs)):
            self._queue.add((ticket, index))

    def next_look_s(self, now_s: float) -> float | None:
        process = self.crew.working
        if process is None or not self._flying:
            return None
        times = []
        if self._limits.timeout_s is not None:
            times.append((process.at().since_s or now_s) + self._limits.timeout_s + 0.001)
        if self._limits.memory_mb is not None:
            times.append(now_s + _MEMORY_LOOK_S)
        return min(times, default=None)

    def send(self) -> None:
        process = self.crew.working
        while process is not None and len(self._queue) and len(self._flying) < _FLYING:
            confined = self._queue.suspects
            if self._flying and (confined or self._flying[-1].confined):
                return
            run = self._queue.take(self._size.records)
            body = self._packed(run)
            if not run.records:
                continue
            self._number += 1
            self._flying.append(_Batch(self._number, run, confined, len(body)))
            process.send(self._number, body)

    def _packed(self, run: Run[_Record]) -> bytes:
        """Inputs that cannot be sent are answered, and no longer of the run."""
        try:
            return packed_inputs([ticket.inputs[index] for ticket, index in run.records])
        except Exception:  # noqa: BLE001  # far too deep, or no plain values
            kept = [record for record in run.records if self._sendable(record)]
            run.records[:] = kept
            return packed_inputs([ticket.inputs[index] for ticket, index in kept])

    def _sendable(self, record: _Record) -> bool:
        ticket, index = record
        try:
            packed_inputs([ticket.inputs[index]])
        except Exception as error:  # noqa: BLE001  # whatever it is, it is this record's
            message = f"input expected plain values, not too deep in one another, got {error!r}"
            self._finish(record, Fault(Reason.INVALID_VALUE, message[:1000]))
            return False
        return True

    def receive(self, process: ModelProcess) -> None:
        for header, body in process.receive():
            batch = self._flying[0]
            assert header.number == batch.number, (header, batch.number)
            if end := self._outgrown_by_call(process, header):
                self._fail(process, end, None)
                return
            self._flying.popleft()
            self._answered(process, batch, header, unpacked(body))
            if self._growth(process, header.resident) > 0:
                self._replace(process)
                return

    def _answered(
        self, process: ModelProcess, batch: _Batch, header: Header, answers: list[Answer | Fault]
    ) -> None:
        records = batch.run.records
        took_s = header.took_us / 1e6
        self._size.answered(len(records), took_s, batch.sent_bytes)
        process.answered += len(records)
        process.rest_bytes = header.resident
        self.crew.has_answered()
        for record, answer in zip(records, answers, strict=True):
            record[0].took_s += took_s / len(records)
            self._finish(record, answer)
        self._queue.answered(batch.run)

    def _finish(self, record: _Record, answer: Answer | Fault) -> None:
        ticket, index = record
        ticket.answers[index] = answer
        ticket.left -= 1
        if not ticket.left:
            self._tell()

    def _growth(self, process: ModelProcess, resident: int) -> float:
        """Bytes beyond what is allowed; negative: within, or not known."""
        if self._limits.memory_mb is None or process.base_bytes is None or not resident:
            return -1.0
        return resident - process.base_bytes - 1e6 * self._limits.memory_mb

    def _outgrown_by_call(self, process: ModelProcess, header: Header) -> End | None:
        """Whether memory after a call is over the limit by this call's doing."""
        if self._growth(process, header.resident) <= 0:
            return None
        assert self._limits.memory_mb is not None and process.base_bytes is not None
        by_call = header.resident - process.rest_bytes
        if process.answered and by_call <= 1e6 * self._limits.memory_mb:
            return None
        return outgrown(self._limits.memory_mb, header.resident - process.base_bytes)

    def look_at(self, process: ModelProcess, now_s: float) -> None:
        process.flush()
        if process.printed.paused_until_s <= now_s:
            process.printed.read()
        ended = process.status is not None  # before what it said last is received
        self.receive(process)
        if self.crew.working is not process:
            return
        if ended or process.closed_its_end:
            self._look_at_end(process, now_s)
        elif self._flying:
            at = process.at()  # once, since the process goes on meanwhile
            if end := self._over_limit(process, at, now_s):
                self._fail(process, end, at)

    def _look_at_end(self, process: ModelProcess, now_s: float) -> None:
        status = process.status
        if status is not None:
            self._fail(process, crashed(status), process.at())
        elif self._ending_since_s is None:
            self._ending_since_s = now_s
        elif now_s - self._ending_since_s > _EXIT_S:
            process.kill()

    def _over_limit(self, process: ModelProcess, at: At, now_s: float) -> End | None:
        if at.number != self._flying[0].number or not at.since_s:
            return None
        timeout_s = self._limits.timeout_s
        if timeout_s is not None and now_s - at.since_s > timeout_s:
            return timed_out(timeout_s, now_s - at.since_s)
        if self._limits.memory_mb is not None:
            resident = process.resident() or 0
            # Not where it has gone on meanwhile: that may be the next record's memory.
            if self._growth(process, resident) > 0 and process.at() == at:
                assert process.base_bytes is not None
                return outgrown(self._limits.memory_mb, resident - process.base_bytes)
        return None

    def _fail(self, process: ModelProcess, end: End, at: At | None) -> None:
        """The process is ended by or for a call; `at` is where it was, None: after the first."""
        batches = list(self._flying)
        self._flying.clear()
        begun = bool(batches) and (at is None or at.number == batches[0].number)
        self._count(end)
        _logger.warning("model %r: %s; replaced by a fresh one", self._name, end.message)
        self._lose(process, in_vain=not begun and not process.answered)
        self._queue.back([batch.run for batch in (batches[1:] if begun else batches)])
        if begun:
            self._size.killed()
            place = at.place if at is not None and process.one_by_one else None
            self._suspect(process, batches[0].run, end, place)

    def _suspect(
        self, process: ModelProcess, run: Run[_Record], end: End, place: int | None
    ) -> None:
        """What becomes of the records of a call that failed, at one of them if that is known."""
        if len(run.records) == 1:
            place = 0
        if place is None:
            self._queue.failed(run)
        elif end.reason is Reason.MODEL_TIMEOUT or (process.answered == 0 and place == 0):
            self._finish(run.records[place], end.fault(process.printed.last))
            self._queue.around(run, place)
        else:
            self._queue.failed_at(run, place)

    def _replace(self, process: ModelProcess) -> None:
        """It has grown over many records."""
        self.crew.counts.leaks += 1
        _logger.warning(
            "model %r: its process grew by more than %g MB over %d records; replaced",
            self._name,
            self._limits.memory_mb,
            process.answered,
        )
        runs = [batch.run for batch in self._flying]
        self._flying.clear()
        self._lose(process, in_vain=False)
        self._queue.back(runs)

    def _lose(self, process: ModelProcess, in_vain: bool) -> None:
        self._ending_since_s = None
        self.crew.lost(process, time.monotonic(), in_vain)
        self._wake()

    def _count(self, end: End) -> None:
        counts = self.crew.counts
        counts.timeouts += end.reason is Reason.MODEL_TIMEOUT
        counts.outgrown += end.reason is Reason.MODEL_MEMORY
        counts.crashes += end.reason is Reason.MODEL_CRASHED


__all__ = ["Work"]
