"""Avro schemas of JSON Schemas: what is written comes back the same, and fits as before."""

import io
import json
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.models.serving.avro import (
    avro_schema_of,
    enum_symbols,
    value_from_avro,
    why_no_avro,
)
from streamrec.models.serving.json_checks import JsonChecker

_NAMES = st.sampled_from(["a", "b", "c_1", "D"])
_LABELS = [["x", "y"], ["<=50K", ">50K"], ["x", "y", None], ["<=50K", None]]


def _atom(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(
        [
            {"type": kind},
            {"type": [kind, "null"]},
            {"anyOf": [{"type": kind}, {"type": "null"}]},
            {"anyOf": [{"type": "null"}, {"$ref": f"#/$defs/{kind}"}]},
            {"$ref": f"#/$defs/{kind}"},
        ]
    )


_atoms = st.sampled_from(["number", "integer", "boolean", "string"]).flatmap(_atom)
_enums = st.sampled_from([{"enum": labels} for labels in _LABELS] + [{"const": "only"}])
_DEFS = {kind: {"type": kind} for kind in ("number", "integer", "boolean", "string")}


def _record(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda fields, required: {
            "type": "object",
            "properties": fields,
            "required": [each for each in required if each in fields],
            "additionalProperties": False,
        },
        st.dictionaries(_NAMES, inner, min_size=1, max_size=4),
        st.lists(_NAMES, unique=True),
    )


_lists = (_atoms | _record(_atoms)).map(lambda items: {"type": "array", "items": items})
schemas = _record(st.one_of(_atoms, _enums, _lists, _record(_atoms | _enums))).map(
    lambda schema: {**schema, "$defs": _DEFS}
)

_VALUES = {
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "integer": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    "null": st.none(),
}


def _value_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        return _VALUES[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return st.one_of(*map(_value_of, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    if schema["type"] == "array":
        return st.lists(_value_of(schema["items"]), max_size=3)
    if schema["type"] != "object":
        kinds = schema["type"]
        return st.one_of(
            *(_VALUES[each] for each in ([kinds] if isinstance(kinds, str) else kinds))
        )
    required = {name: _value_of(schema["properties"][name]) for name in schema["required"]}
    optional = {
        # What may be left out and be null is the same in Avro, and comes back as left out.
        name: _value_of(inner).filter(lambda value: value is not None)
        for name, inner in schema["properties"].items()
        if name not in required
    }
    return st.fixed_dictionaries(required, optional=optional)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_what_is_written_in_avro_comes_back_the_same_and_fits(data: st.DataObject) -> None:
    schema = data.draw(schemas)
    text = avro_schema_of(schema, "made-here")
    if text is None:  # columns hold no record, and no list, that may be null
        assert "null" in str(why_no_avro(schema, "made-here"))
        return
    value = data.draw(_value_of(schema))
    assert JsonChecker(schema).is_valid(value)
    parsed = fastavro.parse_schema(json.loads(text))
    written = io.BytesIO()
    fastavro.schemaless_writer(written, parsed, value)
    written.seek(0)
    back = value_from_avro(schema)(fastavro.schemaless_reader(written, parsed, None))
    assert back == value
    assert JsonChecker(schema).is_valid(back)


def test_an_object_becomes_a_record() -> None:
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "number"},
            "kind": {"enum": ["new", "used"]},
            "label": {"enum": ["<=50K", ">50K"]},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["n", "kind", "label"],
    }
    text = avro_schema_of(schema, "my-model")
    assert text is not None
    assert json.loads(text) == {
        "type": "record",
        "name": "my_model",
        "fields": [
            {"name": "n", "type": "double"},
            {
                "name": "kind",
                "type": {"type": "enum", "name": "my_model_kind", "symbols": ["new", "used"]},
            },
            {"name": "label", "type": "string"},
            {
                "name": "tags",
                "type": ["null", {"type": "array", "items": "string"}],
                "default": None,
            },
        ],
    }
    assert enum_symbols(schema["properties"]["kind"]) == ["new", "used"]  # type: ignore[index]
    assert enum_symbols(schema["properties"]["label"]) is None  # type: ignore[index]


def _with(field: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": field}, "required": ["a"], **more}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (None, "expected a JSON Schema, got none"),
        ({"type": "number"}, "$ expected an object with properties"),
        ({"type": "object"}, "$ expected an object with properties, got"),
        (_with({}), "$.a expected one type, got 'none'"),
        (_with({"type": ["number", "string"]}), "$.a expected one type"),
        (_with({"anyOf": [{"type": "number"}, {"type": "string"}]}), "$.a expected one type"),
        (_with({"type": "array"}), "$.a expected items of a list"),
        (_with({"enum": [1, 2]}), "$.a expected a closed set of text"),
        (_with({"type": "object"}), "$.a expected an object with properties"),
        (_with({"$ref": "#"}), "$.a.a expected no schema within itself"),
        (_with({"type": "number"}, additionalProperties={"type": "number"}), "$ expected no add"),
        (_with({"type": "number"}, allOf=[]), "$ expected no allOf"),
        (
            {"type": "object", "properties": {"two words": {"type": "number"}}},
            '$["two words"] expected a name of letters, digits and _',
        ),
        (
            {"type": "object", "properties": {"a": _with({"type": "number"})}},
            "field a expected a type that columns can hold",
        ),
    ],
)
def test_what_avro_cannot_say_is_told(schema: Any, said: str) -> None:
    assert avro_schema_of(schema, "m") is None
    assert str(why_no_avro(schema, "m")).startswith(said)


def test_nulls_are_left_out_only_where_the_field_may_be_missing() -> None:
    inner = {"type": "object", "properties": {"x": {"type": "number"}}}
    schema = {
        "type": "object",
        "properties": {
            "must": {"type": ["number", "null"]},
            "may": {"type": "number"},
            "list": {"type": "array", "items": inner},
            "inner": inner,
        },
        "required": ["must", "list", "inner"],
    }
    given_value = {"must": None, "may": None, "list": [{"x": None}, {"x": 1}], "inner": {"x": None}}
    assert value_from_avro(schema)(given_value) == {
        "must": None,
        "list": [{}, {"x": 1}],
        "inner": {},
    }
    assert given_value["inner"] == {"x": None}
