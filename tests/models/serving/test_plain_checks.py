"""Objects of the package `schema` that were compiled do as the originals, on generated data."""

from typing import Any

import pytest
import schema as package
from hypothesis import given, settings
from hypothesis import strategies as st
from schema import And, Const, Forbidden, Literal, Optional, Or, Regex, Schema, SchemaError, Use

from streamrec.models.serving.misfit import Misfit
from streamrec.models.serving.plain_checks import PROVEN, REFUSED, compiled
from streamrec.models.serving.schema_objects import SchemaObjectChecker, json_schema_of
from tests.models.serving.test_json_checks import values

_NAMES = st.sampled_from(["a", "b", "c"])
_literals = st.sampled_from(["a", "new", 1, 0, 1.0, True, False, None, 2.5])
_atoms = st.one_of(
    st.sampled_from([str, int, float, bool, list, dict, object, type(None)]),
    _literals,
    _literals.map(Literal),
)


def _keys() -> st.SearchStrategy[Any]:
    return st.one_of(
        _NAMES,
        _NAMES.map(Literal),
        _NAMES.map(Optional),
        st.builds(lambda name, value: Optional(name, default=value), _NAMES, _literals),
        st.sampled_from([str, object, Optional(str)]),
    )


nodes = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(_keys(), inner, max_size=3),
        st.lists(inner, min_size=1, max_size=3).map(lambda several: Or(*several)),
        st.lists(inner, min_size=1, max_size=2).map(lambda several: And(*several)),
        inner.map(Const),
        st.builds(
            lambda node, ignore: Schema(node, ignore_extra_keys=ignore), inner, st.booleans()
        ),
    ),
    max_leaves=8,
)


def _original(node: Any, value: Any) -> Any:
    try:
        return node.validate(value)
    except SchemaError:
        return REFUSED


def _same(first: Any, second: Any) -> bool:
    """Equal with the types: True is not 1."""
    return repr(first) == repr(second) or (
        isinstance(first, dict)
        and isinstance(second, dict)
        and first.keys() == second.keys()
        and all(_same(first[name], second[name]) for name in first)
    )


def test_the_package_that_is_installed_is_one_of_those_proven() -> None:
    assert package.__version__ in PROVEN


@settings(max_examples=600, deadline=None)
@given(nodes, st.booleans(), values)
def test_a_compiled_object_hands_on_what_the_original_does(
    node: Any, ignore: bool, value: Any
) -> None:
    whole = Schema(node, ignore_extra_keys=ignore)
    check = compiled(whole)
    if check is None:  # two keys that are one, the only thing generated that is not compiled
        return
    found, wanted = check(value), _original(whole, value)
    assert (found is REFUSED) == (wanted is REFUSED), (whole, value, found, wanted)
    assert found is REFUSED or _same(found, wanted), (whole, value, found, wanted)


def test_most_of_what_is_generated_is_compiled() -> None:
    whole = Schema({"a": float, Optional("b", default=1): [Or(int, None)], Optional(str): object})
    check = compiled(whole)
    assert check is not None
    assert check({"a": 1.5, "x": {}, "b": [1, None]}) == {"a": 1.5, "x": {}, "b": [1, None]}
    assert check({"a": 1.5}) == {"a": 1.5, "b": 1}
    assert check({"a": 1}) is REFUSED
    assert check({"b": [True], "a": 1.0}) is REFUSED


_KINDS: list[Any] = ["new", "used"]


class _Sub(Schema):
    pass


@pytest.mark.parametrize(
    "node",
    [
        Use(int),
        Regex("a"),
        lambda value: True,
        {Forbidden("a"): object, "b": int},
        {Or(*_KINDS): int},
        {Optional("a", default=list): [int]},
        Or(int, str, only_one=True),
        {"a": And(int, lambda n: n > 0)},
        (int,),
        Exception,
        _Sub({"a": int}),
    ],
)
def test_what_has_code_runs_as_it_is(node: Any) -> None:
    assert compiled(Schema(node)) is None


def test_code_is_run_and_what_it_returns_is_handed_on() -> None:
    checker = SchemaObjectChecker(Schema({"n": And(Use(int), lambda n: n > 0)}))
    assert not checker.is_compiled
    assert checker.check({"n": "5"}) == {"n": 5}
    assert str(checker.check({"n": "-5"})).startswith("$.n expected what its schema says (")


@pytest.mark.parametrize(
    ("node", "value", "said"),
    [
        ({"a": {"b": float}}, {"a": {"b": "x"}}, "$.a.b expected a float, got 'x'"),
        ({"a": int}, {}, "$.a expected a value, got nothing"),
        ({"a": int}, {"a": 1, "z": 2}, "$.z expected no such field, got 2"),
        ({"a": [{"p": int}]}, {"a": [{"p": 1}, {"p": "x"}]}, "$.a[1].p expected an integer"),
        ({"a": int}, [1], "$ expected an object, got [1]"),
    ],
)
def test_a_refusal_names_the_field_by_its_path(node: Any, value: Any, said: str) -> None:
    misfit = SchemaObjectChecker(Schema(node)).check(value)
    assert type(misfit) is Misfit
    assert str(misfit).startswith(said)


def test_an_object_is_told_as_json_schema_and_its_code_in_words() -> None:
    def positive(number: int) -> bool:
        return number > 0

    node = Schema(
        {
            "n": And(int, positive),
            Optional("kind", default="new"): Or(*_KINDS),
            Literal("x", description="where"): Or(float, None),
            "list": [str],
            "when": Use(str.upper),
        },
        name="Thing",
    )
    assert json_schema_of(node) == {
        "title": "Thing",
        "type": "object",
        "properties": {
            "n": {"type": "integer", "description": "checked by positive"},
            "kind": {"enum": ["new", "used"], "default": "new"},
            "x": {"anyOf": [{"type": "number"}, {"type": "null"}], "description": "where"},
            "list": {"type": "array", "items": {"type": "string"}},
            "when": {"description": "checked by Use"},
        },
        "required": ["n", "x", "list", "when"],
        "additionalProperties": False,
    }
