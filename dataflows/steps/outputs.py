"""What steps say record by record, as columns of a topic."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamrec.dataflows.job.encoding import ColumnsOf, Records
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import Topic
from streamrec.dataflows.steps.held import Answered, Output
from streamrec.schemas.columns import Column, Columns, Lists, Numbers, strings
from streamrec.schemas.parsing import Field, Type, parse

if TYPE_CHECKING:  # steps run without the engine, which a job wires
    from streamrec.dataflows.job.job import Job

_NUMBERS = {
    "int": np.int32,
    "long": np.int64,
    "float": np.float32,
    "double": np.float64,
    "boolean": np.bool_,
}

_WHOLE = (int, np.int64, np.int32)
_TAKEN: dict[str, tuple[type, ...]] = {
    "int": _WHOLE,
    "long": _WHOLE,
    "float": (*_WHOLE, float, np.float64, np.float32),
    "double": (*_WHOLE, float, np.float64, np.float32),
    "boolean": (bool, np.bool_),
}


def outputs_of(job: "Job", topic: Topic) -> ColumnsOf:
    """Makes the records of a topic of the `Output`s that are for it; those for others are passed
    over, so that one stream may be written to several topics.

    Fields that the topic's row names as `answers` are filled in. Raises StartError for a schema
    with fields that are no strings, bytes, numbers, booleans, or lists of these.
    """
    fields = parse(topic.schema).fields
    for field in fields:
        if not _is_plain(field.type):
            raise StartError(
                f"topic {topic.name!r}: field {field.name!r} expected strings, bytes, numbers, "
                f"booleans or lists of these in {topic.schema_place}, got {field.type.value.kind}; "
                "make the columns yourself"
            )
    return partial(_records, topic, fields, job.flow_id)


def _is_plain(node: Type) -> bool:
    kind = node.value.kind
    if kind == "array":
        return node.value is node and _is_plain(node.branches[0]) and node.branches[0].kind != kind
    return kind in _NUMBERS or kind in ("string", "bytes")


def _records(
    topic: Topic, fields: Sequence[Field], flow_id: str, batch: list[Any]
) -> Iterator[Records]:
    outputs: list[Output] = [each for each in batch if each.topic is topic]
    if not outputs:
        return
    names = {field.name for field in fields}
    for each in outputs:
        if not each.fields.keys() <= names:
            raise TypeError(
                f"output of topic {topic.name!r} expected fields of {topic.schema_place}, got "
                f"{min(each.fields.keys() - names)!r}"
            )
    given = _identities(topic, flow_id, outputs)
    columns: Columns = {}
    for field in fields:
        values = given.get(field.name)
        if values is None:
            values = [each.fields.get(field.name, field.default) for each in outputs]
        try:
            columns[field.name] = _column(field.type, values)
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise TypeError(
                f"output of topic {topic.name!r}: field {field.name!r} expected "
                f"{field.type.value.kind}, got {_misfit(field.type, values)!r}"
            ) from error
    inputs = Answered([each.record for each in outputs])
    yield Records(
        columns,
        inputs if topic.answers is not None else None,
        np.arange(len(outputs)),
        [each.kind for each in outputs],
        np.array([each.number for each in outputs], np.int64),
    )


def _identities(topic: Topic, flow_id: str, outputs: list[Output]) -> dict[str, list[Any]]:
    """The fields by which a restart knows each output."""
    columns: list[list[Any]] = [
        [each.record.partition for each in outputs],
        [each.record.offset for each in outputs],
        [each.record.topic for each in outputs],
        [flow_id] * len(outputs),
        [each.kind for each in outputs],
        [each.number for each in outputs],
    ]
    return dict(zip(topic.answers or (), columns, strict=False))


def _column(node: Type, values: list[Any]) -> Column:
    inner = node.value
    if inner.kind == "array":
        if any(isinstance(each, str | bytes) for each in values):
            raise TypeError("a text")
        bounds = np.zeros(len(values) + 1, np.int64)
        np.cumsum([len(each) for each in values], out=bounds[1:])
        return Lists(bounds, {"": _column(inner.branches[0], [v for each in values for v in each])})
    if inner.kind in ("string", "bytes"):
        if node.null_branch < 0 and None in values:
            raise TypeError("null")
        return strings(values)
    valid: NDArray[np.bool_] | None = None
    if node.null_branch >= 0 and None in values:
        valid = np.array([value is not None for value in values], np.bool_)
        values = [_NUMBERS[inner.kind](0) if value is None else value for value in values]
    for value in values:
        if type(value) not in _TAKEN[inner.kind]:
            raise TypeError(f"{value!r}")
    return Numbers(np.array(values, _NUMBERS[inner.kind]), valid)


def _misfit(node: Type, values: list[Any]) -> Any:
    for value in values:
        try:
            _column(node, [value])
        except (TypeError, ValueError, OverflowError, AttributeError):
            return value
    return values


__all__ = ["outputs_of"]
