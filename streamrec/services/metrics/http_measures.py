"""What a service measures of its requests: how many, how they ended, how long they took."""

import threading
from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from streamrec.services.metrics.buckets import SECONDS, Buckets

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class HttpMeasures(Collector):
    """Of one service. `answered` takes about a microsecond."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._took: dict[str, Buckets] = {}  # by route

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """`route` is the template (`/recommendations/{user}`), never the path: ids are no labels,
        and what fits no route has one name for all."""
        if method not in _METHODS:  # whoever asks may call it as he likes
            method = "other"
        with self._lock:
            self._requests[method, route, status] += 1
            took = self._took.get(route)
            if took is None:
                took = self._took[route] = Buckets(SECONDS)
            took.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            requests = sorted(self._requests.items())
            took = sorted((route, buckets.copy()) for route, buckets in self._took.items())
        counted = CounterMetricFamily(
            "streamrec_http_requests",
            "Requests that were answered.",
            labels=["service", "method", "route", "status"],
        )
        for (method, route, status), count in requests:
            counted.add_metric([self._service, method, route, str(status)], count)
        yield counted
        durations = HistogramMetricFamily(
            "streamrec_http_request_duration_seconds",
            "From a request's first byte to its answer's last.",
            labels=["service", "route"],
        )
        for route, buckets in took:
            buckets.add_to(durations, [self._service, route])
        yield durations


__all__ = ["HttpMeasures"]
