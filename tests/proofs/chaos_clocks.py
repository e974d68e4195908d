"""Producers whose clocks are wrong: now and then a click that is ten years ahead, by its own time
and by that of the log. It is answered like any other, and none of the others is too late for it."""

import io
import json
import random
from collections.abc import Iterator
from dataclasses import replace

import fastavro

from streamrec.dataflows.job.topics import CLICKS
from streamrec.shop.faults import ClickEncoder, SchemaIds
from streamrec.shop.shop import GOOD, Shop, ShopBatch

_AHEAD_MS = 10 * 365 * 24 * 60 * 60 * 1000
_EVERY = 4_000  # records, about
_HEADER_BYTES = 5

# A topic that takes such records: brokers from 4.0 on refuse them unless told.
TOPIC_CONFIGS = {"message.timestamp.after.max.ms": str((1 << 63) - 1)}


class ChaosInput:
    """The shop's records, with wrong clocks or without; the feeder and the checker see the same."""

    def __init__(self, seed: int, events: int, ids: SchemaIds, clocks: bool) -> None:
        self._shop = Shop(seed=seed, clicks=events, schema_ids=ids)
        self._ids = ids
        self._clocks = clocks

    def __len__(self) -> int:
        return self._shop.clicks

    def batches(self) -> Iterator[tuple[ShopBatch, dict[int, int]]]:
        """Each batch, and the time of the log, Unix milliseconds, of rows that bring their own."""
        rng = random.Random(self._shop.seed)
        encoder = ClickEncoder(self._ids)
        for batch in self._shop.batches():
            times: dict[int, int] = {}
            if self._clocks:
                batch, times = _with_wrong_clocks(batch, rng, encoder)
            yield batch, times


def _with_wrong_clocks(
    batch: ShopBatch, rng: random.Random, encoder: ClickEncoder
) -> tuple[ShopBatch, dict[int, int]]:
    values, times = list(batch.values), {}
    schema = fastavro.parse_schema(json.loads(CLICKS.schema))
    for row in range(len(batch)):
        value = values[row]
        if rng.random() * _EVERY >= 1.0 or batch.faults[row] != GOOD or value is None:
            continue
        click = fastavro.schemaless_reader(io.BytesIO(value[_HEADER_BYTES:]), schema, None)
        assert isinstance(click, dict)
        # As fastavro gives it: Unix milliseconds, or a datetime where the type is logical.
        stamp = click["timestamp"]
        ahead_ms = _AHEAD_MS + (stamp if isinstance(stamp, int) else int(1000 * stamp.timestamp()))
        values[row] = encoder.encode({**click, "timestamp": ahead_ms}, encoder.ids.clicks)
        times[row] = ahead_ms
    return replace(batch, values=values), times
