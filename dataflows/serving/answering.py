"""The step `score` of a served model: the answers to a batch of inputs, at once or in their time.

A model in this process answers as long as a batch may hold up others; what is left then, and what a
process of its own has not answered yet, is asked for again (`job.later`).
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.serving.inputs import ModelAnswers, ModelInputs
from streamrec.dataflows.serving.running import HandedOver, Running
from streamrec.models.serving.contract import Fault
from streamrec.models.serving.split import Assigned
from streamrec.schemas.columns import select


class Chooser(Protocol):
    """Which variant answers each of n inputs, and which inputs name none that there is."""

    def __call__(self, inputs: ModelInputs) -> tuple[Assigned, dict[int, Fault]]: ...


Encode = Callable[[Sequence[Any]], list[bytes | Fault]]
# Is told of how many inputs were answered, and the faults among them.
Judge = Callable[[int, Collection[Fault]], object]


@dataclass(slots=True)
class _Part:
    """The inputs of a batch that one variant answers."""

    running: Running
    rows: list[int]
    inputs: list[Any]
    done: int = 0  # of them, answered
    ticket: HandedOver | None = None

    def is_done(self) -> bool:
        return self.done == len(self.rows)


@dataclass(slots=True)
class Batch:
    """A batch on its way to its answers; a future, as `job.later` takes it."""

    inputs: ModelInputs
    assigned: Assigned | None
    parts: list[_Part]
    faults: dict[int, Fault]
    answers: list[Any]
    took_us: NDArray[np.int64]
    cut_s: float
    clock: Callable[[], float]
    tell: Callable[[int, float], object]
    encode: Encode | None = None
    judge: Judge | None = None
    served: int = 0

    def done(self) -> bool:
        """Goes on with what is left, for as long as a batch may take."""
        until = self.clock() + self.cut_s
        for part in self.parts:
            if not part.is_done():
                self._go_on(part, until)
        return all(part.is_done() for part in self.parts)

    def result(self) -> list[ModelAnswers | Failed]:
        inputs, faults = self.inputs, self.faults
        if self.encode is not None:
            self._encode(self.encode)
        if self.judge is not None:
            self.judge(len(inputs), faults.values())
        out: list[ModelAnswers | Failed] = [
            inputs.fault(row, faults[row]) for row in sorted(faults)
        ]
        rows = np.arange(len(inputs))
        answers, took_us, assigned = self.answers, self.took_us, self.assigned
        if faults:
            rows = np.setdiff1d(rows, np.fromiter(faults, np.int64))
            answers, took_us = [answers[row] for row in rows.tolist()], took_us[rows]
            if assigned is not None:
                assigned = Assigned(assigned.variants[rows], assigned.propensities[rows])
        if len(rows):
            out.append(
                ModelAnswers(
                    inputs.shard, inputs, rows, answers, None, took_us, assigned, self.served
                )
            )
        return out

    def _encode(self, encode: Encode) -> None:
        """Answers in the form in which they are written; those that have none fail."""
        good = [row for row in range(len(self.inputs)) if row not in self.faults]
        for row, encoded in zip(good, encode([self.answers[row] for row in good]), strict=True):
            if type(encoded) is Fault:
                self.faults[row] = encoded
            else:
                self.answers[row] = encoded

    def _go_on(self, part: _Part, until: float) -> None:
        running = part.running
        if part.ticket is None and running.apart is None:
            left = part.inputs[part.done :] if part.done else part.inputs
            self._put(part, *running.answer_some(left, until))
        if part.is_done():
            return
        if part.ticket is None and running.apart is not None:
            part.ticket = running.apart.submit(part.inputs[part.done :])
        if part.ticket is not None and (found := part.ticket.answered()) is not None:
            self._put(part, *found)

    def _put(self, part: _Part, found: Sequence[Any], took_s: float) -> None:
        share_us = round(took_s * 1e6 / len(found)) if found else 0
        for row, answer in zip(part.rows[part.done : part.done + len(found)], found, strict=True):
            if type(answer) is Fault:
                self.faults[row] = answer
            else:
                self.answers[row] = answer
            self.took_us[row] = share_us
        part.done += len(found)
        self.tell(len(found), took_s)


@dataclass(frozen=True, slots=True)
class AnswerInputs:
    """Called with the inputs of one lane."""

    variants: Sequence[Running]
    choose: Chooser | None  # None: there is one variant
    cut_s: float
    clock: Callable[[], float] = time.perf_counter
    # Is told how many were answered, and in how many seconds.
    tell: Callable[[int, float], object] = field(default=lambda count, took_s: None)
    encode: Encode | None = None  # None: answers are written as they are
    judge: Judge | None = None
    served: int = 0  # which of those that the outputs name it is, where there is no choice

    def __call__(self, inputs: ModelInputs) -> "list[ModelAnswers | Failed] | Batch":
        if inputs.values is None:
            return self._by_column(inputs)
        batch = self._batch(inputs)
        return batch.result() if batch.done() else batch

    def _batch(self, inputs: ModelInputs) -> Batch:
        n = len(inputs)
        assert inputs.values is not None
        assigned: Assigned | None = None
        faults: dict[int, Fault] = {}
        parts: list[_Part] = []
        if self.choose is None:
            parts.append(_Part(self.variants[0], list(range(n)), inputs.values))
        else:
            assigned, faults = self.choose(inputs)
            which = assigned.variants.copy()
            which[list(faults)] = -1
            for index, running in enumerate(self.variants):
                rows = np.flatnonzero(which == index).tolist()
                if rows:
                    parts.append(_Part(running, rows, inputs.take(rows)))
        took_us = np.zeros(n, np.int64)
        answers: list[Any] = [None] * n
        return Batch(
            inputs,
            assigned,
            parts,
            faults,
            answers,
            took_us,
            self.cut_s,
            self.clock,
            self.tell,
            self.encode,
            self.judge,
            self.served,
        )

    def _by_column(self, inputs: ModelInputs) -> list[ModelAnswers | Failed]:
        n, begun = len(inputs), self.clock()
        assert inputs.columns is not None
        columns, faults = self.variants[0].by_column(inputs.columns, n)
        took_s = self.clock() - begun
        self.tell(n, took_s)
        if self.judge is not None:
            self.judge(n, faults.values())
        rows = np.arange(n)
        out: list[ModelAnswers | Failed] = [
            inputs.fault(row, faults[row]) for row in sorted(faults)
        ]
        if faults:
            rows = np.setdiff1d(rows, np.fromiter(faults, np.int64))
            columns = select(columns, rows)
        if len(rows):
            took_us = np.full(len(rows), round(took_s * 1e6 / n), np.int64)
            out.append(
                ModelAnswers(inputs.shard, inputs, rows, None, columns, took_us, None, self.served)
            )
        return out


__all__ = ["AnswerInputs", "Batch", "Chooser", "Judge"]
