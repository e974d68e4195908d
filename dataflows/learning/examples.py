"""Training examples as steps say them, and as columns of the topic `training-examples`."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import NO_TIMESTAMP_MS
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.encoding import Records
from streamrec.schemas.columns import Bytes, Column, Columns, Lists, Numbers, constant, strings
from streamrec.schemas.reasons import Reason

LABEL = "label"  # the kind of all outputs


class Items(NamedTuple):
    """The items of a recommendation: n values each."""

    item_ids: list[str]
    positions: list[int]
    shown: list[bool]
    labels: list[float]
    outcomes: list[str | None]
    delays_ms: list[int | None]


NO_ITEMS = Items([], [], [], [], [], [])


class Example(NamedTuple):
    """One record; see schemas/training_examples.avsc."""

    source: tuple[str, int, int]  # topic, partition and offset of the answer
    number: int
    request_id: str
    pipeline: str
    model: str
    version: str
    experiment: str | None
    variant: str | None
    propensity: float | None
    mode: str
    key: str | None
    served_at: int
    labelled_at: int
    inputs: str | None
    features: NDArray[np.float32] | None
    input_names: str | None
    answer: str | None
    score: float | None
    label: float | None
    outcome: str | None
    weight: float
    delay_ms: int | None
    items: Items = NO_ITEMS


class _Answers:
    """The answers of which examples say something, as `job.write` must know inputs."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples

    @property
    def topic(self) -> list[str]:
        return [each.source[0] for each in self._examples]

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(m, 2): partition and offset of chosen rows."""
        found = [self._examples[row].source[1:] for row in rows.tolist()]
        return np.array(found, np.int64).reshape(-1, 2)

    def fail(
        self, row: int, reason: Reason, message: str, error: Exception | None = None
    ) -> Failed:
        """The failure of one row; the answer itself is not held any more."""
        topic, partition, offset = self._examples[row].source
        place = f"topic {topic!r}, partition {partition}, offset {offset}"
        return Failed(
            reason=reason.value,
            exception=reason.exception,
            message=f"{message} ({place}; the original is left out)",
            topic=topic,
            partition=partition,
            offset=offset,
            key=None,
            value=None,
            headers=[],
            timestamp_ms=NO_TIMESTAMP_MS,
        )


def example_columns(flow_id: str) -> Callable[[list[Any]], Iterator[Records]]:
    """One record for each example."""

    def columns_of(batch: list[Example]) -> Iterator[Records]:
        n = len(batch)
        (
            sources,
            numbers,
            request_ids,
            pipelines,
            models,
            versions,
            experiments,
            variants,
            propensities,
            modes,
            keys,
            served,
            labelled,
            inputs,
            features,
            input_names,
            answers,
            scores,
            labels,
            outcomes,
            weights,
            delays,
            items,
        ) = zip(*batch, strict=True)
        topics, partitions, offsets = zip(*sources, strict=True)
        columns: Columns = {
            "request_id": strings(request_ids),
            "source_topic": _texts(topics),
            "source_partition": Numbers(np.array(partitions, np.int32)),
            "source_offset": Numbers(np.array(offsets, np.int64)),
            "dataflow": constant(flow_id, n),
            "kind": constant(LABEL, n),
            "number": Numbers(np.array(numbers, np.int32)),
            "pipeline": _texts(pipelines),
            "model": _texts(models),
            "version": _texts(versions),
            "experiment": _texts(experiments),
            "variant": _texts(variants),
            "propensity": _numbers(propensities, np.float64),
            "mode": _texts(modes),
            "key": strings(keys),
            "served_at": Numbers(np.array(served, np.int64)),
            "labelled_at": Numbers(np.array(labelled, np.int64)),
            "inputs": strings(inputs),
            "features": _features(features),
            "input_names": _texts(input_names),
            "answer": strings(answers),
            "score": _numbers(scores, np.float64),
            "label": _numbers(labels, np.float64),
            "outcome": _texts(outcomes),
            "weight": Numbers(np.array(weights, np.float64)),
            "delay_ms": _numbers(delays, np.int64),
            "items": _items(items),
        }
        yield Records(columns, _Answers(batch), np.arange(n), LABEL, np.array(numbers, np.int64))

    return columns_of


def _texts(values: Sequence[str | None]) -> Bytes:
    """Texts that are mostly the same."""
    first = values[0]
    if first is not None and values.count(first) == len(values):
        return constant(first, len(values))
    return strings(values)


def _numbers(values: Sequence[float | None], kind: type[np.generic]) -> Numbers:
    if None not in values:
        return Numbers(np.array(values, kind))
    valid = np.array([value is not None for value in values], np.bool_)
    return Numbers(np.array([value or 0 for value in values], kind), valid)


def _features(values: Sequence[NDArray[np.float32] | None]) -> Lists:
    valid = np.array([value is not None for value in values], np.bool_)
    bounds = np.zeros(len(values) + 1, np.int64)
    np.cumsum([0 if value is None else len(value) for value in values], out=bounds[1:])
    held = [value for value in values if value is not None]
    content = np.concatenate(held) if held else np.zeros(0, np.float32)
    return Lists(bounds, {"": Numbers(content)}, None if valid.all() else valid)


def _items(values: Sequence[Items]) -> Lists:
    bounds = np.zeros(len(values) + 1, np.int64)
    np.cumsum([len(each.item_ids) for each in values], out=bounds[1:])
    ids, positions, shown, labels, outcomes, delays = (
        list(chain.from_iterable(column)) for column in zip(*values, strict=True)
    )
    columns: dict[str, Column] = {
        "item_id": strings(ids),
        "position": Numbers(np.array(positions, np.int32)),
        "shown": Numbers(np.array(shown, np.bool_)),
        "label": Numbers(np.array(labels, np.float64)),
        "outcome": _texts(outcomes) if outcomes else strings(outcomes),
        "delay_ms": _numbers(delays, np.int64),
    }
    return Lists(bounds, columns)


__all__ = ["LABEL", "NO_ITEMS", "Example", "Items", "example_columns"]
