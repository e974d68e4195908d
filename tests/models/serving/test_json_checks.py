"""JSON Schema as we check it, and against the Python library `jsonschema` on generated data."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.models.serving.contract import Raw
from streamrec.models.serving.json_checks import BadSchemaError, JsonChecker

ORDER = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "minLength": 2, "pattern": "^o"},
        "price": {"type": ["number", "null"], "minimum": 0},
        "kind": {"enum": ["new", "used"]},
        "items": {
            "type": "array",
            "maxItems": 2,
            "items": {"$ref": "#/$defs/item"},
        },
        "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "shape": {"oneOf": [{"$ref": "#/$defs/item"}, {"type": "string"}]},
    },
    "required": ["id"],
    "additionalProperties": False,
    "$defs": {
        "item": {
            "type": "object",
            "properties": {"price": {"type": "number", "exclusiveMinimum": 0}},
            "required": ["price"],
        }
    },
}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "$ expected an object, got []"),
        ({}, "$.id expected a value, got nothing"),
        ({"id": 5}, "$.id expected a string, got 5"),
        ({"id": "o"}, "$.id expected at least 2 characters, got 'o'"),
        ({"id": "xx"}, "$.id expected text that matches '^o', got 'xx'"),
        ({"id": "ok", "price": -1}, "$.price expected at least 0, got -1"),
        ({"id": "ok", "price": "1"}, "$.price expected a number or null, got '1'"),
        ({"id": "ok", "kind": "old"}, "$.kind expected one of ['new', 'used'], got 'old'"),
        ({"id": "ok", "more": 1}, "$.more expected no such field, got 1"),
        ({"id": "ok", "either": "x"}, "$.either expected an integer or null, got 'x'"),
        ({"id": "ok", "shape": {"price": 0}}, "$.shape.price expected more than 0, got 0"),
        ({"id": "ok", "shape": {}}, "$.shape.price expected a value, got nothing"),
        (
            {"id": "ok", "items": [{"price": 1}, {"price": "a"}]},
            "$.items[1].price expected a number, got 'a'",
        ),
        ({"id": "ok", "items": [{"price": 1}] * 3}, "$.items expected at most 2 items, got"),
        (Raw(b"{}", ""), "$ expected JSON, got bytes"),
    ],
)
def test_an_error_names_the_field_what_was_expected_and_what_came(value: Any, said: str) -> None:
    assert str(JsonChecker(ORDER).check(value)).startswith(said)


def test_what_fits_is_handed_on_as_it_is() -> None:
    value = {"id": "ok", "items": [{"price": 1}], "either": None, "shape": "round"}
    assert JsonChecker(ORDER).check(value) is value


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "strange"}, "expected a JSON Schema: $.type"),
        ({"$ref": "https://example.org/s.json"}, "$.$ref expected a reference within"),
        ({"items": {"$ref": "other.json#/a"}}, "$.items.$ref expected a reference within"),
        ({"$ref": "#/$defs/none"}, "Pointer '/$defs/none' does not exist"),
        ({"pattern": "("}, "expected a JSON Schema"),
        ({"a": float}, "expected a JSON Schema, got what is no JSON"),
        (3, "expected a JSON Schema, got 3"),
    ],
)
def test_what_is_no_schema_is_refused_at_once(schema: Any, said: str) -> None:
    with pytest.raises(BadSchemaError) as told:
        JsonChecker(schema)
    assert said in str(told.value)


def test_a_schema_that_is_changed_later_checks_as_before() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
    checker = JsonChecker(schema)
    schema["properties"]["a"]["type"] = "number"
    assert checker.check({"a": "b"}) == {"a": "b"}
    assert checker.json_schema["properties"]["a"] == {"type": "string"}


def test_numbers_are_compared_as_json_has_them() -> None:
    integer = JsonChecker({"type": "integer"})
    for good in (5, 5.0, 2**63, 2**70, -(2**70)):
        assert integer.is_valid(good), good
    for bad in (5.5, True, "5", None):
        assert not integer.is_valid(bad), bad
    assert not JsonChecker({"maximum": 2**70}).is_valid(2**70 + 1)


_texts = st.sampled_from(["", "a", "bc", "new", "old", "Ä", "\U0001f600"])
_atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([2**53 + 1, 2**63, 2**64, 2**80, -(2**64)]),
    st.floats(-5, 5).map(lambda x: round(x, 1)),
    st.sampled_from([1.0, -0.0, 1e300]),
    _texts,
)
values = st.recursive(
    _atoms,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["a", "b", "c"])
    return st.builds(
        lambda properties, required, extra: {
            "type": "object",
            "properties": properties,
            "required": required,
            **extra,
        },
        st.dictionaries(names, inner, min_size=1, max_size=3),
        st.lists(names, unique=True, max_size=2),
        st.sampled_from([{}, {"additionalProperties": False}, {"additionalProperties": {}}]),
    )


_schemas_of_atoms = st.one_of(
    st.sampled_from(["null", "boolean", "integer", "number", "string"]).map(lambda t: {"type": t}),
    st.builds(
        lambda t, low, high: {"type": t, "minimum": low, "exclusiveMaximum": high},
        st.sampled_from(["integer", "number"]),
        st.integers(-3, 1) | st.floats(-3, 1).map(lambda x: round(x, 1)),
        st.integers(0, 4) | st.just(2**64),
    ),
    st.builds(
        lambda n, m: {"type": "string", "minLength": n, "maxLength": m}, *[st.integers(0, 3)] * 2
    ),
    st.lists(_atoms, min_size=1, max_size=3).map(lambda options: {"enum": options}),
    _atoms.map(lambda value: {"const": value}),
    st.just({"type": ["number", "null"]}),
)
_trees = st.recursive(
    _schemas_of_atoms,
    lambda inner: st.one_of(
        _objects(inner),
        st.builds(
            lambda s, n: {"type": "array", "items": s, "maxItems": n}, inner, st.integers(0, 3)
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda several: {"anyOf": several}),
        st.lists(inner, min_size=1, max_size=3).map(lambda several: {"oneOf": several}),
    ),
    max_leaves=6,
)
schemas = _trees | _trees.map(
    lambda tree: {
        "$defs": {"tree": tree},
        "type": ["array", "object"],
        "items": {"$ref": "#/$defs/tree"},
        "properties": {"a": {"$ref": "#/$defs/tree"}},
    }
)


@settings(max_examples=300, deadline=None)
@given(schemas, values)
def test_verdicts_are_those_of_the_python_library(schema: Any, value: Any) -> None:
    ours = JsonChecker(schema)
    theirs = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert ours.is_valid(value) == theirs
    if not theirs:
        assert str(ours.check(value)).startswith("$")  # and it can be told in words
