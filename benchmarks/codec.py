"""The batch Avro codec against fastavro, by batch size: decoding clicks, encoding 12 floats.

Run as `python -m benchmarks.codec`. Times are medians of wall time on one thread, in microseconds
per event; a ratio is fastavro's time over the codec's, with the wire header handled on both sides.
"""

import io
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import fastavro
import numpy as np

from streamrec import schemas
from streamrec.schemas.columns import Columns, Numbers
from streamrec.schemas.wire import WireDecoder, WireEncoder

BATCH_SIZES = (50, 100, 1_000, 8_000)
FLOATS = 12
_HEADER = b"\0\0\0\0\7"
_SCHEMA_ID = 7
_REPEATS_MIN = 15
_REPEATS_MAX = 400


def measure() -> dict[str, float]:
    """Return microseconds per event and ratios, named `<what>_<batch size>_us` and `..._ratio`."""
    clicks = _clicks(max(BATCH_SIZES))
    reader = fastavro.parse_schema(json.loads(schemas.load("clicks")))
    scores_json = _scores_schema()
    scores = fastavro.parse_schema(json.loads(scores_json))
    decoder = WireDecoder(schemas.load("clicks"), lambda _: schemas.load("clicks"))
    encoder = WireEncoder(scores_json, _SCHEMA_ID)

    def fastavro_decode(values: list[bytes | None]) -> None:
        for value in values:
            assert value is not None
            fastavro.schemaless_reader(io.BytesIO(value[5:]), reader, None)

    def fastavro_encode(rows: list[dict[str, object]]) -> None:
        for row in rows:
            out = io.BytesIO()
            out.write(_HEADER)
            fastavro.schemaless_writer(out, scores, row)
            out.getvalue()

    found: dict[str, float] = {}
    for size in BATCH_SIZES:
        batch = clicks[:size]
        columns, rows = _scored(decoder, batch)
        pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "decode_clicks": (partial(decoder.decode, batch), partial(fastavro_decode, batch)),
            "encode_floats": (partial(encoder.encode, columns), partial(fastavro_encode, rows)),
        }
        for name, (ours, theirs) in pairs.items():
            ours_us = _median_us(ours) / size
            theirs_us = _median_us(theirs, repeats=5) / size
            found[f"{name}_{size}_us"] = ours_us
            found[f"{name}_{size}_fastavro_us"] = theirs_us
            found[f"{name}_{size}_ratio"] = theirs_us / ours_us
    return found


def _median_us(run: Callable[[], object], repeats: int = 0) -> float:
    run()
    start = time.perf_counter()
    run()
    once_s = time.perf_counter() - start
    times = []
    for _ in range(repeats or max(_REPEATS_MIN, min(_REPEATS_MAX, int(0.1 / once_s)))):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def _clicks(count: int) -> list[bytes | None]:
    schema = fastavro.parse_schema(json.loads(schemas.load("clicks")))
    choose = random.Random(1)
    values: list[bytes | None] = []
    for i in range(count):
        out = io.BytesIO()
        out.write(_HEADER)
        click = {
            "user_id": f"user-{choose.randrange(100_000)}",
            "item_id": f"item-{choose.randrange(10_000)}",
            "event_type": choose.choice(["view", "cart", "purchase"]),
            "timestamp": 1_700_000_000_000 + i,
            "price_cents": choose.choice([None, 1_999]),
            "category_id": choose.choice([None, "shoes"]),
            "session_id": f"{choose.getrandbits(64):x}",
        }
        fastavro.schemaless_writer(out, schema, click)
        values.append(out.getvalue())
    return values


def _scores_schema() -> str:
    floats = [{"name": f"feature_{i}", "type": "float"} for i in range(FLOATS)]
    fields = [{"name": "user_id", "type": "string"}, {"name": "timestamp", "type": "long"}, *floats]
    return json.dumps({"type": "record", "name": "Scores", "fields": fields})


def _scored(
    decoder: WireDecoder, clicks: list[bytes | None]
) -> tuple[Columns, list[dict[str, object]]]:
    """The same rows as columns and as records."""
    decoded = decoder.decode(clicks).columns
    columns: Columns = {"user_id": decoded["user_id"], "timestamp": decoded["timestamp"]}
    values = np.random.default_rng(1).random((FLOATS, len(clicks)), np.float32)
    for i in range(FLOATS):
        columns[f"feature_{i}"] = Numbers(values[i])
    users, times = columns["user_id"], columns["timestamp"]
    assert not isinstance(users, Numbers)
    assert isinstance(times, Numbers)
    rows = [
        {"user_id": f"user-{row}", "timestamp": int(times.values[row])}
        | {f"feature_{i}": float(values[i, row]) for i in range(FLOATS)}
        for row in range(len(clicks))
    ]
    return columns, rows


def main() -> None:
    found = measure()
    out = sys.stdout.write
    out(f"{'':16}{'batch':>8}{'codec':>10}{'fastavro':>10}{'ratio':>8}   (us per event)\n")
    for what in ("decode_clicks", "encode_floats"):
        for size in BATCH_SIZES:
            name = f"{what}_{size}"
            ours, theirs = found[f"{name}_us"], found[f"{name}_fastavro_us"]
            ratio = found[f"{name}_ratio"]
            out(f"{what:16}{size:>8}{ours:>10.3f}{theirs:>10.3f}{ratio:>8.1f}\n")


if __name__ == "__main__":
    main()
