"""Examples as `dataflows.labels` writes them, and the trainer on paper."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from bytewax.testing import run_main

from benchmarks.place import embedded_place
from streamrec.connectors.log import Log, Outgoing, schema_named
from streamrec.connectors.reading import read_all
from streamrec.connectors.ticks.tick import Tick
from streamrec.dataflows.job.paper import PaperJob, batch_of
from streamrec.dataflows.job.topics import (
    ERRORS,
    MODEL_EVENTS,
    MODELS,
    TICKS,
    TRAINING_EXAMPLES,
    TRAINING_RUNS,
    Topic,
    make_all,
)
from streamrec.dataflows.learning.desk import PaperDesk
from streamrec.dataflows.learning.plan import TrainerKeys
from streamrec.dataflows.trainer import FLOW_ID, build_flow
from streamrec.models.learning.recipe import Recipe
from streamrec.schemas.json_codec import JsonDecoder, JsonEncoder
from tests.models.learning.people import people

START_MS = 1_767_225_600_000


def example(at: int, **fields: Any) -> dict[str, Any]:
    """The n-th, a second after the one before; the inputs are those of the people of seed 1."""
    made = {
        "request_id": f"r{at}",
        "source_topic": "people.outputs",
        "source_partition": 0,
        "source_offset": at,
        "dataflow": "labels",
        "kind": "label",
        "number": 0,
        "pipeline": "people",
        "model": "people",
        "version": "1.0",
        "served_at": START_MS + 1000 * at - 500,
        "labelled_at": START_MS + 1000 * at,
        "inputs": None,
        "score": 0.5,
        "label": 1.0,
        "weight": 1.0,
    }
    return made | fields


def people_examples(n: int, **fields: Any) -> list[dict[str, Any]]:
    """Of n people, with labels that follow a rule."""
    rows, labels = people(n)
    return [
        example(number, inputs=json.dumps(row), label=label, **fields)
        for number, (row, label) in enumerate(zip(rows, labels, strict=True))
    ]


def tick(number: int, until: int) -> Tick:
    """One at which the example of a number, and what is before it, is due."""
    return Tick(number, START_MS + 1000 * until + 600, {})


def trained_on_paper(
    records: Sequence[dict[str, Any]],
    keys: dict[str, Any],
    recipe: Recipe | None = None,
    ticks: Iterable[Tick] = (),
) -> tuple[PaperJob, PaperDesk]:
    """What the trainer makes of examples that come in this order."""
    trainers = {"people": (TrainerKeys(recipe="people.learn.toml", **keys), recipe)}
    batch = batch_of(TRAINING_EXAMPLES, records)
    job = PaperJob(
        FLOW_ID, {TRAINING_EXAMPLES.name: [batch, *(ticks or [tick(1, 100_000), tick(2, 100_010)])]}
    )
    desk = PaperDesk()
    run_main(build_flow(job, trainers, desk))  # type: ignore[no-untyped-call]
    return job, desk


def learning_log(folder: Path) -> Log:
    """An embedded log with the topics of learning."""
    log = embedded_place(folder, lambda text: None).log
    topics = (TRAINING_EXAMPLES, TRAINING_RUNS, MODELS, MODEL_EVENTS, ERRORS, TICKS)
    make_all(log, {topic.name: topic for topic in topics})
    return log


def send(log: Log, topic: Topic, records: Iterable[Mapping[str, Any]]) -> None:
    """Write plain values, under their keys: examples in as many partitions as there are."""
    assert topic.key_field is not None
    with closing(log.registry()) as registry, closing(log.admin()) as admin:
        encode = JsonEncoder(topic.schema, registry.latest(f"{topic.name}-value").id).encode
        partitions = len(admin.bounds(topic.name))
    with closing(log.writer()) as writer:
        for number, each in enumerate(records):
            key = each[topic.key_field].encode()
            message = Outgoing(key, encode(each), partition=number % partitions)
            writer.write(topic.name, [message])
        writer.flush(30.0)


def all_of(log: Log, topic: Topic) -> list[dict[str, Any]]:
    """Every record of a topic, as plain values."""
    with closing(log.registry()) as registry:
        decode = JsonDecoder(partial(schema_named, registry)).decode
        return [decode(each.value) for each in read_all(log, topic.name) if each.value]
