"""Labels: CPU for each recommendation of 20 items, and for each score, from log to log.

A recommendation brings an impression of its first ten items and a click, of which every tenth is on
one of them; the labels are told when it is clicked and when its window closes. A score is an input,
an output and an outcome. All that is read, kept, saved each ten seconds and written counts.
"""

import io
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import fastavro
import numpy as np

from benchmarks.figures import Figure
from benchmarks.place import PARTITIONS, Place
from benchmarks.processes import Progress, recovering, running
from streamrec.connectors.log import Outgoing
from streamrec.dataflows.job.paper import PaperJob
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.job.topics import (
    CLICKS,
    ERRORS,
    IMPRESSIONS,
    OUTCOMES,
    RANKER_INPUTS,
    RECOMMENDATIONS,
    TICKS,
    TRAINING_EXAMPLES,
    Topic,
    make_all,
)
from streamrec.dataflows.labels import FLOW_ID
from streamrec.dataflows.learning.labelling import labelling

NAME = "labels"
EVENTS = 100_000
US_PER_RECOMMENDATION_MAX = 40.0
US_PER_SCORE_MAX = 5.0
START_MS = 1_767_225_600_000
USERS = 2_000
ITEMS = 20_000
WINDOW_S, HORIZON_S = 20, 40
_PER_S = 1_000  # of event time
_WARM_UP_SHARE = 0.4
_BATCH = 2_000
_PIPELINE = "scored"
_LIST = """
prefix = "{prefix}"
[[models]]
model = "benchmarks.scorer.served.bench_models:Iris"
name = "scored"
"""
_PLAN = """
[[models]]
pipeline = "{pipeline}"
[models.labels]
window_s = {window_s}
horizon_s = {horizon_s}
default = 0
"""


def run(place: Place, events: int) -> list[Figure]:
    figures = []
    for pipeline, name, most in (
        ("recommender", "recommendation", US_PER_RECOMMENDATION_MAX),
        (_PIPELINE, "score", US_PER_SCORE_MAX),
    ):
        cpu_us, wall_us = _measure(place, pipeline, events)
        unit = f"us CPU/{name}"
        figures.append(Figure(f"{NAME}.{name}.{place.backend}.cpu_warm", cpu_us, unit, most))
        figures.append(Figure(f"{NAME}.{name}.{place.backend}.rate", 1e6 / wall_us, f"{name}s/s"))
    return figures


def _measure(place: Place, pipeline: str, events: int) -> tuple[float, float]:
    """CPU and wall time for each answer, us, once it is warm."""
    models, learning = place.folder / "labels.toml", place.folder / f"{pipeline}.toml"
    models.write_text(_LIST.format(prefix=place.prefix))
    given = {"pipeline": pipeline, "window_s": WINDOW_S, "horizon_s": HORIZON_S}
    learning.write_text(_PLAN.format(**given))
    settings = load_settings(models=str(models), learning=str(learning))
    job = PaperJob(FLOW_ID, settings=settings)
    names: dict[Topic, str] = {}
    for row in (*(topic for topic, _ in labelling(job).topics), TRAINING_EXAMPLES, ERRORS, TICKS):
        if row is not RANKER_INPUTS:  # which need not be there
            names[row] = f"{place.prefix}-{pipeline}-{row.name}" if row.setting else row.name
    make_all(place.log, {name: row for row, name in names.items()})
    outputs = names[TRAINING_EXAMPLES]
    with closing(place.log.writer()) as writer:
        made = _scores(place, names, events) if pipeline == _PIPELINE else None
        for topic, messages in made or _recommendations(place, names, events):
            writer.write(topic, messages)
        writer.flush(120.0)
    environment = place.process_environment(
        **{row.setting: name for row, name in names.items() if row.setting},
        ranker_inputs_topic=f"{place.prefix}-none",
        models=models,
        learning=learning,
        consumer_group=outputs,
        follow=False,
    )
    arguments = recovering("dataflows.labels", place.folder / f"recovery-{pipeline}", 10)
    with running(f"labels-{pipeline}", arguments, environment, place.folder) as process:
        progress = Progress(process, place.log, outputs)
        said = progress.watch(lambda sample: False).done
        process.wait()
    place.delete_topics(*names.values())
    # Examples come as answers do, but for those whose windows are open at the end.
    answers = events - (0 if pipeline == _PIPELINE else WINDOW_S * _PER_S)
    cpu_us, wall_us = progress.warm_us(said, _WARM_UP_SHARE)
    return cpu_us * said / answers, wall_us * said / answers


class _Avro:
    """Writes values of a topic."""

    def __init__(self, place: Place, row: Topic, name: str) -> None:
        self._schema = fastavro.parse_schema(json.loads(row.schema))
        self._prefix = b"\0" + place.schema_id(name).to_bytes(4, "big")

    def __call__(self, value: dict[str, Any]) -> bytes:
        out = io.BytesIO()
        out.write(self._prefix)
        fastavro.schemaless_writer(out, self._schema, value)
        return out.getvalue()


def _recommendations(
    place: Place, names: dict[Topic, str], events: int
) -> Iterator[tuple[str, list[Outgoing]]]:
    rng = np.random.default_rng(1)
    rows = (RECOMMENDATIONS, IMPRESSIONS, CLICKS)
    avro = [_Avro(place, row, names[row]) for row in rows]
    about = {"item_id": "item", "model_name": "ranker", "model_version": "v1"}
    rest = {"method_names": "m", "feature_set": "f", "features": [0.5] * 12, "mode": "served"}
    for first in range(0, events, _BATCH):
        messages: list[list[Outgoing]] = [[], [], []]
        for number in range(first, min(first + _BATCH, events)):
            user, at_ms = f"user-{rng.integers(USERS)}", START_MS + number * 1_000 // _PER_S
            items = [f"item-{item:05d}" for item in rng.integers(0, ITEMS, 20).tolist()]
            id_ = f"clicks/0/{number}"
            place_of = {"source_topic": "clicks", "source_partition": 0, "source_offset": number}
            scored = [{"item_id": item, "score": 0.5, "methods": 1} for item in items]
            said = {**place_of, "requested_at": at_ms, "items": scored, "recommendation_id": id_}
            shown = {"recommendation_id": id_, "items": items[:10], "timestamp": at_ms + 100}
            clicked = items[3] if number % 10 == 0 else f"item-{rng.integers(ITEMS):05d}"
            click = {"item_id": clicked, "event_type": "view", "timestamp": at_ms + 800}
            for own, write, value in zip(
                messages, avro, ({**about, **rest, **said}, shown, click), strict=True
            ):
                content = write({"user_id": user, **value})
                own.append(Outgoing(user.encode(), content, timestamp_ms=at_ms + 1_000))
        yield from zip((names[row] for row in rows), messages, strict=True)


def _scores(
    place: Place, names: dict[Topic, str], events: int
) -> Iterator[tuple[str, list[Outgoing]]]:
    rows = list(names)
    inputs, outputs = (names[row] for row in rows[:2])
    outcomes = names[OUTCOMES]
    avro = _Avro(place, OUTCOMES, outcomes)
    fields = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    for first in range(0, events, _BATCH):
        messages: dict[str, list[Outgoing]] = {inputs: [], outputs: [], outcomes: []}
        for number in range(first, min(first + _BATCH, events)):
            at_ms, key = START_MS + number * 1_000 // _PER_S, b"key-%d" % number
            id_ = f"request-{number}"
            headers: list[tuple[str, bytes | None]] = [("streamrec-request-id", id_.encode())]
            value = json.dumps(dict.fromkeys(fields, number)).encode()
            partition, offset = number % PARTITIONS, number // PARTITIONS
            messages[inputs].append(Outgoing(key, value, headers, at_ms, partition))
            source = ("streamrec-source", f"{inputs}/{partition}/{offset}".encode())
            own = [*headers, source, ("streamrec-model", b"iris/1.0"), ("streamrec-took-us", b"3")]
            messages[outputs].append(Outgoing(key, b'{"score":0.5}', own, at_ms))
            said = {"recommendation_id": id_, "kind": "label", "value": 1.0}
            content = avro({**said, "timestamp": at_ms + 500})
            messages[outcomes].append(Outgoing(id_.encode(), content, timestamp_ms=at_ms + 500))
        yield from messages.items()


__all__ = ["EVENTS", "NAME", "run"]
