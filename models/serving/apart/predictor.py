"""A model that works in a process of its own, and is replaced when it hangs, grows or crashes.

Whoever submits inputs does not wait for their answers. They go to the process in batches of what
waits, cut to `cut_ms`; one batch is under way and one waits in the channel. A call that fails ends
the process, and its batch comes again in halves, in a fresh and warm one, until the record is alone
that does it (`waiting.py`): that one is answered by a `Fault`, once and for all, and all others are
answered in their order. What fails a call:

- it takes longer than `timeout_s`, whatever the number of its records;
- memory grows by more than `memory_mb` over what it was when the process was warm. It is looked
  at every 20 ms during a call, and after it;
- the process ends.

A record is at fault for a time-out where it is alone in its call, for the other two only where it
was also the first that its process had: what piled up before is not its doing. With n records in a
batch one culprit costs at most log2(n) + 1 time-outs, and one end more where it must be sure. A
model that is called for each record by itself (`batched = False`) tells which it is at: a time-out
then costs one, and a crash at most three ends.

Memory that grows over many records is nobody's fault: the process is replaced between two calls.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from streamrec.models.serving.apart.crew import Counts, Crew
from streamrec.models.serving.apart.loop import LOOP, Awaited
from streamrec.models.serving.apart.settings import Limits, Plan
from streamrec.models.serving.apart.tickets import Finished, Line, Ticket
from streamrec.models.serving.apart.work import Work
from streamrec.models.serving.contract import Answer, Fault, Input, Metadata

_CLOSE_S = 0.9
_EXIT_LOOK_S = 0.005  # between two looks at a process that is about to end


class Closed(RuntimeError):
    """Answers were awaited of a predictor that was closed."""


class ApartPredictor:
    """Keeps the contract of `Predictor`; used by any number of threads. To be closed.

    Made at once: processes of several models load side by side until `wait_until_warm`.
    """

    def __init__(self, plan: Plan, limits: Limits, name: str) -> None:
        """`name` is for logs and errors."""
        self._name = name
        self._limited = limits.timeout_s is not None or limits.memory_mb is not None
        self._crew = Crew(name, plan, limits)
        self._changed = threading.Condition(threading.Lock())
        self._work = Work(name, self._crew, limits, self._changed.notify_all, LOOP.wake)
        self._closed = False
        self._broken: Exception | None = None
        self._line = Line()
        LOOP.add(self)

    def wait_until_warm(self) -> None:
        """Raises BadModel where the model cannot be had, in one line that says why."""
        with self._changed:
            while self._crew.metadata is None:
                self._check()
                self._changed.wait()

    @property
    def metadata(self) -> Metadata:
        """Waits until the model is warm. Raises BadModel."""
        self.wait_until_warm()
        metadata = self._crew.metadata
        assert metadata is not None
        return metadata

    @property
    def counts(self) -> Counts:
        with self._changed:
            return replace(self._crew.counts)

    @property
    def pid(self) -> int | None:
        """Of the process that works, None while there is none."""
        process = self._crew.working
        return None if process is None else process.pid

    def predict(self, inputs: Sequence[Input]) -> list[Answer | Fault]:
        """Waits for the answers."""
        line = Line()
        ticket = self.submit(inputs, line=line)
        with self._changed:
            while ticket.left:
                self._check()
                self._changed.wait()
        return ticket.answers

    def submit(self, inputs: Sequence[Input], tag: Any = None, line: Line | None = None) -> Ticket:
        """Does not wait. `line`: of a caller that polls for itself, as each thread should."""
        ticket = Ticket(inputs, tag, time.monotonic())
        with self._changed:
            self._check()
            (self._line if line is None else line).tickets.append(ticket)
            idle = self._work.idle
            self._work.add(ticket)
            self._work.send()
            process = self._crew.working
            unseen = process is not None and (process.has_to_send or (idle and self._limited))
        if unseen:  # else the loop's thread waits for what comes anyway
            LOOP.wake()
        return ticket

    def poll(self, line: Line | None = None) -> Finished:
        """Tickets of the line that are answered, in the order submitted. Does not wait."""
        with self._changed:
            self._check()
            if (process := self._crew.working) is not None:
                self._work.receive(process)
                self._work.send()
                if process.has_to_send:
                    LOOP.wake()
            return (self._line if line is None else line).finished()

    def check(self) -> None:
        """For who looks at tickets himself: raises BadModel, Closed or RuntimeError where none will
        be answered any more."""
        with self._changed:
            self._check()

    def close(self) -> None:
        """Within a second. What was not answered is not; who waits for it gets `Closed`."""
        LOOP.remove(self)
        with self._changed:
            self._closed = True
            processes = self._crew.end_all()
            self._changed.notify_all()
        until_s = time.monotonic() + _CLOSE_S
        for process in processes:
            process.reaped(max(0.0, until_s - time.monotonic()))

    def step(self) -> None:
        """Of the loop's thread alone."""
        with self._changed:
            if self._closed:
                return
            now_s = time.monotonic()
            before = self._crew.metadata, self._crew.refused
            if self._crew.working is not None:
                self._work.look_at(self._crew.working, now_s)
            self._crew.step(now_s)
            self._work.send()
            if (self._crew.metadata, self._crew.refused) != before:
                self._changed.notify_all()

    def watch(self) -> Awaited:
        with self._changed:
            processes = [] if self._closed else self._crew.processes
            now_s = time.monotonic()
            times = [self._crew.until_s, self._work.next_look_s(now_s)]
            readable: list[int] = []
            for process in processes:
                channel, printed = process.descriptors
                if process.closed_its_end:
                    times.append(now_s + _EXIT_LOOK_S)
                else:
                    readable.append(channel)
                if process.printed.paused_until_s > now_s:
                    times.append(process.printed.paused_until_s)
                elif not process.printed.ended:
                    readable.append(printed)
            writable = tuple(p.descriptors[0] for p in processes if p.has_to_send)
            known = [time_s for time_s in times if time_s is not None]
            return Awaited(min(known, default=None), tuple(readable), writable)

    def broke(self, error: Exception) -> None:
        LOOP.remove(self)
        with self._changed:
            self._broken = error
            self._crew.end_all()
            self._changed.notify_all()

    def _check(self) -> None:
        if self._crew.refused is not None:
            # Imported here since it brings the recommender with it.
            from streamrec.models.loading import BadModel

            raise BadModel(f"model {self._name!r}: {self._crew.refused}")
        if self._closed:
            raise Closed(f"model {self._name!r} is closed")
        if self._broken is not None:
            raise RuntimeError(f"model {self._name!r}: {self._broken!r}") from self._broken


__all__ = ["ApartPredictor", "Closed"]
