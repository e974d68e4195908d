"""Some consecutive messages of a batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from streamrec.connectors.log import Detail, RawBatch


@dataclass(frozen=True, slots=True)
class _DetailFrom:
    """What messages carry besides, from a row of a batch on."""

    detail: Callable[[int], Detail]
    start: int

    def __call__(self, index: int) -> Detail:
        return self.detail(self.start + index)


def part(batch: RawBatch, start: int, stop: int) -> RawBatch:
    """The messages from `start` to before `stop`.

    What is left of a batch may be cut any number of times: one that goes out record by record is
    the part of a part thousands deep, and each asks the whole for what its messages carry.
    """
    detail, first = batch.detail, start
    if isinstance(detail, _DetailFrom):
        first += detail.start
        detail = detail.detail
    return RawBatch(
        batch.topic,
        batch.partition,
        batch.offsets[start:stop],
        batch.values[start:stop],
        _DetailFrom(detail, first),
        batch.times_ms[start:stop],
        partial(_headed, batch.with_headers, start, stop),
    )


def _headed(of_all: Callable[[], Sequence[int]], start: int, stop: int) -> list[int]:
    return [index - start for index in of_all() if start <= index < stop]


__all__ = ["part"]
