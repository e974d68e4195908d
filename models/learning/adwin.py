"""ADWIN (Bifet and Gavaldà, SDM 2007): whether the mean of a stream has risen, with a window that
grows while it has not.

As river has it, but its state is plain values, which a shard saves; what is left after a cut stays
in the window; and only a rise is told, since an error that falls asks for nothing. Of values from 0
to 1.
"""

import math
from typing import Any

_MAX_BUCKETS = 5  # of each size
_MIN_WINDOW = 5
_GRACE = 10
_CLOCK = 32  # values between two looks


class Adwin:
    """One stream. A bucket of level k sums 2**k values; some 5 numbers for each level."""

    def __init__(self, delta: float = 0.002) -> None:
        """`delta` bounds the share of looks that tell of a change where there is none."""
        self.delta = delta
        self._levels: list[list[tuple[float, float]]] = [[]]  # (sum, variance), oldest first
        self._ticks = self._width = 0
        self._total = self._variance = 0.0

    @property
    def width(self) -> int:
        """How many values the window holds."""
        return self._width

    @property
    def mean(self) -> float:
        """Of the window; 0 of none."""
        return self._total / self._width if self._width else 0.0

    def update(self, value: float) -> bool:
        """Take in a value; whether the mean has risen."""
        self._ticks += 1
        if self._width:
            self._variance += (
                self._width * (value - self._total / self._width) ** 2 / (self._width + 1)
            )
        self._width += 1
        self._total += value
        self._levels[0].append((value, 0.0))
        self._compress()
        if self._ticks % _CLOCK or self._width <= _GRACE:
            return False
        return self._cut()

    def state(self) -> dict[str, Any]:
        """Plain values, from which `restored` goes on."""
        return {
            "levels": [[list(bucket) for bucket in level] for level in self._levels],
            "ticks": self._ticks,
            "width": self._width,
            "total": self._total,
            "variance": self._variance,
        }

    @classmethod
    def restored(cls, state: dict[str, Any], delta: float = 0.002) -> "Adwin":
        """The same as `state` told of."""
        made = cls(delta)
        made._levels = [[(a, b) for a, b in level] for level in state["levels"]]
        made._ticks, made._width = state["ticks"], state["width"]
        made._total, made._variance = state["total"], state["variance"]
        return made

    def _compress(self) -> None:
        for at, level in enumerate(self._levels):
            if len(level) <= _MAX_BUCKETS:
                return
            size = 2**at
            (sum_a, var_a), (sum_b, var_b) = level[:2]
            del level[:2]
            apart = (sum_a / size - sum_b / size) ** 2 * size / 2
            if at + 1 == len(self._levels):
                self._levels.append([])
            self._levels[at + 1].append((sum_a + sum_b, var_a + var_b + apart))

    def _cut(self) -> bool:
        """Drop the oldest buckets while they differ from what follows."""
        has_risen = False
        while (rise := self._difference()) is not None:
            has_risen = has_risen or rise > 0
            self._drop_oldest()
        return has_risen

    def _difference(self) -> float | None:
        """How much the newer part's mean is above the older one's, where they differ."""
        n_old, old = 0, 0.0
        for at in range(len(self._levels) - 1, -1, -1):
            for total, _ in self._levels[at]:
                n_old += 2**at
                old += total
                n_new = self._width - n_old
                if n_new < _MIN_WINDOW:
                    return None
                if n_old >= _MIN_WINDOW:
                    rise: float = (self._total - old) / n_new - old / n_old
                    if abs(rise) > self._bound(n_old, n_new):
                        return rise
        return None

    def _bound(self, n_old: int, n_new: int) -> float:
        certain = math.log(2 * math.log(self._width) / self.delta)
        share = 1 / (n_old - _MIN_WINDOW + 1) + 1 / (n_new - _MIN_WINDOW + 1)
        variance = self._variance / self._width
        return math.sqrt(2 * share * variance * certain) + 2 / 3 * share * certain

    def _drop_oldest(self) -> None:
        at = len(self._levels) - 1
        total, variance = self._levels[at].pop(0)
        n = 2**at
        self._width -= n
        self._total -= total
        if self._width:
            apart = n * self._width * (total / n - self.mean) ** 2 / (n + self._width)
            self._variance = max(self._variance - variance - apart, 0.0)
        while len(self._levels) > 1 and not self._levels[-1]:
            self._levels.pop()


__all__ = ["Adwin"]
