"""A tick, as a record and in memory, and where to begin with them.

Inputs of a dataflow come as they come: partitions of several topics, read by several processes. A
tick cuts them: what each partition held before its end in the tick comes before it, in this run and
in every other. So what a step does at ticks, and only then, follows from the records and the ticks
alone, and not from how they happened to be read.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, NamedTuple

from streamrec.connectors.log import Log
from streamrec.connectors.reading import read_range

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
    """How ticks are written down."""

    topic: str
    encode: Callable[[dict[str, Any]], bytes]
    decode: Callable[[bytes], dict[str, Any]]

    def value(self, time_ms: int, ends: Ends) -> bytes:
        lists = {
            topic: [of_topic.get(p, -1) for p in range(max(of_topic, default=-1) + 1)]
            for topic, of_topic in ends.items()
        }
        return self.encode({"time": time_ms, "ends": lists})

    def tick(self, number: int, value: bytes) -> Tick:
        found = self.decode(value)
        ends = {
            topic: {p: end for p, end in enumerate(of_topic) if end >= 0}
            for topic, of_topic in found["ends"].items()
        }
        return Tick(number, found["time"], ends)


def tick_at(log: Log, codec: TickCodec, number: int, end: int) -> Tick | None:
    """The first tick from a number on, below an end; None: there is none."""
    found = next(read_range(log, codec.topic, {0: number}, {0: end}), None)
    if found is None:
        return None
    assert found.value is not None
    return codec.tick(found.offset, found.value)


def last_tick(log: Log, codec: TickCodec) -> Tick | None:
    """The newest that there is."""
    with closing(log.admin()) as admin:
        bounds = admin.bounds(codec.topic)[0]
    for number in range(bounds.high - 1, max(bounds.low, bounds.high - 100) - 1, -1):
        found = tick_at(log, codec, number, bounds.high)
        if found is not None:
            return found
    return None


def first_tick(log: Log, codec: TickCodec, positions: Ends) -> int:
    """The number of the first tick that comes after something which is read from these positions,
    or of the next tick that there will be. Looks at a few, since ends do not go back."""
    with closing(log.admin()) as admin:
        low, high = admin.bounds(codec.topic)[0]
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


__all__ = ["Ends", "LaneTick", "Tick", "TickCodec", "first_tick", "last_tick", "tick_at"]
