"""An example of a model's inputs, out of its schema, with which it is called before its first.

A model whose schema has none is only loaded: what it puts off until its first call counts as time
and memory of that call.
"""

from collections.abc import Mapping
from typing import Any

from streamrec.models.serving.contract import Input, JsonSchema


def examples_in(schema: JsonSchema | None) -> list[Input]:
    """One example or none: the schema's own, its default, or one made of those of its fields.

    >>> examples_in({"examples": [{"a": 1}, {"a": 2}]})
    [{'a': 1}]
    >>> examples_in({"properties": {"a": {"default": 3}, "b": {}}, "required": ["a"]})
    [{'a': 3}]
    >>> examples_in({"properties": {"a": {"type": "number"}}, "required": ["a"]})
    []
    """
    if not isinstance(schema, Mapping):
        return []
    examples = schema.get("examples")
    if isinstance(examples, list) and examples:
        return [examples[0]]
    for name in ("default", "const"):
        if name in schema:
            return [schema[name]]
    fields = schema.get("properties")
    if not isinstance(fields, Mapping) or not fields:
        return []
    found: dict[str, Any] = {}
    for name, field in fields.items():
        for value in examples_in(field):
            found[name] = value
    required = schema.get("required", ())
    return [found] if found and all(name in found for name in required) else []


__all__ = ["examples_in"]
