from typing import Any

import pytest

from streamrec.dataflows.serving.schema_changes import Change, first_change

OBJECT: dict[str, Any] = {
    "type": "object",
    "properties": {"title": {"type": "string", "title": "A title"}, "n": {"type": "integer"}},
    "required": ["n"],
}


def with_field(name: str, schema: Any) -> dict[str, Any]:
    return {**OBJECT, "properties": {**OBJECT["properties"], name: schema}}


@pytest.mark.parametrize(
    "same",
    [
        OBJECT,
        {**OBJECT, "description": "new", "$comment": "c"},
        with_field("title", {"type": "string", "title": "Another", "examples": ["a"]}),
        dict(reversed(OBJECT.items())),
    ],
)
def test_what_admits_the_same_is_no_change(same: dict[str, Any]) -> None:
    assert first_change(OBJECT, same) is None


@pytest.mark.parametrize(
    ("after", "change"),
    [
        (with_field("n", {"type": "number"}), ("properties.n.type", '"integer"', '"number"')),
        (with_field("title", True), ("properties.title", "OBJECT", "true")),
        (with_field("x", {}), ("properties.x", "nothing", "{}")),
        ({**OBJECT, "required": ["n", "title"]}, ("required", '["n"]', '["n","title"]')),
        ({**OBJECT, "required": ["title"]}, ("required[0]", '"n"', '"title"')),
        ({**OBJECT, "default": {"title": "a"}}, ("default", "nothing", '{"title":"a"}')),
        (None, ("", "OBJECT", "null")),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else "",
)
def test_the_first_place_that_differs_is_named(after: Any, change: tuple[str, str, str]) -> None:
    found = first_change(OBJECT, after)
    assert found is not None
    assert found.path == change[0] and found.after == change[2]
    assert found.before.startswith("{") if change[1] == "OBJECT" else found.before == change[1]


def test_a_field_called_title_is_no_description() -> None:
    without = {**OBJECT, "properties": {"n": {"type": "integer"}}}
    assert first_change(OBJECT, without) == Change(
        "properties.title", '{"type":"string","title":"A title"}', "nothing"
    )


def test_values_are_compared_as_json_has_them() -> None:
    assert first_change({"const": 1}, {"const": True}) == Change("const", "1", "true")
    assert first_change({"enum": [{"title": "a"}]}, {"enum": [{"title": "b"}]}) is not None
