"""Measures that are read when somebody asks, and cost nothing before."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_logger = logging.getLogger(__name__)

Kind = Literal["gauge", "counter"]


class _Series(NamedTuple):
    labels: dict[str, str]
    read: Callable[[], float | None]


class _Measure(NamedTuple):
    kind: Kind
    doc: str
    series: list[_Series]


class ReadWhenAsked(Collector):
    """Gauges and counters whose values stand elsewhere."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._measures: dict[str, _Measure] = {}

    def add(
        self,
        kind: Kind,
        name: str,
        doc: str,
        read: Callable[[], float | None],
        labels: Mapping[str, str],
    ) -> None:
        """All series of a name have the same labels. Raises ValueError for a name that is not as
        Prometheus has it."""
        if not name.startswith("streamrec_") or (kind == "counter") != name.endswith("_total"):
            raise ValueError(
                f"{kind} expected a name that begins with streamrec_ and, of counters alone, ends "
                f"in _total, got {name!r}"
            )
        with self._lock:
            measure = self._measures.setdefault(name, _Measure(kind, doc, []))
            if measure.series and measure.series[0].labels.keys() != labels.keys():
                raise ValueError(
                    f"{name} expected labels {sorted(measure.series[0].labels)}, "
                    f"got {sorted(labels)}"
                )
            measure.series.append(_Series(dict(labels), read))

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            measures = {name: (m.kind, m.doc, list(m.series)) for name, m in self._measures.items()}
        for name, (kind, doc, series) in measures.items():
            family = GaugeMetricFamily if kind == "gauge" else CounterMetricFamily
            found = family(name, doc, labels=list(series[0].labels))
            for labels, read in series:
                value = read()
                if value is not None:
                    found.add_metric(list(labels.values()), value)
            yield found


__all__ = ["Kind", "ReadWhenAsked"]
