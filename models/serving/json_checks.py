"""Values checked against JSON Schema, compiled by `jsonschema-rs`; nothing is fetched.

Where it differs from the Python library `jsonschema` (`tests/models/serving/test_json_checks.py`
compares the two): patterns are those of Rust's regular expressions, and a number with a zero
fraction is an integer in all drafts but 4 in both.
"""

import json
from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from streamrec.models.serving.contract import JsonSchema, Raw
from streamrec.models.serving.misfit import ABSENT, Misfit, path_of, shown, walk

_A_TYPE = {
    "array": "a list",
    "boolean": "a boolean",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}


class BadSchemaError(ValueError):
    """What was given as a schema is none; the message says what is wrong."""


class JsonChecker:
    """Checks against one JSON Schema. What it takes is handed on as it is."""

    def __init__(self, schema: Any) -> None:
        """Raises BadSchemaError where it is no JSON Schema, or refers to another document."""
        own = _copied(schema)
        self.json_schema: JsonSchema = own
        _refuse_remote(own, [])
        try:
            # First, since it refuses a $schema that it does not know, which the other would fetch.
            compiled = jsonschema_rs.validator_for(own, offline=True)
            jsonschema_rs.meta.validate(own)
        except jsonschema_rs.ValidationError as error:
            misfit = _told(error, own)
            raise BadSchemaError(f"expected a JSON Schema: {misfit}") from None
        except Exception as error:  # noqa: BLE001  # a reference, a pattern, a draft: all are its own
            said = " ".join(str(error).split())
            raise BadSchemaError(f"expected a JSON Schema that can be compiled: {said}") from None
        self.is_valid = compiled.is_valid
        self._errors = compiled.iter_errors

    def check(self, value: Any) -> Any:
        """The value itself, or a Misfit."""
        if type(value) is not Raw:
            try:
                if self.is_valid(value):
                    return value
            except (ValueError, TypeError) as error:  # more levels than it walks, no JSON
                return Misfit("$", "what JSON can say", f"{shown(value)} ({error})")
            for found in self._errors(value):
                return _told(found, value)
        return Misfit("$", "JSON", "bytes")


def _copied(schema: Any) -> dict[str, Any]:
    """The schema as JSON, by itself: what its owner changes later changes nothing here."""
    if isinstance(schema, bool):
        return {} if schema else {"not": {}}
    if not isinstance(schema, Mapping):
        raise BadSchemaError(f"expected a JSON Schema, got {shown(schema)}")
    try:
        made: dict[str, Any] = json.loads(json.dumps(schema, allow_nan=False, default=_mapping))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadSchemaError(f"expected a JSON Schema, got what is no JSON: {error}") from None
    return made


def _mapping(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{shown(value)} of type {type(value).__name__}")


def _refuse_remote(schema: Any, path: list[str | int]) -> None:
    if isinstance(schema, dict):
        for name, inner in schema.items():
            is_reference = name in ("$ref", "$dynamicRef", "$recursiveRef")
            if is_reference and isinstance(inner, str) and not inner.startswith("#"):
                where = path_of([*path, name])
                raise BadSchemaError(
                    f"{where} expected a reference within the document (#/...), got {inner!r}"
                )
            if name not in ("enum", "const", "default", "examples"):
                _refuse_remote(inner, [*path, name])
    elif isinstance(schema, list):
        for place, inner in enumerate(schema):
            _refuse_remote(inner, [*path, place])


def _told(error: Any, value: Any) -> Misfit:
    """An error of jsonschema-rs in our words."""
    path = list(error.instance_path)
    _, here = walk(value, path)
    kind = error.kind
    name, inner = type(kind).__name__.rpartition("_")[2], kind
    if name == "Required":
        return Misfit(path_of([*path, inner.property]), "a value", ABSENT)
    if name in ("AdditionalProperties", "UnevaluatedProperties"):
        extra = inner.unexpected[0]
        return Misfit(path_of([*path, extra]), "no such field", shown(here.get(extra)))
    if name in ("AnyOf", "OneOfNotValid"):
        return _of_branches(error, here)
    return Misfit(path_of(path), _expected(name, inner, error), shown(here))


def _of_branches(error: Any, here: Any) -> Misfit:
    """Of several schemas none took the value: the types that would do, or what is wrong by the one
    that takes a value of its type."""
    path = list(error.instance_path)
    branches = [list(branch) for branch in error.kind.context]
    of_type: list[str] = []
    deeper = None
    for branch in branches:
        first = branch[0] if branch else None
        if first is None:
            continue
        first_path = list(first.instance_path)
        relative = first_path[len(path) :] if first_path[: len(path)] == path else first_path
        if type(first.kind).__name__.endswith("Type") and not relative:
            of_type += [t for t in _types(first.kind) if t not in of_type]
        elif deeper is None:
            deeper = _told(first, _under(path, here) if first_path[: len(path)] == path else here)
            if first_path[: len(path)] != path:
                deeper = deeper._replace(path=path_of(path) + deeper.path[1:])
    if deeper is not None:
        return deeper
    of_type.sort(key=lambda each: each == "null")
    expected = " or ".join(_A_TYPE.get(t, t) for t in of_type) or "one of several schemas"
    return Misfit(path_of(path), expected, shown(here))


def _under(path: list[str | int], value: Any) -> Any:
    """A value with `value` at the path, and nothing else."""
    for part in reversed(path):
        value = [None] * part + [value] if isinstance(part, int) else {part: value}
    return value


def _types(kind: Any) -> list[str]:
    types = kind.types
    return [types] if isinstance(types, str) else list(types)


_LIMITS = {
    "Minimum": "at least",
    "Maximum": "at most",
    "ExclusiveMinimum": "more than",
    "ExclusiveMaximum": "less than",
}
_COUNTS = {
    "MinLength": ("at least", "characters"),
    "MaxLength": ("at most", "characters"),
    "MinItems": ("at least", "items"),
    "MaxItems": ("at most", "items"),
    "MinProperties": ("at least", "fields"),
    "MaxProperties": ("at most", "fields"),
}


def _expected(name: str, kind: Any, error: Any) -> str:
    if name == "Type":
        types = sorted(_types(kind), key=lambda each: each == "null")
        return " or ".join(_A_TYPE.get(each, each) for each in types)
    if name in _LIMITS:
        return f"{_LIMITS[name]} {kind.limit}"
    if name in _COUNTS:
        which, unit = _COUNTS[name]
        return f"{which} {kind.limit} {unit}"
    if name == "Enum":
        return "one of " + shown(kind.options)
    if name == "Constant":
        return shown(kind.expected_value)
    if name == "Pattern":
        return f"text that matches {kind.pattern!r}"
    if name == "MultipleOf":
        return f"a multiple of {kind.multiple_of}"
    if name == "UniqueItems":
        return "no item twice"
    if name == "FalseSchema":
        return "no value"
    said = " ".join(str(error.message).split())
    return f"what the schema says ({said})"
