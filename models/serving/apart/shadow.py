"""A model that is asked beside another and holds it up in nothing: it may lag, or be left out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from streamrec.models.serving.apart.predictor import ApartPredictor
from streamrec.models.serving.apart.settings import Limits, Plan
from streamrec.models.serving.apart.tickets import Finished, Line
from streamrec.models.serving.contract import Input

_NICE = 19
_PAUSE_S = 5.0  # the least between two starts: starting takes much of a processor


@dataclass(slots=True)
class ShadowCounts:
    """Of inputs."""

    answered: int = 0
    dropped: int = 0
    late: int = 0  # answered, more than `late_s` after they were offered


class Shadow:
    """Offers of one thread; the process behind gives way to all others and may be shared."""

    def __init__(
        self, predictor: ApartPredictor, most_in_flight: int = 1000, late_s: float = 1.0
    ) -> None:
        self.counts = ShadowCounts()
        self._predictor = predictor
        self._most = most_in_flight
        self._late_s = late_s
        self._line = Line()
        self._in_flight = 0

    def offer(self, inputs: Sequence[Input], tag: Any = None) -> bool:
        """Does not wait. False: dropped, as too many inputs are in flight."""
        if self._in_flight + len(inputs) > self._most:
            self.counts.dropped += len(inputs)
            return False
        self._in_flight += len(inputs)
        self._predictor.submit(inputs, tag, self._line)
        return True

    def poll(self) -> Finished:
        """What has been answered, in the order offered."""
        finished = self._predictor.poll(self._line)
        now_s = time.monotonic()
        for ticket, answers in finished:
            self._in_flight -= len(answers)
            self.counts.answered += len(answers)
            if now_s - ticket.submitted_s > self._late_s:
                self.counts.late += len(answers)
        return finished


def shadow_predictor(plan: Plan, limits: Limits, name: str) -> ApartPredictor:
    """With a process that takes only what others leave, and is started at most every `_PAUSE_S`."""
    pause_s = max(limits.pause_s, _PAUSE_S)
    return ApartPredictor(
        plan, replace(limits, nice=max(limits.nice, _NICE), pause_s=pause_s), name
    )


__all__ = ["Shadow", "ShadowCounts", "shadow_predictor"]
