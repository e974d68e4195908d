"""A tick, as a record and in memory, and where to begin with them.

Inputs of a dataflow come as they come: partitions of several topics, read by several processes. A
tick cuts them: what each partition held before its end in the tick comes before it, in this run and
in every other. So what a step does at ticks, and only then, follows from the records and the ticks
alone, and not from how they happened to be read.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from itertools import chain
from typing import Any, NamedTuple

from streamrec.connectors.log import Headers, Log, OffsetBounds, UnknownSchemaError
from streamrec.connectors.reading import read_range
from streamrec.schemas.json_codec import UnreadableError

_logger = logging.getLogger(__name__)

_LOOK_BACK = 100  # numbers, at first
_NONE: Headers = []

Ends = Mapping[str, Mapping[int, int]]  # by topic and partition, the offset of the next record


class Tick(NamedTuple):
    """One record of the topic of ticks."""

    number: int  # its offset
    time_ms: int  # Unix milliseconds
    ends: Ends

    def covers(self, ends: Ends) -> bool:
        """Whether all that stands before these ends comes before this tick."""
        return all(
            self.ends.get(topic, {}).get(partition, 0) >= end
            for topic, of_topic in ends.items()
            for partition, end in of_topic.items()
        )


class LaneTick(NamedTuple):
    """A lane of a topic has come to a tick: what it emits after this comes later."""

    topic: str
    lane: int
    number: int
    time_ms: int


class TickCodec(NamedTuple):
    """How ticks are written down, and which of them are meant: those of all inputs. What others
    write of other inputs, at other times, stands in the same topic and says nothing here."""

    topic: str
    encode: Callable[[dict[str, Any]], bytes]
    decode: Callable[[bytes, Headers], Any]  # may raise UnreadableError, UnknownSchemaError
    inputs: Callable[[], Collection[str]]  # their topics

    def value(self, time_ms: int, ends: Ends) -> bytes:
        lists = [
            [of_topic.get(p, -1) for p in range(max(of_topic, default=-1) + 1)]
            for of_topic in ends.values()
        ]
        return self.encode(
            {
                "time": time_ms,
                "topics": list(ends),
                "partitions": list(map(len, lists)),
                "ends": list(chain.from_iterable(lists)),
            }
        )

    def tick(self, number: int, value: bytes | None, headers: Headers = _NONE) -> Tick | None:
        """None: it is no tick, as of someone who wrote by hand, or not one that is meant."""
        try:
            if value is None:
                raise UnreadableError("expected a tick, got null")
            found = self.decode(value, headers)
            left = iter(found["ends"])
            ends = {
                str(topic): {p: end for p in range(count) if (end := int(next(left))) >= 0}
                for topic, count in zip(found["topics"], found["partitions"], strict=True)
            }
            tick = Tick(number, int(found["time"]), ends)
        except (UnreadableError, UnknownSchemaError) as error:
            _logger.warning("topic %s, offset %d: passed over: %s", self.topic, number, error)
            return None
        except (KeyError, TypeError, ValueError, StopIteration):
            _logger.warning(
                "topic %s, offset %d: passed over: expected a tick, got %.200r",
                self.topic,
                number,
                found,
            )
            return None
        return tick if tick.ends.keys() >= set(self.inputs()) else None


def tick_at(log: Log, codec: TickCodec, number: int, end: int) -> Tick | None:
    """The first tick from a number on, below an end; None: there is none."""
    for found in read_range(log, codec.topic, {0: number}, {0: end}):
        tick = codec.tick(found.offset, found.value, found.headers)
        if tick is not None:
            return tick
    return None


def bounds_of(log: Log, codec: TickCodec) -> OffsetBounds:
    """Which numbers there are."""
    with closing(log.admin()) as admin:
        return admin.bounds(codec.topic)[0]


def last_tick(log: Log, codec: TickCodec) -> Tick | None:
    """The newest that there is."""
    low, end = bounds_of(log, codec)
    step = _LOOK_BACK
    while end > low:
        begin = max(low, end - step)
        newest: Tick | None = None
        for found in read_range(log, codec.topic, {0: begin}, {0: end}):
            newest = codec.tick(found.offset, found.value, found.headers) or newest
        if newest is not None:
            return newest
        end, step = begin, 2 * step
    return None


def first_tick(log: Log, codec: TickCodec, positions: Ends) -> int:
    """The number of the first tick that comes after something which is read from these positions,
    or of the next tick that there will be. Looks at a few, since ends do not go back."""
    low, high = bounds_of(log, codec)
    while low < high:
        middle = (low + high) // 2
        found = tick_at(log, codec, middle, high)
        if found is None or _is_after(found, positions):
            high = middle
        else:
            low = found.number + 1
    return low


def _is_after(tick: Tick, positions: Ends) -> bool:
    return any(
        end > positions.get(topic, {}).get(partition, 0)
        for topic, of_topic in tick.ends.items()
        if topic in positions
        for partition, end in of_topic.items()
    )


__all__ = [
    "Ends",
    "LaneTick",
    "Tick",
    "TickCodec",
    "bounds_of",
    "first_tick",
    "last_tick",
    "tick_at",
]
