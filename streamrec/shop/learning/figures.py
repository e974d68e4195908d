"""What the topic of metrics says of each model before and after tastes shifted."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_Z95 = 1.959964  # of a normal distribution, two-sided 95 %


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """A range of event time, Unix milliseconds; `end_ms` is not in it."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric over several windows: their mean by their counts, and its 95 % interval."""

    value: float
    low: float
    high: float
    count: int

    def plain(self) -> dict[str, float | int]:
        """As JSON says it."""
        return {
            "value": round(self.value, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "count": self.count,
        }


def figure_of(
    records: Iterable[Mapping[str, Any]], pipeline: str, metric: str, span: TimeSpan
) -> Figure | None:
    """The windows that lie in a span, of all versions and variants together; None: there is none.

    Windows are independent: the variance of the mean is the sum of (weight x standard error)^2,
    each standard error from its own interval, which is taken for a normal one.
    """
    found = [
        each
        for each in records
        if each["pipeline"] == pipeline
        and each["metric"] == metric
        and each["segment"] == "all"
        and not each["version"]
        and not each["variant"]
        and span.start_ms <= _ms(each["window_start"])
        and _ms(each["window_end"]) <= span.end_ms
    ]
    total = sum(each["count"] for each in found)
    if not total:
        return None
    value = sum(each["value"] * each["count"] for each in found) / total
    variance = sum(
        (each["count"] / total * (each["high"] - each["low"]) / 2 / _Z95) ** 2
        for each in found
        if each["low"] is not None and each["high"] is not None
    )
    half = _Z95 * math.sqrt(variance)
    return Figure(value, value - half, value + half, total)


def _ms(time: Any) -> int:
    return int(time) if isinstance(time, int) else round(time.timestamp() * 1000)


__all__ = ["Figure", "TimeSpan", "figure_of"]
