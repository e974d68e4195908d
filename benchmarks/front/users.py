"""Recommendations of as many users as are wanted, one each, on a topic: for store and API."""

import io
import json
from collections.abc import Iterator
from contextlib import closing

import fastavro

from benchmarks.place import Place
from streamrec.connectors.log import Outgoing
from streamrec.schemas import load

_ITEMS = 20
_FLUSH_EACH = 50_000


def fill(place: Place, topic: str, users: int, time_ms: int) -> None:
    """Write them; user n is `u<n>`, from 1 on."""
    head, tail = _around_the_user(place.schema_id(topic), time_ms)
    with closing(place.log.writer()) as writer:
        for first in range(1, users + 1, _FLUSH_EACH):
            last = min(first + _FLUSH_EACH, users + 1)
            writer.write(topic, _records(head, tail, first, last))
            writer.flush(120.0)


def _records(head: bytes, tail: bytes, first: int, last: int) -> Iterator[Outgoing]:
    for number in range(first, last):
        user = b"u%d" % number
        # Avro: a string is its length, zigzag, and its bytes; these are shorter than 64.
        yield Outgoing(user, b"".join((head, bytes((2 * len(user),)), user, tail)))


def _around_the_user(schema_id: int, time_ms: int) -> tuple[bytes, bytes]:
    """What stands before a user's id, and after it: the same for all."""
    record = {
        "user_id": "",
        "source_topic": "clicks",
        "source_partition": 0,
        "source_offset": 0,
        "requested_at": time_ms,
        "item_id": "i1",
        "items": [
            {"item_id": f"item-{n}", "score": 1.0 / (n + 1), "methods": 3} for n in range(_ITEMS)
        ],
        "model_name": "session-recommender",
        "model_version": "fcfc20d3988e032a",
        "method_names": "repeat,knn,suffix,rules,near,two_hop,popular",
        "feature_set": "0123456789abcdef",
        "features": [0.5] * 12,
        "recommendation_id": "clicks/0/0",
        "mode": "served",
    }
    out = io.BytesIO()
    schema = fastavro.parse_schema(json.loads(load("recommendations")))
    fastavro.schemaless_writer(out, schema, record)
    return b"\0" + schema_id.to_bytes(4, "big"), out.getvalue()[1:]


__all__ = ["fill"]
