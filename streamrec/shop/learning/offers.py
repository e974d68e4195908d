"""The people who are made offers: what they take, and how that changes from one day to the next.

An offer is taken with the probability sigmoid(taste of the person's group for the category - PRICE
(price in standard units) + a little by the hour). What a model can find: groups like other
categories each, so a group or a category alone says little and only both together say much; dear
offers are taken less; the hour matters a little. When tastes shift, each group likes what others
liked before: price and hour stay as they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

GROUPS = tuple(f"group-{number}" for number in range(6))
CATEGORIES = ("books", "garden", "games", "music", "outdoor", "shoes", "tools", "toys")
_PRICE_MEAN, _PRICE_SPREAD = 3.2, 0.5  # of its logarithm, in EUR
_PRICE = 0.6
_HOUR = 0.3
_TASTE = 2.0  # how much a group likes what it likes; what it does not, it dislikes as much
_BASE = -0.3
_PEOPLE = 5_000


class Offered(NamedTuple):
    """An offer, and whether it is taken."""

    offer: dict[str, Any]  # user_id, group, category, price (EUR), hour
    taken: bool


@dataclass(frozen=True, slots=True)
class Tastes:
    """What each group likes."""

    likes: NDArray[np.float64]  # (groups, categories), about -_TASTE or _TASTE

    @staticmethod
    def drawn(rng: np.random.Generator) -> "Tastes":
        """Each group likes half of the categories; no two rows are alike."""
        half = np.repeat([-_TASTE, _TASTE], len(CATEGORIES) // 2)
        rows: list[NDArray[np.float64]] = []
        while len(rows) < len(GROUPS):
            row = rng.permutation(half)
            if not any(np.array_equal(row, other) for other in rows):
                rows.append(row)
        return Tastes(np.array(rows))

    def shifted(self, rng: np.random.Generator) -> "Tastes":
        """Of what a group liked it likes one in four still, so that what was learned of it is
        worse than nothing."""
        shifted = -self.likes
        for row, likes in enumerate(self.likes):
            for sign in (-1, 1):
                stays = rng.choice(np.flatnonzero(np.sign(likes) == sign))
                shifted[row, stays] = likes[stays]
        return Tastes(shifted)

    def chance(
        self,
        groups: NDArray[np.int64],
        categories: NDArray[np.int64],
        prices: NDArray[np.float64],
        hours: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """(n,): how likely each offer is taken."""
        dear = (np.log(prices) - _PRICE_MEAN) / _PRICE_SPREAD
        evening = np.cos((hours - 20) * 2 * np.pi / 24)
        said = _BASE + self.likes[groups, categories] - _PRICE * dear + _HOUR * evening
        return np.asarray(1.0 / (1.0 + np.exp(-said)))


class Offers:
    """Offers to a fixed set of people; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self.tastes = Tastes.drawn(self._rng)
        self._group_of = self._rng.integers(len(GROUPS), size=_PEOPLE)

    def shift(self) -> None:
        """From now on tastes are others."""
        self.tastes = self.tastes.shifted(self._rng)

    def made(self, count: int) -> Iterator[Offered]:
        """The next offers."""
        rng = self._rng
        people = rng.integers(_PEOPLE, size=count)
        groups = self._group_of[people]
        categories = rng.integers(len(CATEGORIES), size=count)
        prices = np.round(rng.lognormal(_PRICE_MEAN, _PRICE_SPREAD, size=count), 2)
        hours = rng.integers(24, size=count)
        chances = self.tastes.chance(groups, categories, prices, hours)
        taken = rng.random(count) < chances
        for row in range(count):
            offer = {
                "user_id": f"u{people[row]}",
                "group": GROUPS[groups[row]],
                "category": CATEGORIES[categories[row]],
                "price": float(prices[row]),
                "hour": int(hours[row]),
            }
            yield Offered(offer, bool(taken[row]))


__all__ = ["CATEGORIES", "GROUPS", "Offered", "Offers", "Tastes"]
