"""What bounds a model's memory and work, and the weights of its methods; checked when made."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.models.sessions.candidates.memory import RECENCY_ROWS, Tables
from streamrec.models.sessions.candidates.scores import (
    BLEND,
    BLENDED,
    HOPS_MAX,
    METHODS,
    QUERY_ITEMS,
    S,
)
from streamrec.models.sessions.index_state import FIRST_ROOM, LINE_ITEMS

_SAMPLED_MAX = 100_000  # working memory is made for four times as many
# The score that stands for a method where it recommends alone.
SCORE_OF_METHOD = {name: S._fields.index(name) for name in METHODS}
_RECENCY_STEPS = 64  # rows of the recency table to one memory; it ends at 16 memories


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept. The oldest of what is over a bound goes first."""

    items_max: int = 1_000_000  # items; the least recently seen one is dropped
    sessions_max: int = 1 << 20  # sessions, 64 bytes each; a power of two
    posts_max: int = 1_024  # sessions listed for an item, 4 bytes each; 4 times a power of two
    pairs_max: int = 128  # items listed for an item, 24 bytes each; 4 times a power of two

    def __post_init__(self) -> None:
        if self.sessions_max < 64 or self.sessions_max & (self.sessions_max - 1):
            raise ValueError(
                f"sessions_max expected a power of two >= 64, got {self.sessions_max!r}"
            )
        for name in ("posts_max", "pairs_max"):
            value = getattr(self, name)
            if value < FIRST_ROOM or value & (value - 1):
                raise ValueError(f"{name} expected a power of two >= {FIRST_ROOM}, got {value!r}")


@dataclass(frozen=True, slots=True)
class Weights:
    """How the methods weigh what is kept. Chosen by `models.training.train` on validation data."""

    # Newest sessions looked at for the last item; half as many for each before, an eighth at least.
    sampled: int = 240
    neighbours: int = 120
    hops: int = 8  # items whose pairs are followed for a second step; at most HOPS_MAX
    recency_sessions: float = 60_000.0  # a neighbour's weight falls by e in so many sessions
    idf_power: float = 1.0
    query_decay: float = 0.6  # factor for each step back in the query
    after_decay: float = 0.8  # factor for each step after the matched item
    before_decay: float = 0.5  # factor for each step before it
    before_weight: float = 0.6  # of a neighbour's items up to the matched one
    repeat_decay: float = 0.8
    rule_decay: float = 0.5
    suffix_bonus: float = 2.0  # extra where the last two items match
    short_clicks: float = 20_000.0  # memory of short popularity, in clicks
    long_clicks: float = 300_000.0
    pair_clicks: float = 200_000.0
    blend: dict[str, float] = field(
        default_factory=lambda: {
            "knn": 1.0,
            "knn_plain": 0.3,
            "suffix": 0.5,
            "rules": 0.5,
            "near": 0.2,
            "two_hop": 0.1,
            "repeat": 0.1,
            "popular": 0.02,
        }
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name != "blend" and not value >= 0:
                raise ValueError(f"{each.name} expected >= 0, got {value!r}")
        # The kernels have room for no more, and ask for the n-th of so many.
        for name, least, most in (
            ("sampled", 0, _SAMPLED_MAX),
            ("neighbours", 1, _SAMPLED_MAX),
            ("hops", 0, HOPS_MAX),
        ):
            value = getattr(self, name)
            if not (isinstance(value, int) and least <= value <= most):
                raise ValueError(
                    f"{name} expected an integer from {least} to {most}, got {value!r}"
                )
        unknown = set(self.blend) - set(SCORE_OF_METHOD) - {"knn_plain"}
        if unknown:
            raise ValueError(
                f"blend expected some of {sorted(SCORE_OF_METHOD)}, got {sorted(unknown)!r}"
            )

    def tables(self) -> Tables:
        steps = np.arange(LINE_ITEMS)
        before = self.before_weight * self.before_decay**steps
        return Tables(
            query=(self.query_decay ** np.arange(QUERY_ITEMS)).astype(np.float32),
            after=(self.after_decay ** np.maximum(steps - 1, 0)).astype(np.float32),
            before=before.astype(np.float32),
            recency=np.exp(-np.arange(RECENCY_ROWS) / _RECENCY_STEPS).astype(np.float32),
        )

    def as_floats(self, methods: tuple[str, ...]) -> NDArray[np.float64]:
        """For the kernel: (BLEND + BLENDED,). One method alone is ranked by its score alone."""
        blend = np.zeros(BLENDED)
        if len(methods) == 1:
            blend[SCORE_OF_METHOD[methods[0]]] = 1.0
        else:
            for name, weight in self.blend.items():
                if name in methods:
                    blend[SCORE_OF_METHOD[name]] = weight
            if "knn" in methods:
                blend[S.knn_plain] = self.blend.get("knn_plain", 0.0)
        step = _RECENCY_STEPS / max(self.recency_sessions, 1.0)
        head = [step, self.idf_power, self.repeat_decay, self.rule_decay, self.suffix_bonus]
        assert len(head) == BLEND
        return np.array([*head, *blend])

    def as_ints(self, methods: tuple[str, ...]) -> NDArray[np.int64]:
        """For the kernel: sizes and one bit a method."""
        hops = self.hops if "two_hop" in methods else 0
        bits = sum(1 << METHODS.index(name) for name in methods)
        return np.array([self.sampled, self.neighbours, hops, bits], np.int64)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
