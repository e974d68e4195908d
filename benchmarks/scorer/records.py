"""What models are sent: JSON or Avro records, each with a key of its own and one header."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.place import PARTITIONS, Place
from streamrec.connectors.log import Headers, Outgoing, TopicSpec
from streamrec.connectors.making_topics import ensure_topics
from streamrec.schemas.columns import Columns, Numbers
from streamrec.schemas.wire import WireEncoder

FLOWER = ("sepal_length", "sepal_width", "petal_length", "petal_width")
HEADER = "trace"
_BATCH = 10_000

# The values of records from a number on, so many.
Values = Callable[[int, int], list[bytes]]


def key_of(number: int) -> bytes:
    """Each record's own, so that what came out can be counted by it."""
    return b"record-%09d" % number


def number_of(key: bytes) -> int:
    return int(key[7:])


def header_of(number: int) -> bytes:
    return b"trace-%09d" % number


def flowers(first: int, count: int) -> list[bytes]:
    """Records of `bench_models.Iris`, some 90 bytes each."""
    rows = _measures(first, count).tolist()
    return [_json(dict(zip(FLOWER, row, strict=True))) for row in rows]


def cars(first: int, count: int) -> list[bytes]:
    """Records of `bench_models.Wide`: 18 fields, some 350 bytes each."""
    rng = np.random.default_rng(first)
    speeds = rng.uniform(0, 180, count).round(1).tolist()
    models = ("hatch", "estate", "van")
    return [
        _json(
            {
                "vehicle": f"car-{number % 100_000:06d}",
                "model": models[number % 3],
                "moving": speed > 1,
                "charging": False,
                "gear": number % 7,
                "odometer_km": number % 300_000,
                "error_codes": 0,
                "passengers": number % 5,
                "speed_kmh": speed,
                "engine_rpm": 800 + 25 * speed,
                "coolant_c": 90.5,
                "oil_c": 101.25,
                "oil_bar": 3.5,
                "battery_v": 13.8,
                "throttle": speed / 200,
                "tyre_bar": 2.4,
                "latitude": 52.5 + speed / 10_000,
                "longitude": 13.4 - speed / 10_000,
            }
        )
        for number, speed in enumerate(speeds, first)
    ]


def flower_schema(model: str) -> str:
    """Avro of flowers, under the name that the schema has which is made of a model's inputs."""
    fields = [{"name": name, "type": "double"} for name in FLOWER]
    return json.dumps({"type": "record", "name": f"{model}Input", "fields": fields})


def avro_flowers(schema: str, schema_id: int) -> Values:
    """Flowers in wire format."""
    encoder = WireEncoder(schema, schema_id)

    def values(first: int, count: int) -> list[bytes]:
        measures = _measures(first, count)
        columns: Columns = {
            name: Numbers(np.ascontiguousarray(measures[:, at])) for at, name in enumerate(FLOWER)
        }
        return list(encoder.encode(columns).values)

    return values


def _measures(first: int, count: int) -> NDArray[np.float64]:
    """(count, 4) in cm."""
    return np.random.default_rng(first).uniform(0.1, 7.9, (count, 4)).round(1)


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def make_topic(place: Place, name: str, schema: str | None = None) -> str:
    """A new topic, of records without a schema unless one is given."""
    topic = f"{place.prefix}.{name}"
    ensure_topics(
        place.log, [TopicSpec(topic, PARTITIONS)], {} if schema is None else {topic: schema}
    )
    return topic


def fill(
    place: Place, topic: str, values: Values, count: int, *, with_headers: bool = True
) -> None:
    """Write records 0 to count - 1, each to the partition of its key."""
    with closing(place.log.writer()) as writer:
        for first in range(0, count, _BATCH):
            batch = values(first, min(_BATCH, count - first))
            writer.write(topic, _messages(first, batch, with_headers))
        writer.flush(120.0)


def _messages(first: int, values: list[bytes], with_headers: bool) -> Iterator[Outgoing]:
    for number, value in enumerate(values, first):
        headers: Headers | None = [(HEADER, header_of(number))] if with_headers else None
        yield Outgoing(key_of(number), value, headers)
