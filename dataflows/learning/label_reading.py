"""How the records of each topic are read for labelling: their values, headers and keys."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import orjson

from streamrec.connectors.log import Headers, SchemaError
from streamrec.dataflows.job.answers import SOURCE_HEADER
from streamrec.dataflows.learning.label_rows import ReadRows
from streamrec.dataflows.learning.said import (
    SaidAnswer,
    SaidImpression,
    SaidOutcome,
    SaidRankerInputs,
    SaidRecommendation,
)
from streamrec.dataflows.serving.outputs import (
    EXPERIMENT,
    MODE,
    MODEL,
    PROPENSITY,
    SERVED,
    VARIANT,
    to_json,
)
from streamrec.dataflows.steps.timed_rows import spans_of
from streamrec.schemas.columns import Bytes, Column, Columns, Lists, Numbers
from streamrec.schemas.header_ids import key_in
from streamrec.schemas.json_codec import UnreadableError
from streamrec.schemas.parsing import parse
from streamrec.schemas.plain import ValueDecoder
from streamrec.schemas.served import SERVED as SERVED_FIELD

AnyAvro = Callable[[bytes, Headers], Any]
_WIRE_BYTES = 5  # magic byte and schema id
_CLICK_KINDS = {"view": "click"}  # what an event of a click is called among outcomes
_SCORES = ("score", "probability")  # fields that are a score where no setting names one


def inputs_of(any_avro: AnyAvro, adapt: Callable[[Any], Any] | None = None) -> ReadRows:
    """Inputs as JSON text: as they were, or what Avro says; None: they are neither. `adapt` makes
    what the model was given of what the topic holds, and raises ValueError."""

    def text_of(value: bytes | None, headers: Headers) -> str | None:
        if value is None:
            return None
        try:
            is_avro = _is_avro(value) or (headers != [] and key_in(headers) is not None)
            if adapt is None and not is_avro:
                orjson.loads(value)
                return value.decode()
            plain = any_avro(value, headers) if is_avro else orjson.loads(value)
            if isinstance(plain, dict):
                plain.pop(SERVED_FIELD, None)
            return to_json(plain if adapt is None else adapt(plain))
        except (ValueError, UnreadableError, SchemaError):
            return None

    return lambda values, headers, keys: list(map(text_of, values, headers))


def not_read(
    values: Sequence[bytes | None], headers: Sequence[Headers], keys: Sequence[bytes | None]
) -> list[Any]:
    """Of bytes, which JSON cannot say."""
    return [None] * len(values)


def json_answers(score: str | None) -> ReadRows:
    """Outputs that are JSON, whose headers say who answered."""

    def answer_of(value: bytes | None, headers: Headers, key: bytes | None) -> SaidAnswer:
        said = {name: "" if v is None else v.decode(errors="replace") for name, v in headers}
        model, _, version = said.get(MODEL, "/").rpartition("/")
        propensity = said.get(PROPENSITY)
        content = value or b"null"
        return SaidAnswer(
            said.get(SOURCE_HEADER, ""),
            model,
            version,
            said.get(EXPERIMENT),
            said.get(VARIANT),
            None if propensity is None else float(propensity),
            said.get(MODE, SERVED),
            _text(key),
            content.decode(errors="replace"),
            _score(orjson.loads(content), score),
        )

    return lambda values, headers, keys: list(map(answer_of, values, headers, keys))


def avro_answers(any_avro: AnyAvro, score: str | None) -> ReadRows:
    """Outputs that are Avro, whose field `served` says who answered."""

    def answer_of(value: bytes | None, headers: Headers, key: bytes | None) -> SaidAnswer:
        answer = any_avro(value or b"", headers)
        served = answer.pop(SERVED_FIELD)
        place = (served[f"source_{name}"] for name in ("topic", "partition", "offset"))
        return SaidAnswer(
            "/".join(map(str, place)),
            served["model"],
            served["version"],
            served["experiment"],
            served["variant"],
            served["propensity"],
            served["mode"],
            _text(key),
            to_json(answer),
            _score(answer, score),
        )

    return lambda values, headers, keys: list(map(answer_of, values, headers, keys))


def recommendations(decoder: Callable[[], ValueDecoder]) -> ReadRows:
    def read(values: Sequence[bytes | None], headers: Sequence[Headers], keys: Any) -> list[Any]:
        columns = _decoded(decoder, values, headers)
        source = [columns[f"source_{name}"] for name in ("topic", "partition", "offset")]
        ids = [
            f"{topic}/{partition}/{offset}" if id_ is None else id_
            for id_, topic, partition, offset in zip(
                _plain(columns["recommendation_id"]), *map(_plain, source), strict=True
            )
        ]
        names = ("model_name", "model_version", "experiment", "variant", "propensity", "mode")
        said = [_plain(columns[name]) for name in names]
        return list(map(SaidRecommendation, ids, _lists(columns["items"], "item_id"), *said))

    return read


def impressions(decoder: Callable[[], ValueDecoder]) -> ReadRows:
    def read(values: Sequence[bytes | None], headers: Sequence[Headers], keys: Any) -> list[Any]:
        columns = _decoded(decoder, values, headers)
        ids, items = _plain(columns["recommendation_id"]), _lists(columns["items"])
        return list(map(SaidImpression, ids, items))

    return read


def ranker_inputs(decoder: Callable[[], ValueDecoder]) -> ReadRows:
    def read(values: Sequence[bytes | None], headers: Sequence[Headers], keys: Any) -> list[Any]:
        columns = _decoded(decoder, values, headers)
        inputs = columns["inputs"]
        assert isinstance(inputs, Bytes)
        names = ("recommendation_id", "weight", "input_names")
        return list(
            map(
                SaidRankerInputs,
                *(_plain(columns[name]) for name in names),
                _lists(columns["item_ids"]),
                [np.frombuffer(raw or b"", "<f4").astype(np.float32) for raw in spans_of(inputs)],
            )
        )

    return read


def outcomes(decoder: Callable[[], ValueDecoder]) -> ReadRows:
    def read(values: Sequence[bytes | None], headers: Sequence[Headers], keys: Any) -> list[Any]:
        columns = _decoded(decoder, values, headers)
        names = ("kind", "item_id", "value", "weight", "recommendation_id")
        return list(map(SaidOutcome, *(_plain(columns[name]) for name in names)))

    return read


def clicks(decoder: Callable[[], ValueDecoder], schema: str) -> ReadRows:
    kind = next(f.type.value for f in parse(schema).fields if f.name == "event_type")
    kinds = [_CLICK_KINDS.get(symbol, symbol) for symbol in kind.symbols]

    def read(values: Sequence[bytes | None], headers: Sequence[Headers], keys: Any) -> list[Any]:
        columns = _decoded(decoder, values, headers)
        items, events = _plain(columns["item_id"]), _plain(columns["event_type"])
        return [
            SaidOutcome(kinds[event], item, None, None, None)
            for event, item in zip(events, items, strict=True)
        ]

    return read


def _decoded(
    decoder: Callable[[], ValueDecoder],
    values: Sequence[bytes | None],
    headers: Sequence[Headers],
) -> Columns:
    decoded = decoder().decode(list(values), lambda row: headers[row])
    if decoded.failures:  # it was read when it came, so what says how has gone
        raise RuntimeError(
            "a record that is held expected to be readable as it was, got "
            f"{decoded.failures[0].message}"
        )
    return decoded.columns


def _plain(column: Column) -> list[Any]:
    """Texts and numbers as Python has them."""
    if isinstance(column, Bytes):
        return [None if each is None else each.decode() for each in spans_of(column)]
    assert isinstance(column, Numbers)
    found: list[Any] = column.values.tolist()
    if column.valid is None:
        return found
    return [v if valid else None for v, valid in zip(found, column.valid.tolist(), strict=True)]


def _lists(column: Column, field: str = "") -> list[list[Any]]:
    assert isinstance(column, Lists)
    found, ends = _plain(column.items[field]), column.bounds.tolist()
    return [found[start:end] for start, end in pairwise(ends)]


def _is_avro(value: bytes) -> bool:
    return value[:1] == b"\0" and len(value) >= _WIRE_BYTES


def _text(key: bytes | None) -> str | None:
    try:
        return None if key is None else key.decode()
    except UnicodeDecodeError:
        return None


def _score(answer: Any, path: str | None) -> float | None:
    """The number at a path of an answer; without one, the answer itself, or its field `score` or
    `probability`."""
    found = answer
    if path is not None:
        for part in path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
    elif isinstance(answer, dict):
        found = next((answer[name] for name in _SCORES if name in answer), None)
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return float(found) if is_number else None


__all__ = [
    "avro_answers",
    "clicks",
    "impressions",
    "inputs_of",
    "json_answers",
    "not_read",
    "outcomes",
    "ranker_inputs",
    "recommendations",
]
