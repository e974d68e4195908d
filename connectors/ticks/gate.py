"""Lets a worker's lanes of one topic on from tick to tick.

What stands behind the newest tick waits for the next: only then is it known to come after that one
in every run.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from streamrec.connectors.log import Log, LogReader, RawBatch
from streamrec.connectors.ticks.tick import Ends, LaneTick, Tick, TickCodec, last_tick

_POLL_TICKS = 1_000
_HANDED_MAX = 64  # ticks, in one go


@dataclass(frozen=True, slots=True)
class GateOptions:
    """How ticks are read by a source."""

    codec: TickCodec
    first: Callable[[], int]  # the number of the first tick for a lane that no snapshot knows
    # Of a finite run: the lanes end with the first tick that covers it.
    until: Callable[[], Ends] | None = None


class Gate:
    """The ticks of one topic of inputs, for the lanes of a worker."""

    def __init__(self, log: Log, topic: str, lanes: int, options: GateOptions) -> None:
        self._log = log
        self._topic = topic
        self._lanes = lanes
        self._options = options
        self._reader: LogReader | None = None
        self._ticks: list[Tick] = []  # those that some lane has not come to yet
        self._reached: dict[int, int] = {}  # by lane, the last tick that it has come to
        self._last: int | None = None  # of a finite run

    def open_lane(self, lane: int, reached: int | None) -> None:
        """A lane goes on after a tick; None: it is new."""
        self._reached[lane] = self._options.first() - 1 if reached is None else reached

    def close_lane(self, lane: int) -> None:
        del self._reached[lane]
        if not self._reached and self._reader is not None:
            self._reader.close()

    def reached(self, lane: int) -> int:
        return self._reached[lane]

    def poll(self) -> int:
        """Look for new ticks; returns how many there were."""
        codec = self._options.codec
        if self._reader is None:
            self._reader = self._open()
        count = 0
        for batch in self._reader.poll(_POLL_TICKS):
            for number, value in zip(batch.offsets.tolist(), batch.values, strict=True):
                assert value is not None
                tick = codec.tick(number, value)
                self._ticks.append(tick)
                count += 1
                if self._last is None and self._covers(tick):
                    self._last = number
        if count:
            done = min(self._reached.values())
            self._ticks = [tick for tick in self._ticks if tick.number > done]
        return count

    def _open(self) -> LogReader:
        """All lanes of the worker are open."""
        done = min(self._reached.values())
        newest = last_tick(self._log, self._options.codec)
        if newest is not None and newest.number <= done and self._covers(newest):
            self._last = newest.number  # there is nothing to be done
        reader = self._log.reader()
        reader.assign(self._options.codec.topic, {0: done + 1})
        return reader

    def _covers(self, tick: Tick) -> bool:
        until = self._options.until
        return until is not None and tick.covers(until())

    def has_more(self, lane: int) -> bool:
        """Whether a tick is known that the lane has not come to."""
        return bool(self._ticks) and self._ticks[-1].number > self._reached[lane]

    def take(
        self,
        lane: int,
        queue: list[RawBatch],
        positions: dict[int, int],
        has_passed: Callable[[int, int], bool],
        most: int,
    ) -> Iterator[RawBatch | LaneTick]:
        """What a lane may have: records up to a tick, the tick, and so on. Takes it out of `queue`,
        and moves `positions`, the next offsets. `has_passed` says whether the reader has passed an
        offset of a partition, where no record may stand."""
        count = handed = 0
        for tick in self._ticks:
            if tick.number <= self._reached[lane]:
                continue
            if count >= most or handed >= _HANDED_MAX:
                return
            ends = {
                p: end
                for p, end in tick.ends.get(self._topic, {}).items()
                if p % self._lanes == lane
            }
            for batch in _take_to(queue, ends):
                positions[batch.partition] = int(batch.offsets[-1]) + 1
                count += len(batch)
                yield batch
            for p, end in ends.items():
                if positions.get(p, 0) < end and not has_passed(p, end):
                    return
            handed += 1
            self._reached[lane] = tick.number
            yield LaneTick(self._topic, lane, tick.number, tick.time_ms)

    def has_ended(self, lane: int) -> bool:
        """Of a finite run: whether the lane has come to the tick that covers all inputs."""
        return self._last is not None and self._reached[lane] >= self._last


def _take_to(queue: list[RawBatch], ends: Mapping[int, int]) -> Iterator[RawBatch]:
    """The records below their partition's end; the others stay."""
    if not queue:
        return
    held = list(queue)
    queue.clear()
    for batch in held:
        end = ends.get(batch.partition, 0)
        if batch.offsets[-1] < end:
            yield batch
            continue
        cut = int(np.searchsorted(batch.offsets, end))
        if cut:
            yield part(batch, 0, cut)
        queue.append(part(batch, cut, len(batch)) if cut else batch)


def part(batch: RawBatch, start: int, stop: int) -> RawBatch:
    """Some consecutive messages of a batch."""
    return RawBatch(
        batch.topic,
        batch.partition,
        batch.offsets[start:stop],
        batch.values[start:stop],
        lambda index: batch.detail(start + index),
        batch.times_ms[start:stop],
    )


__all__ = ["Gate", "GateOptions", "part"]
