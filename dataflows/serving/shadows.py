"""A shadow of an experiment: it answers what it can keep up with, and nobody waits for it."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from streamrec.connectors.log import RawBatch
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.serving.inputs import ModelAnswers, ModelInputs
from streamrec.models.serving.apart.predictor import ApartPredictor
from streamrec.models.serving.apart.shadow import Shadow
from streamrec.models.serving.contract import Fault
from streamrec.models.serving.split import Assigned

_logger = logging.getLogger(__name__)

_TOLD_S = 30.0  # how often it is told what a shadow left out
_MOST = 1_000  # inputs of a shard that wait for it
_MOST_BYTES = 16 << 20  # of the batches that they came in; one that is larger goes alone


class ShadowShard:
    """Those inputs of one shard that a shadow is asked; what does not fit is left out, and counted.

    Nothing of it is saved: after a restart it is asked what comes then.
    """

    wait_s = 0.02

    def __init__(
        self,
        predictor: ApartPredictor,
        index: int,
        experiment: str,
        variant: str,
        encode: Callable[[Sequence[Any]], list[bytes | Fault]] | None = None,
        again: Callable[[Sequence[RawBatch]], list[ModelInputs | Failed]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`index` of the variant among the shadows. `again` decodes inputs once more, since whoever
        is served may have altered the values that it was given; None: nobody does."""
        self._shadow = Shadow(predictor, _MOST)
        self._index = index
        self._label = f"shadow {variant!r} of {experiment!r}"
        self._encode = encode
        self._again = again
        self._clock = clock
        self._faults: Counter[str] = Counter()
        self._told: tuple[float, int] = (clock(), 0)
        self._waiting = 0
        self._bytes = 0

    @property
    def pending(self) -> int:
        return self._waiting

    def take(self, values: list[ModelInputs]) -> list[ModelAnswers]:
        for inputs in values:
            if inputs.values is not None:
                size = _size(inputs)
                is_full = self._waiting and self._bytes + size > _MOST_BYTES
                rows = np.arange(0 if is_full else min(len(inputs), max(0, _MOST - self._waiting)))
                self._shadow.counts.dropped += len(inputs) - len(rows)
                tag = (inputs, rows, size)
                if len(rows) and self._shadow.offer(self._values(inputs)[: len(rows)], tag):
                    self._waiting += len(rows)
                    self._bytes += size
        return self.ready()

    def _values(self, inputs: ModelInputs) -> list[Any]:
        """Of all inputs, its own."""
        if self._again is not None:
            for item in self._again(inputs.raw()):
                if isinstance(item, ModelInputs) and item.values is not None:
                    return item.values
        assert inputs.values is not None
        return inputs.values

    def ready(self) -> list[ModelAnswers]:
        out = []
        for ticket, answers in self._shadow.poll():
            inputs, rows, size = ticket.tag
            self._waiting -= len(rows)
            self._bytes -= size
            if self._encode is not None:
                answers = _encoded(answers, self._encode)
            faults = [row for row, answer in enumerate(answers) if type(answer) is Fault]
            self._faults.update(str(answers[row].reason) for row in faults)
            good = np.setdiff1d(rows, np.array(faults, np.int64))
            if len(good):
                share_us = round(ticket.took_s * 1e6 / len(rows))
                out.append(
                    ModelAnswers(
                        inputs.shard,
                        inputs,
                        good,
                        [answers[row] for row in good.tolist()],
                        None,
                        np.full(len(good), share_us, np.int64),
                        Assigned(
                            np.full(len(good), self._index, np.int32), np.full(len(good), np.nan)
                        ),
                    )
                )
        self._tell()
        return out

    def snapshot(self) -> None:
        return None

    def _tell(self) -> None:
        """What was left out and what failed, every now and then."""
        told_at, told = self._told
        lost = self._shadow.counts.dropped + self._faults.total()
        if lost == told or self._clock() < told_at + _TOLD_S:
            return
        self._told = (self._clock(), lost)
        faults = ", ".join(f"{reason} {n}" for reason, n in self._faults.most_common())
        _logger.warning(
            "%s: %d inputs answered, %d left out, %d answered late; failed: %s",
            self._label,
            self._shadow.counts.answered,
            self._shadow.counts.dropped,
            self._shadow.counts.late,
            faults or "none",
        )


def _size(inputs: ModelInputs) -> int:
    """Bytes of the messages that a batch holds in memory."""
    return sum(len(value or b"") for batch in inputs.origins.batches for value in batch.values)


def _encoded(
    answers: Sequence[Any], encode: Callable[[Sequence[Any]], list[bytes | Fault]]
) -> list[Any]:
    return [each if type(each) is Fault else encode([each])[0] for each in answers]


__all__ = ["ShadowShard"]
