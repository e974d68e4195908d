"""Lets a worker's lanes of one topic on from tick to tick.

What stands behind the newest tick waits for the next: only then is it known to come after that one
in every run.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from streamrec.connectors.batch_part import part
from streamrec.connectors.log import Log, LogReader, OffsetOutOfRangeError, RawBatch
from streamrec.connectors.ticks.tick import Ends, LaneTick, Tick, TickCodec, bounds_of, last_tick

_logger = logging.getLogger(__name__)

_POLL_TICKS = 1_000  # held at most, or twice that
_HANDED_MAX = 64  # ticks, in one go


@dataclass(frozen=True, slots=True)
class GateOptions:
    """How ticks are read by a source."""

    codec: TickCodec
    first: Callable[[], int]  # the number of the first tick for a lane that no snapshot knows
    # Of a finite run: the lanes end with the newest tick that there is, if it covers it, or the
    # first that does.
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
        self._last: int | None = None  # of a finite run, once it is known
        self._has_all = False  # of a finite run: the ticks up to that one were read
        self._cut_short = False  # whether a lane was given all that it may have in one go

    def open_lane(self, lane: int, reached: int | None) -> None:
        """A lane goes on after a tick; None: it is new."""
        self._reached[lane] = self._options.first() - 1 if reached is None else reached

    def close_lane(self, lane: int) -> None:
        del self._reached[lane]
        if not self._reached and self._reader is not None:
            self._reader.close()

    def reached(self, lane: int) -> int:
        return self._reached[lane]

    def poll(self) -> bool:
        """Look for new ticks; returns whether a lane may go on at once. Those of a finite run end,
        and of many the next are for later."""
        codec = self._options.codec
        if self._reader is None:
            self._reader = self._open()
        done = min(self._reached.values())
        if self._ticks and self._ticks[0].number <= done:
            self._ticks = [tick for tick in self._ticks if tick.number > done]
        may_go_on, self._cut_short = self._cut_short, False
        if self._has_all or len(self._ticks) >= _POLL_TICKS:
            return may_go_on
        for batch in self._reader.poll(_POLL_TICKS):
            for index, (number, value) in enumerate(
                zip(batch.offsets.tolist(), batch.values, strict=True)
            ):
                tick = codec.tick(number, value, batch.detail(index).headers)
                if tick is None or self._has_all:
                    continue
                self._ticks.append(tick)
                may_go_on = True
                if self._last is None and self._covers(tick):
                    self._last = number
                self._has_all = self._last is not None and number >= self._last
        return may_go_on

    def _open(self) -> LogReader:
        """All lanes of the worker are open."""
        done = min(self._reached.values())
        codec = self._options.codec
        newest = last_tick(self._log, codec)
        if newest is not None:
            self._check_input(newest)
            if self._covers(newest):
                # With what had passed where nothing came, which the first that covers does not say.
                self._last = newest.number
                self._has_all = newest.number <= done  # there is nothing to be done
        begin, low = done + 1, bounds_of(self._log, codec).low
        if begin < low:
            _logger.warning(
                "topic %s: ticks %d to %d are gone, retention removed them: what they cut is taken "
                "in with the next one",
                codec.topic,
                begin,
                low - 1,
            )
            begin = low
        reader = self._log.reader()
        reader.assign(codec.topic, {0: begin})
        return reader

    def _check_input(self, newest: Tick) -> None:
        """What a topic held when a tick was written it still holds, or held; else nothing would
        come for long, and nobody would know."""
        with closing(self._log.admin()) as admin:
            ends = admin.ends(self._topic)
        for partition, end in newest.ends.get(self._topic, {}).items():
            if ends.get(partition, 0) < end:
                raise OffsetOutOfRangeError(
                    f"topic {self._topic!r}, partition {partition}: expected offsets up to {end}, "
                    f"as tick {newest.number} of topic {self._options.codec.topic!r} says, got up "
                    f"to {ends.get(partition, 0)}; the topic was deleted and made anew: do the "
                    "same with that of ticks, and begin with a new recovery directory"
                )

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
                self._cut_short = True
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


__all__ = ["Gate", "GateOptions"]
