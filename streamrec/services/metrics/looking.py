"""Looking at processes from outside: what each serves, as numbers that a table can show."""

import http.client
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from streamrec.services.metrics.address import parse_address
from streamrec.services.metrics.notes import Note

PATIENCE_S = 3.0
_AT_ONCE = 16

Labels = Mapping[str, str]
Series = list[tuple[Labels, float]]


@dataclass(frozen=True, slots=True)
class Looked:
    """What a process served at one moment."""

    at_s: float  # monotonic
    series: Mapping[str, Series]  # by the name of the sample
    reasons: Sequence[str]  # why it is not ready; none: it is

    def total(self, *names: str) -> float | None:
        """The sum of all series of these names; None: none is served."""
        found = [value for name in names for _, value in self.series.get(name, ())]
        return sum(found) if found else None

    def labels(self, name: str) -> list[Labels]:
        return [labels for labels, _ in self.series.get(name, ())]

    def buckets(self, name: str) -> dict[float, float]:
        """Of a histogram, over all its labels: how many were not above each bound."""
        found: dict[float, float] = defaultdict(float)
        for labels, value in self.series.get(f"{name}_bucket", ()):
            found[float(labels["le"])] += value
        return dict(sorted(found.items()))


def look_at_all(notes: Sequence[Note]) -> dict[int, Looked | None]:
    """By process; None: it does not answer."""
    if not notes:
        return {}
    with ThreadPoolExecutor(min(_AT_ONCE, len(notes))) as pool:
        return dict(zip([n.pid for n in notes], pool.map(look_at, notes), strict=True))


def look_at(note: Note) -> Looked | None:
    """What a process serves now; None: it does not answer, or is another that has its port."""
    try:
        health: Any = json.loads(_get(note.address, "/health"))
        if health.get("pid") != note.pid:
            return None
        return looked(_get(note.address, "/metrics"), health.get("reasons", ()))
    except (OSError, http.client.HTTPException, ValueError, AttributeError):
        return None


def looked(text: str, reasons: Sequence[str] = ()) -> Looked:
    """From Prometheus' text. Raises ValueError."""
    series: dict[str, Series] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series[sample.name].append((sample.labels, float(sample.value)))
    return Looked(time.monotonic(), dict(series), list(reasons))


def _get(address: str, path: str) -> str:
    where = parse_address(address)
    if where is None:
        raise ValueError(f"address expected HOST:PORT, got {address!r}")
    connection = http.client.HTTPConnection(_reached_by(where.host), where.port, timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def _reached_by(host: str) -> str:
    """Who listens everywhere is asked on loopback."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


__all__ = ["Looked", "look_at", "look_at_all", "looked"]
