"""What must come out of the dataflow `benchmarks.join.flow`, by a plain program that sees it all.

It has the two topics of inputs and the topic of ticks whole, and no code of ours but a restatement
of the rule for watermarks. A tick cuts every partition; what lies between two ticks is taken in at
the second one by each shard, whose clock then moves; what is behind that clock by `LATE_MS` is
called in the order of event time, records before timers.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from tests.models.reference_watermarks import ReferenceWatermark
from tests.proofs.chaos_check import Message

HOUR_MS = 3_600_000
LATE_MS = 10_000
SHARDS = 8
_CENTS_MAX = 10**9
_NOT_BEGUN_MS = -(1 << 62)
_HEADER_BYTES = 5

Decode = Callable[[bytes], Any]


class Input(NamedTuple):
    """One topic as it stands."""

    topic: str
    stage: str  # the step at which what cannot be read fails
    messages: Sequence[Message]
    decode: Decode


class PlainTick(NamedTuple):
    time_ms: int
    ends: Mapping[str, Sequence[int]]  # by topic and partition


class Row(NamedTuple):
    """A record that can be read; rows of one time go in the order of the fields from `input`."""

    time_ms: int
    input: int
    partition: int
    offset: int
    user: str
    value: Mapping[str, Any]


@dataclass
class Outputs:
    """By what each output is, what it holds."""

    outcomes: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    errors: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)


def ticks_of(messages: Iterable[Message], decode: Decode) -> list[PlainTick]:
    ticks = []
    for message in messages:
        assert message.value is not None
        found = decode(message.value)
        ends: dict[str, list[int]] = {}
        left = list(found["ends"])
        for topic, count in zip(found["topics"], found["partitions"], strict=True):
            ends[topic], left = left[:count], left[count:]
        ticks.append(PlainTick(_ms(found["time"]), ends))
    return ticks


def plain_join(inputs: Sequence[Input], ticks: Iterable[PlainTick]) -> Outputs:
    """Offers and purchases, in this order, as ticks cut them."""
    outputs = Outputs()
    shards = [_Shard(inputs, outputs) for _ in range(SHARDS)]
    partitions = _by_partition(inputs)
    taken = dict.fromkeys(partitions, 0)
    now_ms = 0
    for tick in ticks:
        now_ms = max(now_ms, tick.time_ms)
        rows: list[list[Row]] = [[] for _ in range(SHARDS)]
        for place, messages in partitions.items():
            ends = tick.ends.get(inputs[place[0]].topic, ())
            end = ends[place[1]] if place[1] < len(ends) else 0
            while taken[place] < len(messages) and messages[taken[place]].offset < end:
                row = _read(inputs, place[0], messages[taken[place]], outputs)
                taken[place] += 1
                if row is not None:
                    rows[partition_of(row.user.encode(), SHARDS)].append(row)
        for shard, own in zip(shards, rows, strict=True):
            shard.take_in(sorted(own, key=lambda row: row[:4]), now_ms)
    return outputs


def _by_partition(inputs: Sequence[Input]) -> dict[tuple[int, int], list[Message]]:
    partitions: dict[tuple[int, int], list[Message]] = {}
    for number, each in enumerate(inputs):
        for message in each.messages:
            partitions.setdefault((number, message.partition), []).append(message)
    for messages in partitions.values():
        messages.sort(key=lambda message: message.offset)
    return partitions


def _read(inputs: Sequence[Input], number: int, message: Message, outputs: Outputs) -> Row | None:
    """None: it is an error, which is noted."""
    given = inputs[number]
    raw = message.value
    reason, value = None, {}
    if raw is None or len(raw) < _HEADER_BYTES or raw[0]:
        reason = "not_wire_format"
    else:
        try:
            value = given.decode(raw)
        except Exception:  # noqa: BLE001  # whatever a reader that is not ours finds
            reason = "undecodable"
    if reason is None and not 0 <= value.get("cents", 0) <= _CENTS_MAX:
        reason = "invalid_value"
    if reason is not None:
        _fail(outputs, given.topic, message, reason, given.stage)
        return None
    place = (number, message.partition, message.offset)
    return Row(_ms(value["at"]), *place, value["user_id"], {**value, "message": message})


def _fail(outputs: Outputs, topic: str, message: Message, reason: str, stage: str) -> None:
    identity = (topic, message.partition, message.offset, "", 0)
    outputs.errors[identity] = {
        "dataflow": "join",
        "reason": reason,
        "stage": stage,
        "key": message.key,
        "value": message.value,
        "headers": list(message.headers),
        "timestamp_ms": message.timestamp_ms,
    }
    outputs.kinds[reason] += 1


@dataclass
class _Offer:
    row: Row
    count: int = 0
    cents: int = 0
    corrections: int = 0


class _Waits(NamedTuple):
    """A record or a timer: in order of time, records first, then by place."""

    at_ms: int
    is_timer: bool
    place: tuple[int, int, int]
    number: int
    row: Row
    call: Callable[[], None]


class _Shard:
    def __init__(self, inputs: Sequence[Input], outputs: Outputs) -> None:
        self._topics = [each.topic for each in inputs]
        self._outputs = outputs
        self._watermark = ReferenceWatermark(1 << 62, HOUR_MS)
        self._base_ms = self._base_tick_ms = 0
        self._now_ms = _NOT_BEGUN_MS
        self._numbers = itertools.count()
        self._waiting: list[_Waits] = []
        self._offers: dict[str, list[_Offer]] = {}

    def take_in(self, rows: Sequence[Row], tick_ms: int) -> None:
        """What lies between two ticks, in order."""
        earliest_ms = self._now_ms - LATE_MS
        # Before ten keys were seen nobody knows which of two far times is wrong.
        knows_from_ms = _NOT_BEGUN_MS if self._watermark.founded else self._now_ms - HOUR_MS
        refuted: list[tuple[int, int]] = []  # user by hash, and up to which time
        for row in rows:
            if knows_from_ms <= row.time_ms < earliest_ms:
                topic = self._topics[row.input]
                _fail(self._outputs, topic, row.value["message"], "too_late", "join")
                continue
            self._wait(row.time_ms, False, row, partial(self._on_record, row))
            before = dict(self._watermark.candidates)
            self._watermark.take_in(hash(row.user), row.time_ms)
            far_ms, left = self._watermark.now_ms + HOUR_MS, self._watermark.candidates
            refuted += [
                (user, at) for user, at in before.items() if user not in left and at > far_ms
            ]
        self._refuse(refuted)
        newest_ms = self._watermark.now_ms
        if newest_ms < self._base_ms:  # of few keys, which may all be wrong
            self._now_ms = newest_ms
        if newest_ms != self._base_ms:
            self._base_ms, self._base_tick_ms = newest_ms, tick_ms
        if newest_ms:
            self._now_ms = max(self._now_ms, newest_ms + tick_ms - self._base_tick_ms)
        while self._waiting and self._waiting[0][0] < self._now_ms - LATE_MS:
            heapq.heappop(self._waiting).call()

    def _refuse(self, refuted: Sequence[tuple[int, int]]) -> None:
        """Records of users whose times others do not bear out, or they themselves."""
        far_ms = self._watermark.now_ms + HOUR_MS
        for user, newest_ms in refuted:
            for each in list(self._waiting):
                row = each.row
                if (
                    not each.is_timer
                    and hash(row.user) == user
                    and far_ms < row.time_ms <= newest_ms
                ):
                    _fail(
                        self._outputs,
                        self._topics[row.input],
                        row.value["message"],
                        "invalid_value",
                        "join",
                    )
                    self._waiting.remove(each)
        heapq.heapify(self._waiting)

    def _wait(self, at_ms: int, is_timer: bool, row: Row, call: Callable[[], None]) -> None:
        place = (row.input, row.partition, row.offset)
        each = _Waits(at_ms, is_timer, place, next(self._numbers), row, call)
        heapq.heappush(self._waiting, each)

    def _on_record(self, row: Row) -> None:
        offers = self._offers.setdefault(row.user, [])
        if "offer_id" in row.value:
            offer = _Offer(row)
            offers.append(offer)
            closes_ms = row.time_ms + HOUR_MS
            self._wait(closes_ms, True, row, lambda: self._say(row, "closed", 0, offer))
            self._wait(closes_ms + HOUR_MS, True, row, lambda: offers.remove(offer))
            return
        hits = 0
        for offer in offers:
            offer.count += 1
            offer.cents += row.value["cents"]
            if row.time_ms <= offer.row.time_ms + HOUR_MS:
                self._say(row, "hit", hits, offer)
                hits += 1
            else:
                self._say(offer.row, "correction", offer.corrections, offer)
                offer.corrections += 1

    def _say(self, row: Row, kind: str, number: int, offer: _Offer) -> None:
        identity = (self._topics[row.input], row.partition, row.offset, kind, number)
        self._outputs.outcomes[identity] = {
            "dataflow": "join",
            "user_id": row.user,
            "offer_id": offer.row.value["offer_id"],
            "count": offer.count,
            "cents": offer.cents,
            "key": row.user.encode(),
            "partition": partition_of(row.user.encode(), SHARDS),
        }
        self._outputs.kinds[kind] += 1


def outcomes_of(messages: Iterable[Message], decode: Decode) -> Iterator[tuple[Any, Any]]:
    """What each record of the topic of outcomes is, and what it holds."""
    for message in messages:
        assert message.value is not None
        found = decode(message.value)
        source = (found.pop(f"source_{name}") for name in ("topic", "partition", "offset"))
        identity = (*source, found.pop("kind"), found.pop("number"))
        yield identity, {**found, "key": message.key, "partition": message.partition}


def errors_of(messages: Iterable[Message], decode: Decode) -> Iterator[tuple[Any, Any]]:
    """The same of the topic of errors."""
    names = ("topic", "partition", "offset", "output_kind", "output_number")
    for message in messages:
        assert message.value is not None
        found = decode(message.value)
        same = {name: found[name] for name in ("dataflow", "reason", "stage", "key", "value")}
        headers = [(each["name"], each["value"]) for each in found["headers"]]
        at_ms = _ms(found["timestamp"])
        identity = tuple(found[name] for name in names)
        yield identity, {**same, "headers": headers, "timestamp_ms": at_ms}


def _ms(time: datetime) -> int:
    return round(time.timestamp() * 1_000)


def partition_of(key: bytes, partitions: int) -> int:
    """As Kafka's default partitioner has it: murmur2 of the key."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(key)
    whole = len(key) // 4 * 4
    for start in range(0, whole, 4):
        k = int.from_bytes(key[start : start + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if whole < len(key):
        h = (h ^ int.from_bytes(key[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    h ^= h >> 15
    return (h & 0x7FFFFFFF) % partitions
