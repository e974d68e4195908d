"""When records that were read a moment ago had been written to the log."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from streamrec.connectors.log import NO_TIMESTAMP_MS, RawBatch

# Batches of a partition, and up to twice as many: fewer where there are many partitions.
_KEPT, _KEPT_LEAST, _KEPT_ALL = 1_024, 64, 16_384


@dataclass(slots=True)
class _Spans:
    """Batches of one partition, by first offset: four numbers each."""

    firsts: list[int] = field(default_factory=list)
    rest: list[tuple[int, int, int]] = field(default_factory=list)  # last offset, times of both


class InputTimes:
    """Of each batch the ends are kept, and what is between is taken to have come evenly.

    Whoever calls from several threads has a lock.
    """

    def __init__(self) -> None:
        self._spans: dict[tuple[str, int], _Spans] = {}

    def note(self, batches: Iterable[RawBatch]) -> None:
        """These were read, by whoever reads the topic."""
        for batch in batches:
            if not len(batch):
                continue
            offsets, times_ms = batch.offsets, batch.times_ms
            first, last = int(offsets[0]), int(offsets[-1])
            spans = self._spans.setdefault((batch.topic, batch.partition), _Spans())
            span = (last, int(times_ms[0]), int(times_ms[-1]))
            if not spans.firsts or first > spans.firsts[-1]:
                spans.firsts.append(first)
                spans.rest.append(span)
            else:  # read again, or by another reader
                place = bisect_left(spans.firsts, first)
                if spans.firsts[place] == first:
                    spans.rest[place] = max(spans.rest[place], span)
                else:
                    spans.firsts.insert(place, first)
                    spans.rest.insert(place, span)
            kept = min(_KEPT, max(_KEPT_LEAST, _KEPT_ALL // len(self._spans)))
            if len(spans.firsts) > 2 * kept:
                del spans.firsts[:-kept], spans.rest[:-kept]

    def time_ms(self, topic: str, partition: int, offset: int) -> int | None:
        """Unix ms; None: the log had none, or it was read too long ago or by another process."""
        spans = self._spans.get((topic, partition))
        if spans is None:
            return None
        place = bisect_right(spans.firsts, offset) - 1
        if place < 0:
            return None
        first = spans.firsts[place]
        last, first_ms, last_ms = spans.rest[place]
        if offset > last or NO_TIMESTAMP_MS in (first_ms, last_ms):
            return None
        if offset == first or first == last:
            return first_ms
        return first_ms + (last_ms - first_ms) * (offset - first) // (last - first)


__all__ = ["InputTimes"]
