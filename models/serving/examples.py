"""Values made to fit a JSON Schema, to try a model with."""

from collections.abc import Iterator, Mapping
from typing import Any

from streamrec.models.serving.contract import JsonSchema
from streamrec.models.serving.json_checks import JsonChecker

_DEPTH_MAX = 12


def examples_of(schema: JsonSchema | None) -> list[Any]:
    """Up to some five values that fit: the schema's own `examples` first, then made ones with all
    fields, and with the required ones only. None at all where none of what was made fits.

    >>> examples_of({"properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]})
    [{'n': 3}]
    """
    if schema is None:
        return [{}]
    checker = JsonChecker(schema)
    found: list[Any] = []
    for value in (*_own(schema), *(_made(schema, schema, sparse, 0) for sparse in (False, True))):
        if checker.is_valid(value) and value not in found:
            found.append(value)
    return found[:5]


def broken_of(example: Any, schema: JsonSchema | None) -> Iterator[tuple[str, Any]]:
    """An example with one field at a time that the schema refuses, and the field's name."""
    if schema is None or not isinstance(example, dict):
        return
    checker = JsonChecker(schema)
    for name in example:
        for wrong in ({"not": ["expected"]}, "not expected", None):
            broken = {**example, name: wrong}
            if not checker.is_valid(broken):
                yield name, broken
                break


def _own(schema: JsonSchema) -> list[Any]:
    own = schema.get("examples", [])
    return list(own) if isinstance(own, list) else []


def _made(schema: Any, root: JsonSchema, sparse: bool, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > _DEPTH_MAX:
        return None
    for word in ("const", "default"):
        if word in schema:
            return schema[word]
    for word in ("examples", "enum"):
        if schema.get(word):
            return schema[word][0]
    if "$ref" in schema:
        found: Any = root
        for part in str(schema["$ref"]).removeprefix("#").split("/")[1:]:
            found = found.get(part) if isinstance(found, Mapping) else None
        return _made(found, root, sparse, depth + 1)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return _made({**schema[word][0]}, root, sparse, depth + 1)
    if "allOf" in schema:
        merged: dict[str, Any] = {}
        for part in schema["allOf"]:
            merged |= part
        return _made(merged, root, sparse, depth + 1)
    return _of_type(schema, root, sparse, depth)


def _of_type(schema: Mapping[str, Any], root: JsonSchema, sparse: bool, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else None)
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        names = schema.get("required", []) if sparse else [*properties, *schema.get("required", [])]
        return {
            name: _made(properties.get(name, True), root, sparse, depth + 1)
            for name in dict.fromkeys(names)
        }
    if kind == "array":
        count = max(schema.get("minItems", 0), 0 if sparse else 1)
        return [_made(schema.get("items", True), root, sparse, depth + 1)] * count
    if kind in ("number", "integer"):
        return _number(schema, kind)
    if kind == "string":
        return "a" * max(1, schema.get("minLength", 1))
    return {"boolean": True}.get(str(kind))


def _number(schema: Mapping[str, Any], kind: str) -> float:
    step = 1 if kind == "integer" else 0.5
    if "minimum" in schema:
        low: float = schema["minimum"]
    elif "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + step
    else:
        low = min(
            step, schema.get("maximum", step), schema.get("exclusiveMaximum", step + 1) - step
        )
    return int(-(-low // 1)) if kind == "integer" else float(low)


__all__ = ["broken_of", "examples_of"]
