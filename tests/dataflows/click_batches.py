"""Batches of clicks as the source hands them over, for tests of single steps."""

import io
import json
from collections.abc import Sequence
from typing import Any

import fastavro
import numpy as np

from streamrec.connectors.log import Detail, RawBatch
from streamrec.dataflows.steps.decode import DecodeClicks
from streamrec.schemas import load
from streamrec.schemas.wire import WireDecoder

START_MS = 1_767_225_600_000
AHEAD_S = 300
_SCHEMA = fastavro.parse_schema(json.loads(load("clicks")))


def click(**fields: Any) -> bytes:
    """A view by `u1` of `i1` but for the fields given, under schema id 1."""
    out = io.BytesIO()
    out.write(b"\0\0\0\0\1")
    found = {"user_id": "u1", "item_id": "i1", "event_type": "view", "timestamp": START_MS}
    fastavro.schemaless_writer(out, _SCHEMA, {**found, **fields})
    return out.getvalue()


def raw_batch(
    values: Sequence[bytes | None],
    partition: int = 0,
    offsets: Sequence[int] | None = None,
    times_ms: Sequence[int] | None = None,
) -> RawBatch:
    """Messages whose key and header name their partition and offset; their log times follow from
    the offsets where they are not given."""
    places = list(range(len(values))) if offsets is None else list(offsets)
    written = [START_MS + place for place in places] if times_ms is None else list(times_ms)

    def detail(index: int) -> Detail:
        name = b"%d:%d" % (partition, places[index])
        return Detail(name, [("at", name)], written[index])

    offsets_array, times_array = np.array(places, np.int64), np.array(written, np.int64)
    return RawBatch("clicks", partition, offsets_array, list(values), detail, times_array)


def make_decode(shards: int = 4) -> DecodeClicks:
    decoder = WireDecoder(load("clicks"), {1: load("clicks")}.__getitem__)
    return DecodeClicks(lambda: decoder, 3, shards, AHEAD_S)
