"""Feeds the models of the scorer's proof: a process of its own beside those that are killed."""

import argparse
import io
import json
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import fastavro

from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Headers, Outgoing
from streamrec.dataflows.job.settings import load_settings
from tests.proofs.chaos_feed import Pace, send_at_pace
from tests.proofs.scorer_plain import DOES, NAMES

_SHARES = (0.4, 0.2, 0.06, 0.06, 0.06, 0.22)  # of the records, by NAMES
_POISON = 0.004  # of a model in a process of its own: each ends one
_WRONG = 0.06  # of any
_MOOD = 0.08
_AVRO, _OTHER_AVRO = 0.2, 0.05
_KEYLESS = 0.05
_WITH_HEADERS = 0.1
_BROKEN: tuple[bytes | None, ...] = (
    b"{",
    b"",
    b"\xff\xfe\x00",
    b'{"n": NaN}',
    b"[1]",
    b"3",
    b"{}",
    b'{"do": "raise"}',
    b'{"n": "1"}',
    b'{"n": 1.5}',
    b'{"n": true}',
    b'{"n": null}',
    b'{"n": 1, "do": 7}',
    None,
)
# A schema that none of the models made; what it says besides is not theirs.
OTHER_SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "Another",
        "fields": [{"name": "n", "type": "int"}, {"name": "more", "type": "string"}],
    }
)


def records(
    seed: int, events: int, schema_ids: Sequence[int], schemas: Sequence[str], other_id: int
) -> Iterator[tuple[int, Outgoing]]:
    """So many, each with the index of its model. `schema_ids`, `schemas`: of the inputs of each."""
    rng = random.Random(f"scorer-{seed}")
    parsed = [fastavro.parse_schema(json.loads(schema)) for schema in schemas]
    other = fastavro.parse_schema(json.loads(OTHER_SCHEMA))
    users = max(20, events // 50)
    for number in range(events):
        which = rng.choices(range(len(NAMES)), _SHARES)[0]
        user = f"u{rng.randrange(users)}".encode()
        key = None if rng.random() < _KEYLESS else user
        value = _value(rng, NAMES[which], number)
        form = rng.random()
        written: bytes | None
        if rng.random() < _WRONG:
            written = rng.choice(_BROKEN)
        elif form < _OTHER_AVRO and "do" not in value:
            written = _avro(other, other_id, {"n": value["n"], "more": "x"})
        elif form < _OTHER_AVRO + _AVRO:
            written = _avro(parsed[which], schema_ids[which], {"do": None, **value})
        else:
            written = json.dumps({**value, **({"more": [1]} if form > 0.9 else {})}).encode()
        yield which, Outgoing(key, written, _headers(rng, number))


def _value(rng: random.Random, name: str, number: int) -> dict[str, Any]:
    share = _MOOD if name == "moody" else _POISON
    if name in DOES and rng.random() < share:
        return {"n": number, "do": rng.choice(DOES[name])}
    return {"n": number}


def _headers(rng: random.Random, number: int) -> Headers | None:
    if rng.random() >= _WITH_HEADERS:
        return None
    found: Headers = [("trace", b"\1%d" % number), ("empty", b"")]
    if rng.random() < 0.5:
        found.append(("streamrec-request-id", b"r%d" % number))
    return found


def _avro(schema: Any, schema_id: int, value: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    out.write(b"\0" + schema_id.to_bytes(4, "big"))
    fastavro.schemaless_writer(out, schema, value)
    return out.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.proofs.scorer_feed", description=__doc__)
    parser.add_argument("--topics", nargs=len(NAMES), required=True, help="of inputs")
    parser.add_argument("--other", required=True, help="topic whose schema is another")
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="records a second")
    given = parser.parse_args()
    log = open_log(load_settings())
    with closing(log.registry()) as registry:
        found = [registry.latest(f"{topic}-value") for topic in given.topics]
        other_id = registry.latest(f"{given.other}-value").id
    pace = Pace(given.rate)
    ids, schemas = [each.id for each in found], [each.schema for each in found]
    left = records(given.seed, given.events, ids, schemas, other_id)
    send_at_pace(log, given.topics, left, pace)
    return 0


if __name__ == "__main__":
    sys.exit(main())
