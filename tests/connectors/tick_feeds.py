"""Ticks in the tests of connectors: written by hand, and lanes driven as the engine does it."""

import json
import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from streamrec.connectors.log import Log, Outgoing, RawBatch
from streamrec.connectors.reading import read_all
from streamrec.connectors.source import LogSource, SourceLane, SourceOptions
from streamrec.connectors.starts import Positions, Start
from streamrec.connectors.ticks.gate import GateOptions
from streamrec.connectors.ticks.tick import Ends, LaneTick, Tick, TickCodec
from streamrec.schemas.json_codec import decode_json
from tests.connectors.log_reading import write

PATIENCE_S = 20.0

# By lane, the ticks in the order in which it came to them, and with each the places of the records
# that it had handed over since the one before.
Cut = list[tuple[int, list[tuple[int, int]]]]


def codec_of(topic: str, inputs: Collection[str]) -> TickCodec:
    """Ticks as JSON."""

    def encode(tick: dict[str, Any]) -> bytes:
        return json.dumps(tick).encode()

    return TickCodec(topic, encode, decode_json, lambda: inputs)


def write_tick(log: Log, codec: TickCodec, time_ms: int, ends: Ends) -> None:
    write(log, codec.topic, [Outgoing(None, codec.value(time_ms, ends), partition=0)])


def ticks_in(log: Log, codec: TickCodec) -> list[Tick]:
    found = [codec.tick(r.offset, r.value, r.headers) for r in read_all(log, codec.topic)]
    return [tick for tick in found if tick is not None]


def ticked(
    log: Log,
    topic: str,
    codec: TickCodec,
    lanes: int,
    *,
    first: int = 0,
    until: Callable[[], Ends] | None = None,
    **given: Any,
) -> SourceOptions:
    gate = GateOptions(codec, lambda: first, until)
    defaults: dict[str, Any] = {"start": Start("earliest"), "commit": False, "gather_ms": 0}
    options = defaults | given
    return SourceOptions(topic, topic, lanes=lanes, follow=until is None, ticks=gate, **options)


@contextmanager
def lanes_of(
    log: Log,
    options: SourceOptions,
    resume: Mapping[int, tuple[Positions, int | None]] | None = None,
) -> Iterator[list[SourceLane]]:
    """`resume` is by lane what its snapshot held, and its tick."""
    source = LogSource(log, options)
    states = resume or {}
    lanes = [
        source.open_lane(name, *states.get(lane, (None, None)))
        for lane, name in enumerate(source.list_parts())
    ]
    try:
        yield lanes
    finally:
        for lane in lanes:
            lane.close()


class Cuts:
    """What lanes hand over, cut by ticks."""

    def __init__(self, lanes: int) -> None:
        self.of_lane: list[Cut] = [[] for _ in range(lanes)]
        self.rest: list[list[tuple[int, int]]] = [[] for _ in range(lanes)]  # since the last tick

    def take(self, number: int, lane: SourceLane) -> None:
        for item in lane.next_batch():
            if isinstance(item, LaneTick):
                assert item.lane == number
                self.of_lane[number].append((item.number, sorted(self.rest[number])))
                self.rest[number] = []
            else:
                assert isinstance(item, RawBatch)
                assert item.partition % len(self.rest) == number
                self.rest[number] += [(item.partition, at) for at in item.offsets.tolist()]

    def have_come_to(self, tick: int) -> bool:
        return all(cut and cut[-1][0] >= tick for cut in self.of_lane)


def drive(
    cuts: Cuts, lanes: list[SourceLane], tick: int, chance: random.Random | None = None
) -> None:
    """Poll the lanes, with `chance` in any order, until all have come to a tick."""
    give_up = time.monotonic() + PATIENCE_S
    while not cuts.have_come_to(tick):
        assert time.monotonic() < give_up, cuts.of_lane
        order = list(range(len(lanes)))
        if chance is not None:
            chance.shuffle(order)
        for number in order:
            cuts.take(number, lanes[number])
        time.sleep(0.001)


def plain_cuts(
    ticks: list[Tick], topic: str, places: Collection[tuple[int, int]], lanes: int
) -> list[Cut]:
    """The same by hand: what no tick has cut before and this one does."""
    left = set(places)
    cuts: list[Cut] = [[] for _ in range(lanes)]
    for tick in ticks:
        ends = tick.ends.get(topic, {})
        cut = sorted(place for place in left if place[1] < ends.get(place[0], 0))
        left -= set(cut)
        for lane in range(lanes):
            cuts[lane].append((tick.number, [p for p in cut if p[0] % lanes == lane]))
    return cuts


def ends_of(log: Log, topic: str) -> dict[int, int]:
    with closing(log.admin()) as admin:
        return admin.ends(topic, committed=True)


def places_in(log: Log, topic: str) -> list[tuple[int, int]]:
    return [(r.partition, r.offset) for r in read_all(log, topic)]
