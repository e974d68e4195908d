"""What tells each record of an output topic: fields of its value, or headers beside it.

Fields are named by `Topic(answers=(partition, offset, topic, dataflow, kind, number))`, with dots
where they stand in a nested record, which may be nullable. Headers, where a value has no fields of
ours (JSON that is exactly what a model answered, bytes), are these:

- `streamrec-source`: topic/partition/offset of the input that the record answers;
- `streamrec-output`: kind/number, where an input has several outputs;
- `streamrec-dataflow`: the dataflow that answers.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, Literal

from streamrec.connectors.log import Headers
from streamrec.connectors.out import OutputId, Sources

HEADERS: Literal["headers"] = "headers"
Answers = tuple[str, ...] | Literal["headers"]

SOURCE_HEADER = "streamrec-source"
OUTPUT_HEADER = "streamrec-output"
DATAFLOW_HEADER = "streamrec-dataflow"

# Of the fields, in the order in which a topic names them.
ANSWER_TYPES = (*[("int", "long")] * 2, *[("string",)] * 3, ("int", "long"))


IDS = frozenset((SOURCE_HEADER, OUTPUT_HEADER, DATAFLOW_HEADER))


def with_ids(headers: Sequence[Headers] | None, sources: Sources, dataflow: str) -> list[Headers]:
    """Headers of n records with those that tell which output each is.

    Headers of these names that were there, of an input that is itself an output, are replaced.
    """
    topics = repeat(sources.topics) if isinstance(sources.topics, str) else sources.topics
    by = (DATAFLOW_HEADER, dataflow.encode())
    own: list[Headers] = [
        [(SOURCE_HEADER, f"{topic}/{partition}/{offset}".encode()), by]
        for topic, (partition, offset) in zip(topics, sources.places.tolist(), strict=False)
    ]
    if sources.kinds or sources.numbers is not None:
        for pairs, output in zip(own, sources.ids(), strict=True):
            if output.kind or output.number:
                pairs.append((OUTPUT_HEADER, f"{output.kind}/{output.number}".encode()))
    if headers is None:
        return own
    return [
        [*[pair for pair in given if pair[0] not in IDS], *pairs]
        for given, pairs in zip(headers, own, strict=True)
    ]


def id_in(headers: Headers, dataflow: str) -> OutputId | None:
    """Which output of a dataflow a record with these headers is; None: it is none of its.

    >>> id_in([("streamrec-source", b"clicks/3/418"), ("streamrec-output", b"hit/2")], "mine")
    OutputId(topic='clicks', partition=3, offset=418, kind='hit', number=2)
    >>> id_in([("streamrec-source", b"clicks/3")], "mine")
    """
    found = {name: value for name, value in headers if name in IDS and value is not None}
    if SOURCE_HEADER not in found:
        return None
    try:
        topic, partition, offset = found[SOURCE_HEADER].decode().rsplit("/", 2)
        kind, _, number = found.get(OUTPUT_HEADER, b"/0").decode().rpartition("/")
        by = found.get(DATAFLOW_HEADER, dataflow.encode()).decode()
        output = OutputId(topic, int(partition), int(offset), kind, int(number))
    except ValueError:  # of something else that uses the name
        return None
    return output if by == dataflow else None


def type_at(schema: Mapping[str, Any], path: str) -> Any:
    """The type of a field of an Avro record by its name, dotted inside nested records: a name,
    without null where it is nullable. None: there is no such field."""
    name, _, rest = path.partition(".")
    kind = next((f["type"] for f in schema["fields"] if f["name"] == name), None)
    kind = _without_null(kind)
    if rest:
        return type_at(kind, rest) if _is_record(kind) else None
    return kind["type"] if isinstance(kind, dict) else kind


def projection(schema: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """An Avro record with these fields only. A nested record that was nullable is not: as which a
    value that is null there cannot be read."""
    wanted: dict[str, list[str]] = {}
    for path in paths:
        name, _, rest = path.partition(".")
        wanted.setdefault(name, []).append(rest)
    fields = []
    for each in schema["fields"]:
        inside = [rest for rest in wanted.get(each["name"], ()) if rest]
        if inside:
            fields.append(
                {"name": each["name"], "type": projection(_without_null(each["type"]), inside)}
            )
        elif each["name"] in wanted:
            fields.append(each)
    return {**schema, "fields": fields}


def _without_null(kind: Any) -> Any:
    if isinstance(kind, list) and len(kind) == 2 and "null" in kind:
        return kind[1] if kind[0] == "null" else kind[0]
    return kind


def _is_record(kind: Any) -> bool:
    return isinstance(kind, dict) and kind.get("type") == "record"


__all__ = [
    "ANSWER_TYPES",
    "DATAFLOW_HEADER",
    "HEADERS",
    "OUTPUT_HEADER",
    "SOURCE_HEADER",
    "Answers",
    "id_in",
    "projection",
    "type_at",
    "with_ids",
]
