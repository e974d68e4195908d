"""Any model on a topic: ours against an aiokafka loop and Quix Streams, where ours spends its time,
and what a model's neighbours notice of it.

A class that costs nothing is served from JSON, of four fields and of eighteen; a trained file from
Avro, by ours alone.
"""

import json
import statistics
import time
from collections.abc import Mapping
from functools import partial

from benchmarks.figures import Figure
from benchmarks.place import Place
from benchmarks.scorer import neighbours, throughput
from benchmarks.scorer.breakdown import breakdown
from benchmarks.scorer.outputs import says
from benchmarks.scorer.records import (
    Values,
    avro_flowers,
    cars,
    fill,
    flower_schema,
    flowers,
    make_topic,
)
from benchmarks.scorer.served.bench_models import MODELS
from benchmarks.scorer.throughput import Task, cpu_us_of, figures_of, in_turns, ours, ratios_of
from benchmarks.scorer.trained import names_a_flower, train

NAME = "scorer"
EVENTS = 800_000  # some 10 s or more for each contender
US_PER_JSON_RECORD_MAX = 15.0
US_PER_AVRO_RECORD_MAX = 3.0
# Of those that one would write first; `aiokafka_batches` is told beside them.
TIMES_THE_RATE_MIN = {"aiokafka": 3.0, "quix": 3.0, "quix_tuned": 3.0}
_WIDE_SHARE = 0.5  # of the events


def run(place: Place, events: int) -> list[Figure]:
    wide_events = int(events * _WIDE_SHARE)
    return [
        *from_json(place, "iris", flowers, events, {"species": "setosa"}),
        *from_json(place, "wide", cars, wide_events, {"state": "normal"}),
        *from_avro(place, "avro", events, with_headers=True),
        *from_avro(place, "avro_without_headers", events, with_headers=False),
        *neighbours.slow_beside_fast(place, NAME),
        *neighbours.shadows(place, NAME),
    ]


def from_json(
    place: Place, name: str, values: Values, count: int, answer: Mapping[str, str]
) -> list[Figure]:
    """A class of `bench_models`, by its qualified name, through all contenders."""
    if not throughput.RIVALS:
        place.say("no contenders here: ours only")
    inputs = make_topic(place, f"{name}.inputs")
    place.say(f"writing {count:,} records to {inputs}")
    fill(place, inputs, values, count)
    model = {"model": f"bench_models:{MODELS[name].__name__}"}
    task = Task(model, name, inputs, count, lambda _: says(answer))
    runs = in_turns(place, task, {"ours": ours, **throughput.RIVALS})
    where = breakdown(place, task, f"{NAME}.{name}")
    place.delete_topics(inputs)
    own_us = _own_us(name, values)
    beyond_us = cpu_us_of(runs["ours"]) - own_us
    name = f"{NAME}.{name}"
    return [
        *ratios_of(name, runs, TIMES_THE_RATE_MIN),
        Figure(f"{name}.beyond_the_call", beyond_us, "us CPU/record", US_PER_JSON_RECORD_MAX),
        Figure(f"{name}.call", own_us, "us CPU/record"),
        *figures_of(name, runs),
        *where,
    ]


def from_avro(place: Place, name: str, count: int, *, with_headers: bool) -> list[Figure]:
    schema = flower_schema(name)
    inputs = make_topic(place, f"{name}.inputs", schema)
    values = avro_flowers(schema, place.schema_id(inputs))
    place.say(f"writing {count:,} records to {inputs}")
    fill(place, inputs, values, count, with_headers=with_headers)
    model = {"model": str(train(place.folder)), "format": "avro"}
    is_right = partial(names_a_flower, place)
    task = Task(model, name, inputs, count, is_right, with_headers=with_headers)
    runs = in_turns(place, task, {"ours": ours})
    where = breakdown(place, task, f"{NAME}.{name}")
    place.delete_topics(inputs)
    name = f"{NAME}.{name}"
    # A call costs more for each record of a small batch: it is that of the batches there were.
    own_us = next(figure.value for figure in where if figure.name == f"{name}.where.call")
    beyond_us = cpu_us_of(runs["ours"]) - own_us
    target = US_PER_AVRO_RECORD_MAX if with_headers else None
    return [
        Figure(f"{name}.beyond_the_call", beyond_us, "us CPU/record", target),
        *figures_of(name, runs),
        *where,
    ]


def _own_us(name: str, values: Values, count: int = 20_000) -> float:
    """CPU of the model's own call for each record, without anything around it."""
    predict = MODELS[name]().predict
    records = list(map(json.loads, values(0, count)))
    rounds = []
    for _ in range(5):
        start = time.process_time()
        for record in records:
            predict(record)
        rounds.append((time.process_time() - start) * 1e6 / count)
    return statistics.median(rounds)
