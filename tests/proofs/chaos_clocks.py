"""The simulated shop with producers whose clocks are ten years ahead."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

import fastavro
import numpy as np

from streamrec.dataflows.job.topics import CLICKS
from streamrec.shop.shop import GOOD, START_MS, Shop, ShopBatch

_AHEAD = timedelta(days=3_650)
FAR_MS = START_MS + int(_AHEAD.total_seconds() * 1_000) // 2  # no right clock shows this
_HEADER_BYTES = 5
_SCHEMA = fastavro.parse_schema(json.loads(CLICKS.schema))


@dataclass(frozen=True)
class ClockShop(Shop):
    """A shop in which so many of the good clicks have a wrong time, as has their record in the log
    (`arrivals_ms`). They are clicks like others, and must be answered like others."""

    wrong_clocks: float = 0.0  # share

    def batches(self) -> Iterator[ShopBatch]:
        rng = np.random.default_rng([self.seed, 12])
        for batch in super().batches():
            wrong = (batch.faults == GOOD) & (rng.random(len(batch)) < self.wrong_clocks)
            values = list(batch.values)
            for row in np.flatnonzero(wrong).tolist():
                values[row] = _moved(values[row])
            ahead_ms = wrong * int(_AHEAD.total_seconds() * 1_000)
            clicks = replace(
                batch.clicks,
                times_ms=batch.clicks.times_ms + ahead_ms,
                arrivals_ms=batch.clicks.arrivals_ms + ahead_ms,
            )
            yield replace(batch, values=values, clicks=clicks)


def _moved(value: bytes | None) -> bytes:
    assert value is not None
    click = fastavro.schemaless_reader(io.BytesIO(value[_HEADER_BYTES:]), _SCHEMA, None)
    assert isinstance(click, dict)
    out = io.BytesIO()
    out.write(value[:_HEADER_BYTES])
    fastavro.schemaless_writer(out, _SCHEMA, {**click, "timestamp": click["timestamp"] + _AHEAD})
    return out.getvalue()
