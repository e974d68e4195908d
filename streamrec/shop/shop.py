"""A simulated shop: clicks that a recommender can learn from, and records broken on purpose.

Everything follows from the seed: equal seeds give equal records, byte for byte (given equal schema
ids). `world` says how its people choose; `faults` in which ways records are broken and
under which reason the main job must list each. The truth comes with every batch, so that a test or
the demo counts exactly what must come out.

>>> from streamrec.shop.faults import SchemaIds
>>> shop = Shop(seed=7, clicks=1000, schema_ids=SchemaIds(clicks=1, older=2, foreign=3))
>>> sum(len(batch) for batch in shop.batches())
1000
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.dataflows.job.topics import CLICKS
from streamrec.schemas.columns import Bytes, Column, Columns, Numbers
from streamrec.schemas.wire import WireEncoder
from streamrec.shop.faults import FAULTS, ClickEncoder, GoodClick, SchemaIds, ShopFault
from streamrec.shop.world import EVENT_TYPES, Catalog, ShopClicks, Users, shop_visits

START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z

_SESSIONS_PER_CHAPTER = 1_600
_CLICKS_PER_SESSION = 6.2
_NEWCOMERS_SHARE = 0.2  # of the sessions
_NEW_ITEMS_PER_CHAPTER = 25
_ANONYMOUS_SHARE = 0.1  # users whose clicks carry no session_id
# Records that must come before one that is only wrong beside newer ones: every partition of any
# sensible number of them has then seen clicks.
_PAST = 5_000
GOOD = -1


@dataclass(frozen=True, slots=True)
class ShopBatch:
    """n consecutive records, as they are sent, with the truth behind them."""

    keys: list[bytes]  # user_id
    values: list[bytes | None]
    faults: NDArray[np.int8]  # (n,) index in FAULTS; GOOD: an ordinary click
    clicks: ShopClicks  # what was meant, also where the record is broken

    def __len__(self) -> int:
        return len(self.keys)

    def part(self, rows: slice) -> "ShopBatch":
        return ShopBatch(
            self.keys[rows], self.values[rows], self.faults[rows], self.clicks.take(rows)
        )

    def reason_at(self, row: int) -> str | None:
        """The reason under which the record must come out as an error; None: it must not."""
        return None if self.faults[row] == GOOD else FAULTS[self.faults[row]].reason

    def is_good(self) -> NDArray[np.bool_]:
        """(n,) which records must be processed."""
        return _REASONLESS[self.faults]

    def error_counts(self) -> Counter[str]:
        """How many errors must come out, by reason."""
        counts: Counter[str] = Counter()
        for index, count in zip(*np.unique(self.faults, return_counts=True), strict=True):
            reason = None if index == GOOD else FAULTS[index].reason
            if reason is not None:
                counts[reason] += int(count)
        return counts


# By fault, and for GOOD, which is -1, in the last place.
_REASONLESS = np.array([fault.reason is None for fault in FAULTS] + [True])


@dataclass(frozen=True, kw_only=True)
class Shop:
    """What to simulate. `broken_share` of the records are one of `faults`, all equally likely."""

    seed: int
    clicks: int
    schema_ids: SchemaIds
    broken_share: float = 0.03
    faults: Sequence[ShopFault] = FAULTS
    clicks_per_hour: int = 6_000  # of event time
    start_ms: int = START_MS
    users: int = 8_000  # at the start; more arrive
    items: int = 4_000  # at the start; more arrive

    def __post_init__(self) -> None:
        if not 0.0 <= self.broken_share <= 1.0:
            raise ValueError(f"broken_share expected 0 to 1, got {self.broken_share!r}")
        if self.users < 2 * _SESSIONS_PER_CHAPTER:
            raise ValueError(f"users expected >= {2 * _SESSIONS_PER_CHAPTER}, got {self.users!r}")

    def batches(self) -> Iterator[ShopBatch]:
        """All records, in the order in which they arrive."""
        rng = np.random.default_rng([self.seed, 0])
        catalog, users = Catalog(rng, self.items), Users(rng, self.users)
        writer = _Writer(self, catalog)
        for clicks in self._chapters(rng, catalog, users):
            yield writer.batch_of(clicks)

    def _chapters(
        self, rng: np.random.Generator, catalog: Catalog, users: Users
    ) -> Iterator[ShopClicks]:
        """The clicks, a chapter of some 10,000 at a time, until there are enough."""
        chapter_ms = int(
            _SESSIONS_PER_CHAPTER * _CLICKS_PER_SESSION / self.clicks_per_hour * 3_600_000
        )
        begins_ms, sessions, left = self.start_ms, 0, self.clicks
        waiting: ShopClicks | None = None
        while left > 0:
            newcomers = int(_NEWCOMERS_SHARE * _SESSIONS_PER_CHAPTER)
            visitors = users.come(_SESSIONS_PER_CHAPTER, newcomers, begins_ms)
            starts_ms = begins_ms + rng.integers(chapter_ms, size=len(visitors))
            visits = shop_visits(rng, catalog, users, visitors, sessions, starts_ms)
            sessions += len(visitors)
            begins_ms += chapter_ms
            arrived = visits if waiting is None else waiting.and_then(visits)
            arrived = arrived.take(np.argsort(arrived.arrivals_ms, kind="stable"))
            now = int(np.searchsorted(arrived.arrivals_ms, begins_ms))
            chapter, waiting = (
                arrived.take(slice(0, min(now, left))),
                arrived.take(slice(now, None)),
            )
            left -= len(chapter)
            yield chapter
            catalog.age(_NEW_ITEMS_PER_CHAPTER)


class _Names:
    """The names of numbered things ("u17"), as one buffer that grows."""

    def __init__(self, letter: str) -> None:
        self._letter = letter
        self.texts: list[bytes] = []
        self._data = np.empty(0, dtype=np.uint8)
        self._starts = np.empty(0, dtype=np.int64)
        self._lengths = np.empty(0, dtype=np.int64)

    def up_to(self, count: int) -> None:
        if count <= len(self.texts):
            return
        # By half more than asked, so that growing costs little however often it is asked.
        more = range(len(self.texts), count + count // 2)
        self.texts += [f"{self._letter}{number}".encode() for number in more]
        self._data = np.frombuffer(b"".join(self.texts), dtype=np.uint8)
        self._lengths = np.fromiter(map(len, self.texts), dtype=np.int64, count=len(self.texts))
        self._starts = np.cumsum(self._lengths) - self._lengths

    def column(self, numbers: NDArray[np.int64], valid: NDArray[np.bool_] | None = None) -> Bytes:
        self.up_to(int(numbers.max(initial=0)) + 1)
        return Bytes(self._data, self._starts[numbers], self._lengths[numbers], valid)


class _Writer:
    """Turns clicks into records, some of them broken."""

    def __init__(self, shop: Shop, catalog: Catalog) -> None:
        # A generator of its own: the clicks are the same whatever share of them is broken.
        self._rng = np.random.default_rng([shop.seed, 1])
        self._shop = shop
        self._catalog = catalog
        self._users, self._items = _Names("u"), _Names("i")
        self._sessions, self._categories = _Names("s"), _Names("c")
        self._encode_one = ClickEncoder(shop.schema_ids)
        self._encoder = WireEncoder(CLICKS.schema, shop.schema_ids.clicks)
        self._written = 0
        self._choices = np.array([FAULTS.index(fault) for fault in shop.faults], dtype=np.int8)
        self._needs_past = np.array([fault.needs_past for fault in FAULTS] + [False])

    def batch_of(self, clicks: ShopClicks) -> ShopBatch:
        columns = self._columns_of(clicks)
        encoded = self._encoder.encode(columns)
        assert not encoded.failures, encoded.failures[:1]
        values: list[bytes | None] = list(encoded.values)
        keys = [self._users.texts[user] for user in clicks.users.tolist()]
        faults = self._draw_faults(len(clicks))
        for row in np.flatnonzero(faults != GOOD).tolist():
            good = GoodClick(self._fields_at(clicks, columns, row), values[row] or b"")
            values[row] = FAULTS[faults[row]].make(good, self._encode_one)
        self._written += len(clicks)
        return ShopBatch(keys, values, faults, clicks)

    def _draw_faults(self, n: int) -> NDArray[np.int8]:
        faults = np.full(n, GOOD, dtype=np.int8)
        rows = np.flatnonzero(self._rng.random(n) < self._shop.broken_share)
        if len(self._choices):
            faults[rows] = self._rng.choice(self._choices, size=len(rows))
        too_soon = self._needs_past[faults] & (self._written + np.arange(n) < _PAST)
        faults[too_soon] = GOOD
        return faults

    def _columns_of(self, clicks: ShopClicks) -> dict[str, Column]:
        categories, prices = self._catalog.categories, self._catalog.prices_cents
        # A user in ten does not let the site keep a session: it is told by the gap instead.
        named = (clicks.users * 2_654_435_761 >> 7) % 1000 >= 1000 * _ANONYMOUS_SHARE
        return {
            "user_id": self._users.column(clicks.users),
            "item_id": self._items.column(clicks.items),
            "event_type": Numbers(clicks.event_types.astype(np.int32)),
            "timestamp": Numbers(clicks.times_ms),
            "price_cents": Numbers(prices[clicks.items], np.ones(len(clicks), dtype=np.bool_)),
            "category_id": self._categories.column(
                categories[clicks.items], np.ones(len(clicks), dtype=np.bool_)
            ),
            "session_id": self._sessions.column(clicks.sessions, named),
        }

    def _fields_at(self, clicks: ShopClicks, columns: Columns, row: int) -> dict[str, Any]:
        """One click as the schema's fields."""
        text = {
            name: column.bytes_at(row).decode()
            for name, column in columns.items()
            if isinstance(column, Bytes) and (column.valid is None or column.valid[row])
        }
        item = clicks.items[row]
        return {
            "session_id": None,
            **text,
            "event_type": EVENT_TYPES[clicks.event_types[row]],
            "timestamp": int(clicks.times_ms[row]),
            "price_cents": int(self._catalog.prices_cents[item]),
        }
