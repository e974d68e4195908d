"""Examples as `dataflows.labels` writes them, and the trainer on paper."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from bytewax.testing import run_main

from streamrec.connectors.ticks.tick import Tick
from streamrec.dataflows.job.paper import PaperJob, batch_of
from streamrec.dataflows.job.topics import TRAINING_EXAMPLES
from streamrec.dataflows.learning.desk import PaperDesk
from streamrec.dataflows.learning.plan import TrainerKeys
from streamrec.dataflows.trainer import FLOW_ID, build_flow
from streamrec.models.learning.recipe import Recipe
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
