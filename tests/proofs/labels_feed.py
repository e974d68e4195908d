"""What `dataflows.labels` is fed with for its proof: a process of its own beside those that are
killed, or records in memory.

Requests and recommendations come every second of event time; what comes of them is early, late,
twice, never, or too late, and records are written some time after they happened, most at once. The
last records say nothing but what time it is, until every horizon has ended.
"""

import argparse
import io
import json
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple

import fastavro
import numpy as np

from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Outgoing
from streamrec.dataflows.job.settings import load_settings
from streamrec.schemas import load
from tests.proofs.chaos_feed import Pace, send_at_pace
from tests.proofs.join_plain import partition_of
from tests.proofs.labels_plain import Fact

Headers = list[tuple[str, bytes]]

START_MS = 1_767_225_600_000
WINDOW_S, HORIZON_S = 60, 150
SOURCE, MODEL, REQUEST_ID = "streamrec-source", "streamrec-model", "streamrec-request-id"
ITEMS = "abcdefghij"
USERS = 5
KINDS = ("click", "cart", "purchase", "dismiss")
EVENTS = ("view", "cart", "purchase", "favorite")
_SECOND_MS = 1_000
_STEP_S = 2
_END_HOPS = 12

INPUTS, OUTPUTS, RECOMMENDED, RANKED, SHOWN, CLICKED, OUTCOMES = range(7)
PIPELINE = "twice"
ROWS = (
    *(f"models.{PIPELINE}.1.0.{kind}" for kind in ("inputs", "outputs")),
    *("recommendations", "ranker-inputs", "impressions", "clicks", "outcomes"),
)


class Fed(NamedTuple):
    """A record as it is written: `value` as JSON or Avro has it."""

    written_ms: int
    topic: int
    key: str
    value: dict[str, Any]
    headers: Headers
    time_ms: int  # of the log


def fed(seed: int, events: int) -> Iterator[Fed]:
    """The records of so many requests and recommendations, in the order of writing."""
    rng = random.Random(f"labels-{seed}")
    records: list[Fed] = []
    for number in range(events):
        at_ms = START_MS + number * _STEP_S * _SECOND_MS
        if rng.random() < 0.5:
            records += _request(rng, number, at_ms)
        else:
            records += _recommendation(rng, number, at_ms)
    records.sort(key=lambda each: each.written_ms)
    yield from records
    last_ms = max(each.written_ms for each in records)
    for hop in range(_END_HOPS):
        at_ms = last_ms + (hop + 1) * HORIZON_S * _SECOND_MS // 2
        for n in range(40):  # all shards
            yield Fed(at_ms, CLICKED, f"end-{n}", _click(f"end-{n}", "z", "view", at_ms), [], at_ms)


def _lag_ms(rng: random.Random) -> int:
    """How long after it happened something is written."""
    choices = (0, 0, 0, 0, 0, 1, 3, 7, 20, 70, 200)
    return rng.choice(choices) * _SECOND_MS


def _delay_ms(rng: random.Random) -> int:
    """How long after the answer something happens."""
    near = rng.choice((WINDOW_S, HORIZON_S))
    choices = (rng.randrange(-20, WINDOW_S), rng.randrange(HORIZON_S + 60), near, near + 1)
    return rng.choice(choices) * _SECOND_MS


def _request(rng: random.Random, number: int, at_ms: int) -> Iterator[Fed]:
    named = rng.random() < 0.7
    request_id = f"r{number}"
    headers: Headers = [(REQUEST_ID, request_id.encode())]
    if not named:
        request_id = f"inputs/{number}"  # what its place becomes is known when it is written
        headers = []
    value = {"n": number}
    lag_ms = _lag_ms(rng) if rng.random() < 0.3 else 0
    if rng.random() < 0.97:
        yield Fed(at_ms + lag_ms, INPUTS, f"k{number}", value, headers, at_ms)
    for again in range(2 if named and rng.random() < 0.1 else 1):
        if rng.random() < 0.93:
            written_ms = at_ms + _lag_ms(rng) + again * _SECOND_MS
            answer = {"twice": 2 * number, "again": again}
            yield Fed(written_ms, OUTPUTS, f"k{number}", answer, headers, at_ms)
    for _ in range(rng.choice((0, 0, 1, 1, 1, 2, 3))):
        told_ms = at_ms + _delay_ms(rng)
        outcome = {
            "recommendation_id": request_id,
            "user_id": None,
            "item_id": None,
            "kind": rng.choice(("bought", "returned")),
            "value": rng.choice((None, 0.0, 1.0, 1.0)),
            "weight": rng.choice((None, None, 2.0)),
            "timestamp": told_ms,
        }
        for _ in range(2 if rng.random() < 0.15 else 1):
            written_ms = max(told_ms, at_ms) + _lag_ms(rng)
            yield Fed(written_ms, OUTCOMES, request_id, outcome, [], told_ms)


def _recommendation(rng: random.Random, number: int, at_ms: int) -> Iterator[Fed]:
    user, id_ = f"u{rng.randrange(USERS)}", f"clicks/0/{number}"
    items = rng.sample(ITEMS, 4)
    ids = {
        "user_id": user,
        "source_topic": "clicks",
        "source_partition": 0,
        "source_offset": number,
        "requested_at": at_ms,
        "recommendation_id": id_,
    }
    about = {"model_name": "ranker", "model_version": "v1", "variant": None}
    value = {
        **ids,
        **about,
        "item_id": "q",
        "items": [{"item_id": item, "score": 0.5, "methods": 1} for item in items],
        "method_names": "m",
        "feature_set": "f",
        "features": [],
        "experiment": None,
        "propensity": None,
        "mode": "served",
    }
    for again in range(2 if rng.random() < 0.05 else 1):
        written_ms = at_ms + _lag_ms(rng) + again * _SECOND_MS
        if rng.random() < 0.95:
            yield Fed(written_ms, RECOMMENDED, user, value, [], written_ms)
    if rng.random() < 0.4:
        ranked = [*rng.sample(ITEMS, 10)]
        inputs = {
            **ids,
            **about,
            "weight": 2.5,
            "input_names": "x,y",
            "item_ids": ranked,
            "inputs": np.arange(number * 20, number * 20 + 20).astype("<f4").tobytes(),
        }
        written_ms = at_ms + _lag_ms(rng)
        yield Fed(written_ms, RANKED, user, inputs, [], written_ms)
    for _ in range(rng.choice((0, 1, 1, 1, 2))):
        shown_ms = at_ms + rng.randrange(0, 40) * _SECOND_MS
        shown = [*rng.sample(items, rng.randrange(1, 5)), "pop"]
        rng.shuffle(shown)
        value = {
            "recommendation_id": id_,
            "user_id": user,
            "items": shown,
            "timestamp": shown_ms,
            "surface": None,
        }
        yield Fed(shown_ms + _lag_ms(rng), SHOWN, id_, value, [], shown_ms)
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
        yield from _happened(rng, user, id_, items, at_ms)


def _happened(
    rng: random.Random, user: str, id_: str, items: list[str], at_ms: int
) -> Iterator[Fed]:
    told_ms = at_ms + _delay_ms(rng)
    item = rng.choice(items) if rng.random() < 0.9 else rng.choice(ITEMS)
    written_ms = max(at_ms, told_ms) + _lag_ms(rng)
    way = rng.random()
    if way < 0.7:
        value = _click(user, item, rng.choice(EVENTS), told_ms)
        yield Fed(written_ms, CLICKED, user, value, [], told_ms)
    if way > 0.55:
        told_ms += rng.choice((0, 1, 10, 11)) * _SECOND_MS
        outcome = {
            "recommendation_id": id_ if rng.random() < 0.9 else "nobody",
            "user_id": user,
            "item_id": item,
            "kind": rng.choice(KINDS),
            "value": None,
            "weight": rng.choice((None, None, 5.0, 0.0)),
            "timestamp": told_ms,
        }
        written_ms = max(at_ms, told_ms) + _lag_ms(rng)
        yield Fed(written_ms, OUTCOMES, id_, outcome, [], told_ms)


def _click(user: str, item: str, event: str, at_ms: int) -> dict[str, Any]:
    return {
        "user_id": user,
        "item_id": item,
        "event_type": event,
        "timestamp": at_ms,
        "price_cents": None,
        "category_id": None,
        "session_id": None,
    }


class Placed(NamedTuple):
    """A record with its place, which what is about it names."""

    fed: Fed
    topic: str
    partition: int
    offset: int
    value: dict[str, Any]
    headers: Headers
    request_id: str  # of inputs and outputs


def placed(seed: int, events: int, topics: Mapping[int, str], partitions: int) -> list[Placed]:
    """The records in the order in which they are written, to topics that are empty and have so
    many partitions each, by their keys; those of other topics are left out."""
    records = [each for each in fed(seed, events) if each.topic in topics]
    ends: Counter[tuple[int, int]] = Counter()
    places: list[tuple[int, int]] = []
    of_input: dict[str, str] = {}
    for each in records:
        partition = partition_of(each.key.encode(), partitions)
        places.append((partition, ends[each.topic, partition]))
        ends[each.topic, partition] += 1
        if each.topic == INPUTS:
            of_input[each.key] = f"{topics[INPUTS]}/{partition}/{places[-1][1]}"
    found: list[Placed] = []
    for each, (partition, offset) in zip(records, places, strict=True):
        value, headers, request_id = each.value, each.headers, ""
        if each.topic in (INPUTS, OUTPUTS):
            source = of_input.get(each.key, f"{topics[INPUTS]}/0/9{each.key[1:]}")
            request_id = dict(headers)[REQUEST_ID].decode() if headers else source
            if each.topic == OUTPUTS:
                headers = [*headers, (SOURCE, source.encode()), (MODEL, b"twice/1.0.0")]
        elif each.topic == OUTCOMES and value["recommendation_id"].startswith("inputs/"):
            key = "k" + value["recommendation_id"].removeprefix("inputs/")
            about = of_input.get(key, f"{topics[INPUTS]}/0/9{key[1:]}")
            value = {**value, "recommendation_id": about}
        found.append(
            Placed(each, topics[each.topic], partition, offset, value, headers, request_id)
        )
    return found


def fact_of(record: Placed) -> Fact:
    """What a record says, for the plain program."""
    topic, value, time_ms = record.fed.topic, record.value, record.fed.time_ms
    says: dict[str, Any]
    if topic == INPUTS:
        what, about, says = "input", record.request_id, {"text": json.dumps(value)}
    elif topic == OUTPUTS:
        source, partition, offset = dict(record.headers)[SOURCE].decode().rsplit("/", 2)
        place = (source, int(partition), int(offset))
        what, about = "answer", record.request_id
        says = {"id": about, "text": json.dumps(value), "source": place}
    elif topic == OUTCOMES and value["item_id"] is None:
        what, about = "outcome", value["recommendation_id"]
        says = {"id": about, **{name: value[name] for name in ("kind", "value", "weight")}}
    else:
        about, says = value["user_id"], {"id": value.get("recommendation_id")}
        if topic == RECOMMENDED:
            what, time_ms = "recommendation", value["requested_at"]
            says["items"] = [each["item_id"] for each in value["items"]]
        elif topic == RANKED:
            what, time_ms = "ranked", value["requested_at"]
            says |= {"weight": value["weight"], "inputs": _by_item(value)}
        elif topic == SHOWN:
            what = "impression"
            says["items"] = value["items"]
        else:
            what = "did"
            kind = value["kind"] if topic == OUTCOMES else value["event_type"]
            kind = "click" if kind == "view" else kind
            says |= {"item": value["item_id"], "kind": kind, "weight": value.get("weight")}
    return Fact(topic, record.topic, record.partition, record.offset, time_ms, about, what, says)


def _by_item(value: dict[str, Any]) -> dict[str, list[float]]:
    pairs = np.frombuffer(value["inputs"], "<f4").reshape(-1, 2).tolist()
    return dict(zip(value["item_ids"], pairs, strict=True))


def outgoing(
    records: Iterable[Placed], schema_ids: Mapping[int, int]
) -> Iterator[tuple[int, Outgoing]]:
    """The records as they are written, with the numbers of their topics. `schema_ids` of those
    that are Avro; the others are JSON."""
    schemas = {
        number: fastavro.parse_schema(json.loads(load(ROWS[number].replace("-", "_"))))
        for number in schema_ids
    }
    for record in records:
        number, key = record.fed.topic, record.fed.key.encode()
        out = io.BytesIO()
        if number in schemas:
            out.write(b"\0" + schema_ids[number].to_bytes(4, "big"))
            fastavro.schemaless_writer(out, schemas[number], record.value)
        else:
            out.write(json.dumps(record.value).encode())
        headers: list[tuple[str, bytes | None]] = [*record.headers]
        yield number, Outgoing(key, out.getvalue(), headers, record.fed.time_ms, record.partition)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.proofs.labels_feed", description=__doc__)
    parser.add_argument("--topics", nargs=len(ROWS), required=True, help="in their order")
    parser.add_argument("--partitions", type=int, required=True, help="of each topic")
    parser.add_argument("--answers", type=int, required=True, help="requests, recommendations")
    parser.add_argument("--events", type=int, required=True, help="records that this makes")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="records a second")
    given = parser.parse_args()
    log = open_log(load_settings())
    with closing(log.registry()) as registry:
        ids = {
            number: registry.latest(f"{given.topics[number]}-value").id
            for number in range(RECOMMENDED, len(ROWS))
        }
    records = placed(given.seed, given.answers, dict(enumerate(given.topics)), given.partitions)
    assert len(records) == given.events
    send_at_pace(log, given.topics, outgoing(records, ids), Pace(given.rate))
    return 0


if __name__ == "__main__":
    sys.exit(main())
