"""Who answers: a model in this process, a while at a time, or one in a process of its own."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from streamrec.models.serving.contract import Answer, ColumnPredictor, Fault, Input, Predictor
from streamrec.schemas.columns import Columns

_logger = logging.getLogger(__name__)

_SLOW_CALLS = 2


class HandedOver(Protocol):
    """ModelInputs that were handed to a model in a process of its own."""

    def answered(self) -> tuple[list[Answer | Fault], float] | None:
        """One answer for each input, and the seconds that they took; None: not yet."""


class Apart(Protocol):
    """A model in a process of its own."""

    def submit(self, inputs: Sequence[Input]) -> HandedOver: ...


@dataclass(slots=True)
class Running:
    """A variant as it runs in this process: shared by the worker threads."""

    label: str  # for logs
    predictor: Predictor | None  # None: it runs apart from the start
    make_apart: Callable[[], Apart]
    cut_s: float = 0.1
    clock: Callable[[], float] = time.perf_counter
    apart: Apart | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    # Of the predictor, for all that ask it: a model may keep something from one call to the next.
    turns: threading.Lock = field(default_factory=threading.Lock)
    _slow_calls: int = 0  # one after the other

    def answer_some(
        self, inputs: Sequence[Any], until: float
    ) -> tuple[list[Answer | Fault], float]:
        """The answers to the first of some inputs, as many as time allows, at least one unless it
        has moved; and how long that took. Calls grow while they are quick: a model that is slow is
        found out with the first. One whose single call takes longer than a batch may moves to a
        process of its own."""
        assert self.predictor is not None
        took_s = 0.0
        found: list[Answer | Fault] = []
        size = 1
        while len(found) < len(inputs):
            chunk = inputs[len(found) : len(found) + size]
            with self.turns:
                if self.apart is not None:  # by another worker
                    break
                begun = self.clock()  # to wait for one's turn is no work of the model
                found += self.predictor.predict(chunk)
                now = self.clock()
            took_s += now - begun
            each_s = (now - begun) / len(chunk)
            if len(chunk) == 1 and self._is_slow(each_s):
                self._move_apart(each_s)
                break
            if now >= until:
                break
            size = _next_size(size, each_s, until - now)
        return found, took_s

    def by_column(self, columns: Columns, count: int) -> tuple[Columns, dict[int, Fault]]:
        """A whole batch at once."""
        predictor: Any = self.predictor
        of_columns: ColumnPredictor = predictor
        return of_columns.predict_columns(columns, count)

    def start_apart(self) -> None:
        with self.lock:
            if self.apart is None:
                self.apart = self.make_apart()

    def _is_slow(self, took_s: float) -> bool:
        """Whether single calls take longer than they may: one alone may have been the first, which
        loads something, or a pause of the machine."""
        self._slow_calls = self._slow_calls + 1 if took_s > self.cut_s else 0
        return self._slow_calls >= _SLOW_CALLS

    def _move_apart(self, took_s: float) -> None:
        if self.apart is None:
            _logger.warning(
                "model %s: one answer took %.0f ms, more than the %.0f ms for which others may be "
                "held up: it goes on in a process of its own",
                self.label,
                took_s * 1e3,
                self.cut_s * 1e3,
            )
            self.start_apart()


def _next_size(size: int, each_s: float, left_s: float) -> int:
    """Of the next call: eightfold at most, and to end within the time that is left.

    >>> _next_size(1, 0.001, 0.1), _next_size(64, 0.001, 0.1), _next_size(64, 0.2, 0.1)
    (8, 100, 1)
    """
    if each_s <= 0.0:
        return 8 * size
    return max(1, min(8 * size, int(left_s / each_s)))


__all__ = ["Apart", "HandedOver", "Running"]
