"""Any model on a topic: ours against an aiokafka loop and Quix Streams, and what a model's
neighbours notice of it.

A class that costs nothing is served from JSON, of four fields and of eighteen; a trained file from
Avro, by ours alone.
"""

import json
import statistics
import time
from collections.abc import Mapping

from benchmarks.figures import Figure
from benchmarks.place import Place
from benchmarks.scorer import neighbours
from benchmarks.scorer.outputs import says
from benchmarks.scorer.records import Values, cars, fill, flowers, make_topic
from benchmarks.scorer.served.bench_models import MODELS
from benchmarks.scorer.throughput import (
    RIVALS,
    Contender,
    Task,
    cpu_us_of,
    figures_of,
    in_turns,
    ours,
    ratios_of,
)

NAME = "scorer"
EVENTS = 600_000
CONTENDERS: dict[str, Contender] = {"ours": ours, **RIVALS}
US_PER_JSON_RECORD_MAX = 15.0
TIMES_THE_RATE_MIN = 3.0
_WIDE_SHARE = 0.5  # of the events


def run(place: Place, events: int) -> list[Figure]:
    if len(CONTENDERS) == 1:
        place.say("no contenders here: ours only")
    return [
        *_json(place, "iris", "bench_models:Iris", flowers, events, {"species": "setosa"}),
        *_json(
            place, "wide", "bench_models:Wide", cars, int(events * _WIDE_SHARE), {"state": "normal"}
        ),
        *neighbours.slow_beside_fast(place, NAME),
        *neighbours.shadows(place, NAME),
    ]


def _json(
    place: Place, name: str, model: str, values: Values, count: int, answer: Mapping[str, str]
) -> list[Figure]:
    inputs = make_topic(place, f"{name}.inputs")
    place.say(f"writing {count:,} records to {inputs}")
    fill(place, inputs, values, count)
    task = Task({"model": model}, name, inputs, count, says(answer))
    runs = in_turns(place, task, CONTENDERS)
    place.delete_topics(inputs)
    own_us = _own_us(name, values)
    beyond_us = cpu_us_of(runs["ours"]) - own_us
    name = f"{NAME}.{name}"
    return [
        *ratios_of(name, runs, TIMES_THE_RATE_MIN),
        Figure(f"{name}.beyond_the_call", beyond_us, "us CPU/record", US_PER_JSON_RECORD_MAX),
        Figure(f"{name}.call", own_us, "us CPU/record"),
        *figures_of(name, runs),
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
