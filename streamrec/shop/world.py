"""The people and the items of the simulated shop: who clicks on what, when, and why.

What a model can find here, and what for:

- Items have companions: 45 % of clicks go from an item to one of its eight companions, most often
  the first. Co-occurrence in sessions finds them.
- 10 % go to a companion of the item before the last: context longer than one item helps.
- 17 % return to an item of the session, a recent one more often, and more often still after a cart:
  a learned ranker can weigh position and event type.
- 18 % follow the user's taste, three categories that drift; 10 % follow what is popular now.
- A returning user takes up the last item of the session before in 35 % of sessions.
- Popularity is skewed and drifts; new items and new users keep arriving.

Everything is drawn for thousands of sessions at once, step by step, so that NumPy does the work.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

EVENT_TYPES = ("view", "cart", "favorite", "purchase")  # by index, as in clicks.avsc
VIEW, CART, FAVORITE, PURCHASE = range(4)

_CATEGORIES = 60
_COMPANIONS = 8
_COMPANION_CDF = np.cumsum([0.36, 0.2, 0.13, 0.1, 0.07, 0.06, 0.05, 0.03])
_STEPS_MAX = 40
_TASTE_CDF = np.cumsum([0.6, 0.28, 0.12])  # of a user's three categories
_SESSION_GAP_MS = 45 * 60_000  # a user starts no session sooner than this after the last one

# Why the next click: companion of the last item, of the one before, a return, taste, trend.
_NEXT_CDF = np.cumsum([0.45, 0.10, 0.17, 0.18, 0.10])
_COMPANION, _EARLIER_COMPANION, _RETURN, _TASTE, _TREND = range(5)


@dataclass(slots=True)
class ShopClicks:
    """Columns of n clicks, in the order in which they arrive."""

    users: Ints
    items: Ints
    sessions: Ints
    event_types: Ints  # VIEW, CART, FAVORITE or PURCHASE
    times_ms: Ints  # event time
    arrivals_ms: Ints  # when the log gets it; a little, and rarely much, after the event

    def __len__(self) -> int:
        return len(self.users)

    def columns(self) -> tuple[Ints, ...]:
        return (
            self.users,
            self.items,
            self.sessions,
            self.event_types,
            self.times_ms,
            self.arrivals_ms,
        )

    def take(self, rows: NDArray[np.generic] | slice) -> Self:
        return type(self)(*(column[rows] for column in self.columns()))

    def and_then(self, later: Self) -> Self:
        pairs = zip(self.columns(), later.columns(), strict=True)
        return type(self)(*(np.concatenate(pair) for pair in pairs))


class Catalog:
    """Items in categories, each with companions, a price, and a weight of its own that drifts."""

    def __init__(self, rng: np.random.Generator, items: int) -> None:
        self._rng = rng
        self.categories = rng.integers(_CATEGORIES, size=items)
        # Zipf's law with exponent 0.9 over a random order of the items.
        self._weights = (1.0 + rng.permutation(items)) ** -0.9
        self.prices_cents = self._draw_prices(self.categories)
        self._refresh_sampling()
        self._companions = np.stack(
            [self._draw_companions(np.arange(items)) for _ in range(_COMPANIONS)], axis=1
        )

    def __len__(self) -> int:
        return len(self.categories)

    def age(self, new_items: int) -> None:
        """Let trends drift and new items arrive, each a companion of some items it goes with."""
        rng, n_old = self._rng, len(self)
        self._weights *= np.exp(rng.normal(0.0, 0.08, size=n_old))
        categories = rng.integers(_CATEGORIES, size=new_items)
        # A new item starts as popular as an item in the middle: launches are advertised.
        launched = np.full(new_items, np.quantile(self._weights, 0.8))
        self.categories = np.concatenate((self.categories, categories))
        self._weights = np.concatenate((self._weights, launched))
        self.prices_cents = np.concatenate((self.prices_cents, self._draw_prices(categories)))
        self._refresh_sampling()
        new = np.arange(n_old, n_old + new_items)
        added = np.stack([self._draw_companions(new) for _ in range(_COMPANIONS)], axis=1)
        self._companions = np.concatenate((self._companions, added))
        # Six items of its category get the newcomer as a companion, in a random place of theirs.
        for item in new:
            hosts = self.popular_in(np.full(6, self.categories[item]))
            self._companions[hosts, rng.integers(_COMPANIONS, size=6)] = item

    def popular(self, count: int) -> Ints:
        """Items drawn by their weight now."""
        return self._by_cdf(self._rng.random(count) * self._cdf[-1])

    def popular_in(self, categories: Ints) -> Ints:
        """Items drawn by their weight now, each from a given category."""
        low, high = self._category_bounds[categories], self._category_bounds[categories + 1]
        return self._by_cdf(low + self._rng.random(len(categories)) * (high - low))

    def companions_of(self, items: Ints) -> Ints:
        """For each item one of its companions, the first most often."""
        slots = np.searchsorted(_COMPANION_CDF, self._rng.random(len(items)))
        return self._companions[items, np.minimum(slots, _COMPANIONS - 1)]

    def _by_cdf(self, points: Floats) -> Ints:
        places = np.searchsorted(self._cdf, points, side="right")
        return self._in_order[np.minimum(places, len(self) - 1)]

    def _draw_companions(self, items: Ints) -> Ints:
        # Four in five from the same category, the rest from the one beside it.
        strays = self._rng.random(len(items)) < 0.2
        return self.popular_in((self.categories[items] + strays) % _CATEGORIES)

    def _draw_prices(self, categories: Ints) -> Ints:
        base = 300.0 * 1.06**categories
        return (base * self._rng.lognormal(0.0, 0.5, size=len(categories))).astype(np.int64) + 1

    def _refresh_sampling(self) -> None:
        # Items sorted by category, so that a category is a range of the cumulated weights.
        self._in_order = np.argsort(self.categories, kind="stable")
        self._cdf = np.cumsum(self._weights[self._in_order] ** 0.8)
        starts = np.searchsorted(self.categories[self._in_order], np.arange(_CATEGORIES + 1))
        self._category_bounds = np.concatenate(([0.0], self._cdf))[starts]


class Users:
    """Who comes: how often, with what taste, and where they left off."""

    def __init__(self, rng: np.random.Generator, users: int) -> None:
        self._rng = rng
        self._activity = np.empty(0)
        self.tastes = np.empty((0, 3), dtype=np.int64)  # categories, the favourite first
        self.last_items = np.empty(0, dtype=np.int64)  # -1: never been here
        self.away_since_ms = np.empty(0, dtype=np.int64)
        self._arrive(users)

    def __len__(self) -> int:
        return len(self._activity)

    def come(self, count: int, newcomers: int, now_ms: int) -> Ints:
        """Distinct users, `newcomers` of them new, that are not in the shop already."""
        rng = self._rng
        # The k largest of u^(1/w) are a sample without replacement with weights w.
        keys = np.log(rng.random(len(self))) / self._activity
        keys[self.away_since_ms > now_ms - _SESSION_GAP_MS] = -np.inf
        returning = np.argpartition(keys, -(count - newcomers))[-(count - newcomers) :]
        returning = returning[np.isfinite(keys[returning])]
        users = np.concatenate((returning, self._arrive(newcomers)))
        # Taste drifts: in one session of eight, one of the three categories is another from now on.
        drifting = users[rng.random(len(users)) < 0.125]
        places = rng.integers(3, size=len(drifting))
        self.tastes[drifting, places] = rng.integers(_CATEGORIES, size=len(drifting))
        return rng.permutation(users)

    def preferred_categories(self, users: Ints) -> Ints:
        places = np.minimum(np.searchsorted(_TASTE_CDF, self._rng.random(len(users))), 2)
        return self.tastes[users, places]

    def _arrive(self, count: int) -> Ints:
        rng, n_old = self._rng, len(self)
        self._activity = np.concatenate((self._activity, rng.lognormal(0.0, 1.2, size=count)))
        tastes = rng.integers(_CATEGORIES, size=(count, 3))
        self.tastes = np.concatenate((self.tastes, tastes))
        self.last_items = np.concatenate((self.last_items, np.full(count, -1)))
        never = np.full(count, np.iinfo(np.int64).min // 2)
        self.away_since_ms = np.concatenate((self.away_since_ms, never))
        return np.arange(n_old, n_old + count)


def shop_visits(
    rng: np.random.Generator,
    catalog: Catalog,
    users: Users,
    visitors: Ints,
    first_session: int,
    starts_ms: Ints,
) -> ShopClicks:
    """All clicks of one session for each visitor, sessions one after the other, not by time."""
    n = len(visitors)
    # Longest first: the sessions still going on at a step are then the first so many rows.
    lengths = np.sort(1 + np.minimum(rng.negative_binomial(1, 0.16, size=n), _STEPS_MAX - 1))[::-1]
    items = np.zeros((n, _STEPS_MAX), dtype=np.int64)
    types = np.zeros((n, _STEPS_MAX), dtype=np.int64)
    returned = np.zeros(n, dtype=np.bool_)
    for step in range(int(lengths[0])):
        going = int(np.searchsorted(-lengths, -step, side="left"))
        people = visitors[:going]
        if step == 0:
            items[:, 0] = _first_items(rng, catalog, users, people)
            continue
        items[:going, step], returned = _next_items(
            rng, catalog, users, people, items[:going], types[:going], step
        )
        types[:going, step] = _event_types(rng, returned)

    gaps_ms = 1000 * np.minimum(rng.lognormal(np.log(25.0), 1.0, size=(n, _STEPS_MAX)), 1200.0)
    gaps_ms[:, 0] = 0
    times_ms = starts_ms[:, None] + np.cumsum(gaps_ms, axis=1).astype(np.int64)
    users.last_items[visitors] = items[np.arange(n), lengths - 1]
    users.away_since_ms[visitors] = times_ms[np.arange(n), lengths - 1]

    done = np.arange(_STEPS_MAX) < lengths[:, None]
    rows = np.repeat(np.arange(n), lengths)
    times = times_ms[done]
    # A second or two on the way; one click in a thousand comes minutes late (a phone in a tunnel),
    # but within the hour that the longest window covers.
    delays = rng.exponential(1500.0, size=len(times))
    tunnels = rng.random(len(times)) < 0.001
    delays[tunnels] = rng.uniform(3.0, 30.0, size=int(tunnels.sum())) * 60_000.0
    return ShopClicks(
        visitors[rows],
        items[done],
        first_session + rows,
        types[done],
        times,
        times + delays.astype(np.int64),
    )


def _first_items(rng: np.random.Generator, catalog: Catalog, users: Users, people: Ints) -> Ints:
    items = catalog.popular_in(users.preferred_categories(people))
    draws = rng.random(len(people))
    trend = draws < 0.25
    items[trend] = catalog.popular(int(trend.sum()))
    back = (draws > 0.65) & (users.last_items[people] >= 0)
    items[back] = users.last_items[people[back]]
    return items


def _next_items(
    rng: np.random.Generator,
    catalog: Catalog,
    users: Users,
    people: Ints,
    items: Ints,
    types: Ints,
    step: int,
) -> tuple[Ints, NDArray[np.bool_]]:
    """The items clicked at a step of the sessions still going on, and which are returns."""
    n = len(people)
    motives = np.minimum(np.searchsorted(_NEXT_CDF, rng.random(n)), _TREND)
    # Who has just put something into the cart looks at it again: half of what would be companions.
    carted = (types[:, step - 1] == CART) & (motives == _COMPANION) & (rng.random(n) < 0.5)
    motives[carted] = _RETURN
    if step == 1:
        motives[motives == _EARLIER_COMPANION] = _COMPANION

    chosen = np.empty(n, dtype=np.int64)
    rows = np.flatnonzero(motives == _COMPANION)
    chosen[rows] = catalog.companions_of(items[rows, step - 1])
    rows = np.flatnonzero(motives == _EARLIER_COMPANION)
    chosen[rows] = catalog.companions_of(items[rows, step - 2])
    rows = np.flatnonzero(motives == _RETURN)
    steps_back = 1 + np.minimum(rng.geometric(0.45, size=len(rows)) - 1, step - 1)
    chosen[rows] = items[rows, step - steps_back]
    rows = np.flatnonzero(motives == _TASTE)
    chosen[rows] = catalog.popular_in(users.preferred_categories(people[rows]))
    rows = np.flatnonzero(motives == _TREND)
    chosen[rows] = catalog.popular(len(rows))
    return chosen, motives == _RETURN


def _event_types(rng: np.random.Generator, returned: NDArray[np.bool_]) -> Ints:
    draws = rng.random(len(returned))
    fresh = np.searchsorted([0.93, 0.96, 0.995], draws)
    again = np.searchsorted([0.60, 0.82, 0.88], draws)
    return np.where(returned, again, fresh)
