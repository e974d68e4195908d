"""`outputs_of`: values of a step become columns as they are, or are told."""

from pathlib import Path
from typing import Any

import pytest

from streamrec.dataflows.job.encoding import Records
from streamrec.dataflows.job.paper import PaperJob
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import Topic
from streamrec.dataflows.steps.held import Original, TimedRecord
from streamrec.dataflows.steps.outputs import outputs_of
from streamrec.schemas.json_codec import JsonDecoder

_SCHEMA = """{"type": "record", "name": "Said", "fields": [
  {"name": "user_id", "type": "string"}, {"name": "part", "type": "int"},
  {"name": "at", "type": "long"}, {"name": "of", "type": "string"},
  {"name": "flow", "type": "string"}, {"name": "kind", "type": "string"},
  {"name": "number", "type": "int"}, {"name": "price", "type": ["null", "double"], "default": null},
  {"name": "sure", "type": "boolean", "default": false},
  {"name": "items", "type": {"type": "array", "items": "string"}, "default": []}]}"""
INPUT = Topic("in", format="json", key_field="user_id")


def topic(tmp_path: Path, schema: str = _SCHEMA) -> Topic:
    path = tmp_path / "said.avsc"
    path.write_text(schema)
    answers = ("part", "at", "of", "flow", "kind", "number")
    return Topic("said", path, "user_id", answers=answers)


def record(offset: int) -> TimedRecord:
    original = Original(b"k", b"v", [], 5)
    return TimedRecord("in", 3, offset, f"u{offset}", 7, None, original, INPUT)


def written(row: Topic, *fields: dict[str, Any]) -> list[Records]:
    job = PaperJob("flow", {})
    outputs = [record(n).output(row, "k", n, user_id="u", **f) for n, f in enumerate(fields)]
    return list(outputs_of(job, row)(outputs))


def test_identities_and_defaults_are_filled_in(tmp_path: Path) -> None:
    row = topic(tmp_path)
    fields = {"price": 1.5, "sure": True, "items": ["a", "b"]}
    (records,) = written(row, fields, {}, {"price": 2})
    encoded = PaperJob("flow", {}).encoder(row)().encode(records.columns)
    decoder = JsonDecoder(lambda _: row.schema)
    place = {"user_id": "u", "part": 3, "of": "in", "flow": "flow", "kind": "k"}
    plain: dict[str, Any] = {"price": None, "sure": False, "items": []}
    assert [decoder.decode(value) for value in encoded.values] == [
        {**place, "at": 0, "number": 0, **fields},
        {**place, "at": 1, "number": 1, **plain},
        {**place, "at": 2, "number": 2, **plain, "price": 2.0},
    ]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"price": "7"}, "field 'price' expected double, got '7'"),
        ({"price": True}, "field 'price' expected double, got True"),
        ({"sure": 1}, "field 'sure' expected boolean, got 1"),
        ({"items": "ab"}, "field 'items' expected array, got 'ab'"),
        ({"items": [None]}, r"field 'items' expected array, got \[None\]"),
        ({"prise": 1.0}, r"expected fields of said.avsc, got 'prise'"),
    ],
)
def test_a_value_that_does_not_fit_is_told(
    tmp_path: Path, fields: dict[str, Any], told: str
) -> None:
    with pytest.raises(TypeError, match=told):
        written(topic(tmp_path), {}, fields)


def test_a_schema_that_is_not_plain_is_refused(tmp_path: Path) -> None:
    row = topic(
        tmp_path, _SCHEMA.replace('"boolean", "default": false', '{"type": "map", "values": "int"}')
    )
    with pytest.raises(StartError, match="field 'sure' expected strings, bytes, numbers"):
        outputs_of(PaperJob("flow", {}), row)
