"""Visits to the small shop before anybody looks: what its first recommendations are learned from.

Whoever visits has one shelf in mind, and another that goes with it; and takes, with what was looked
at last, one of its two companions more often than anything else.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from streamrec.shop.front.products import PRODUCTS

_STEPS_MEAN = 4  # clicks of a visit, and one
_STEP_MS = 20_000  # between two of them
_COMPANION, _SHELF, _GOES_WITH = 0.5, 0.8, 0.95  # up to here: what the next click is


def visits(count: int, end_ms: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """The clicks of so many visits, by users of their own, in order of time up to before `end_ms`
    (Unix milliseconds): values of the topic of clicks."""
    rng = np.random.default_rng(seed)
    clicks = [click for visit in range(count) for click in _visit(rng, visit)]
    clicks.sort(key=lambda click: int(click["timestamp"]))
    last_ms = int(clicks[-1]["timestamp"])
    for click in clicks:
        yield {**click, "timestamp": end_ms - 1_000 - last_ms + int(click["timestamp"])}


def _visit(rng: np.random.Generator, number: int) -> Iterator[dict[str, Any]]:
    shelves = sorted({product.category for product in PRODUCTS})
    shelf = int(rng.integers(len(shelves)))
    chosen = _one_of(rng, shelves[shelf])
    time_ms = number * _STEP_MS // 8  # eight visitors at once
    for step in range(1 + int(rng.poisson(_STEPS_MEAN))):
        if step:
            draw = rng.random()
            if draw < _COMPANION:
                chosen = (chosen + int(rng.integers(1, 3))) % len(PRODUCTS)
            elif draw < _SHELF:
                chosen = _one_of(rng, shelves[shelf])
            elif draw < _GOES_WITH:
                chosen = _one_of(rng, shelves[shelf - 1])
            else:
                chosen = int(rng.integers(len(PRODUCTS)))
        product = PRODUCTS[chosen]
        yield {
            "user_id": f"visitor-{number}",
            "item_id": product.item_id,
            "event_type": "view" if rng.random() < 0.9 else "cart",
            "timestamp": time_ms + step * _STEP_MS,
            "category_id": product.category,
            "price_cents": product.price_cents,
        }


def _one_of(rng: np.random.Generator, category: str) -> int:
    own = [at for at, product in enumerate(PRODUCTS) if product.category == category]
    return own[int(rng.integers(len(own)))]


__all__ = ["visits"]
