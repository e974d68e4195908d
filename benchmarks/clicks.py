"""Clicks to measure with: many users, evenly at random, all valid."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.place import Place
from streamrec.schemas import hashing, load
from streamrec.schemas.columns import Bytes, Columns, Numbers, take
from streamrec.schemas.placing import keys_of
from streamrec.schemas.wire import WireEncoder

START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
BATCH = 10_000
_ITEMS = 20_000
# Views, carts, favorites, purchases: roughly as a shop sees them.
_EVENT_TYPE_SHARES = (0.9, 0.06, 0.02, 0.02)


@dataclass(frozen=True, slots=True)
class ClickLoad:
    """`hours` of event time, in which the clicks are evenly spread."""

    events: int
    users: int = 100_000
    hours: float = 1.0
    first_user: int = 0
    start_ms: int = START_MS
    seed: int = 1
    in_turn: bool = False  # users one after the other instead of at random


class ClickMaker:
    """Makes clicks in wire format."""

    def __init__(self, load_: ClickLoad, schema_id: int) -> None:
        self._load = load_
        self._rng = np.random.default_rng(load_.seed)
        self._made = 0
        self._encoder = WireEncoder(load("clicks"), schema_id)
        self._users = names("u", load_.first_user, load_.users)
        self._items = names("i", 0, _ITEMS)
        self._categories = names("c", 0, 200)

    def make(self, times_ms: NDArray[np.int64]) -> tuple[Bytes, list[bytes]]:
        """Clicks at these times: their users, and their values."""
        n = len(times_ms)
        rng = self._rng
        users = take(self._users, self._choose_users(n))
        items = rng.integers(_ITEMS, size=n)
        columns: Columns = {
            "user_id": users,
            "item_id": take(self._items, items),
            "event_type": Numbers(rng.choice(4, n, p=_EVENT_TYPE_SHARES).astype(np.int32)),
            "timestamp": Numbers(times_ms),
            "price_cents": Numbers(items * 7 % 20_000),
            "category_id": take(self._categories, items % 200),
            "session_id": take(users, np.arange(n)),
        }
        return users, self._encoder.encode(columns).values

    def _choose_users(self, n: int) -> NDArray[np.int64]:
        if not self._load.in_turn:
            return self._rng.integers(self._load.users, size=n)
        first, self._made = self._made, self._made + n
        return np.arange(first, first + n) % self._load.users

    def batches(self) -> Iterator[tuple[Bytes, list[bytes]]]:
        step_ms = self._load.hours * 3_600_000 / self._load.events
        for first in range(0, self._load.events, BATCH):
            rows = np.arange(first, min(first + BATCH, self._load.events))
            yield self.make(self._load.start_ms + (rows * step_ms).astype(np.int64))


def names(letter: str, first: int, count: int) -> Bytes:
    """The strings u0, u1, ... as a column."""
    texts = [f"{letter}{number}".encode() for number in range(first, first + count)]
    lengths = np.fromiter(map(len, texts), np.int64, count)
    return Bytes(np.frombuffer(b"".join(texts), np.uint8), np.cumsum(lengths) - lengths, lengths)


def fill(place: Place, topic: str, load_: ClickLoad) -> None:
    """Write clicks to a topic, each to the partition of its user."""
    with closing(place.log.admin()) as admin:
        partitions = len(admin.bounds(topic))
    with closing(place.log.writer()) as writer:
        for users, values in ClickMaker(load_, place.schema_id(topic)).batches():
            targets, keys = hashing.partitions(users, partitions), keys_of(users)
            for partition in range(partitions):
                rows = np.flatnonzero(targets == partition).tolist()
                writer.write_columns(
                    topic, partition, [keys[row] for row in rows], [values[row] for row in rows]
                )
        writer.flush(60.0)
