"""Histograms that cost a hot path less than a microsecond."""

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client.core import HistogramMetricFamily

SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0),
)
RECORDS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0, 30_000.0)


class Buckets:
    """How often values fell between bounds, ends included. Whoever calls from several threads has a
    lock.

    >>> sizes = Buckets((1.0, 10.0))
    >>> sizes.observe(10.0, times=3)
    >>> sizes.cumulative()
    [('1.0', 0), ('10.0', 3), ('+Inf', 3)]
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0  # of all values

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def copy(self) -> "Buckets":
        """As they are now."""
        found = Buckets(self.bounds)
        found.counts, found.total = self.counts[:], self.total
        return found

    def cumulative(self) -> list[tuple[str, int]]:
        """As Prometheus has it: each bound, and how many values are not above it."""
        found, count = [], 0
        for bound, more in zip([*map(str, self.bounds), "+Inf"], list(self.counts), strict=True):
            count += more
            found.append((bound, count))
        return found

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """As one series of a metric."""
        family.add_metric(labels, buckets=self.cumulative(), sum_value=self.total)


__all__ = ["RECORDS", "SECONDS", "Buckets"]
