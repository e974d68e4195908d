"""The examples of a run, as they stand on `training-examples`: the same in every reading."""

import heapq
import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from streamrec.connectors.log import Log, schema_named
from streamrec.connectors.reading import read_batches, whole
from streamrec.dataflows.job.topics import TRAINING_EXAMPLES
from streamrec.dataflows.learning.plan import TrainerKeys
from streamrec.dataflows.learning.runs import TrainingRun
from streamrec.dataflows.learning.targets import inputs_of, target_of
from streamrec.models.learning.examples import Examples, ExamplesBuilder
from streamrec.models.learning.recipe import Recipe
from streamrec.schemas.row_values import AvroRows
from streamrec.schemas.wire import WireDecoder

_FIELDS = (
    "request_id",
    "number",
    "pipeline",
    "mode",
    "labelled_at",
    "inputs",
    "answer",
    "score",
    "label",
    "weight",
)


class _Found(NamedTuple):
    """One example; ordered as they were counted."""

    time_ms: int
    partition: int
    offset: int
    request_id: str
    number: int
    label: float
    weight: float
    inputs: str | None


def examples_on_log(
    log: Log, topic: str, run: TrainingRun, keys: TrainerKeys, recipe: Recipe
) -> tuple[Examples, int]:
    """The newest `max_examples` that a run covers, oldest first, and how many did not fit the
    recipe. Of an answer that was corrected the last correction counts, in the place of the first.
    Memory: the JSON of so many, and a copy in columns. Raises UnreachableError."""
    newest: list[_Found] = []  # a heap: the oldest first
    corrected: dict[str, _Found] = {}
    for found in _covered(log, topic, run, keys, recipe):
        if found.number:
            before = corrected.get(found.request_id)
            if before is None or found.number > before.number:
                corrected[found.request_id] = found
        elif len(newest) < keys.max_examples:
            heapq.heappush(newest, found)
        else:
            heapq.heappushpop(newest, found)
    builder = ExamplesBuilder(recipe)
    for found in sorted(newest):
        now = corrected.get(found.request_id, found)
        builder.add(inputs_of(found.inputs), now.label, now.weight, found.time_ms)
    newest.clear()
    misfits = builder.misfits
    return builder.built(), misfits


def _covered(
    log: Log, topic: str, run: TrainingRun, keys: TrainerKeys, recipe: Recipe
) -> Iterator[_Found]:
    for partition, offset, value in _values(log, topic, run):
        if value["pipeline"] != run.pipeline or not run.covers(
            value["labelled_at"], partition, offset
        ):
            continue
        label = target_of(keys, recipe, value)
        if label is not None:
            yield _Found(
                value["labelled_at"],
                partition,
                offset,
                value["request_id"],
                value["number"],
                label,
                value["weight"],
                value["inputs"],
            )


def _values(log: Log, topic: str, run: TrainingRun) -> Iterator[tuple[int, int, Mapping[str, Any]]]:
    registry = log.registry()
    schema = _projected(TRAINING_EXAMPLES.schema)
    decoder, rows = WireDecoder(schema, partial(schema_named, registry)), AvroRows(schema)
    lows, highs = whole(log, topic)  # retention may have taken what is older
    starts = {p: max(at, lows[p]) for p, at in run.starts.items() if p in lows}
    stops = {p: min(run.stops[p], highs[p]) for p in starts}
    for batch in read_batches(log, topic, starts, stops):
        decoded = decoder.decode(batch.values)
        for row, origin in enumerate(decoded.rows.tolist()):
            value = rows.record(decoded.columns, row)
            yield batch.partition, int(batch.offsets[origin]), value
    registry.close()


def _projected(schema: str) -> str:
    said = json.loads(schema)
    fields = [each for each in said["fields"] if each["name"] in _FIELDS]
    return json.dumps({**said, "fields": fields})


__all__ = ["examples_on_log"]
