"""Avro schemas made from JSON Schema where nothing is lost, and values as they come from Avro.

| JSON Schema | Avro |
|---|---|
| an object with `properties` | a record of these fields; others are not carried |
| `number`, `integer`, `boolean`, `string` | `double`, `long`, `boolean`, `string` |
| strings of a closed set (`enum`, `const`) | `enum`; `string` where Avro's names do not do |
| `array` of these | `array` |
| a null among the types, or a field that is not required | a union with null, null by default |

An integer beyond 64 bits has no place in a `long`, nor one beyond 2^53 in a `double`; such a value
is an error when it is written. A field that is not required and null in Avro is left out before it
is checked (`value_from_avro`): whoever may be left out and be null cannot tell the two apart.

No schema is made where a field has no type or several, where a name is none of Avro's, for maps
(objects without `properties`), recursion, or what columns cannot hold, such as a record that may be
null.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from streamrec.models.serving.contract import JsonSchema
from streamrec.models.serving.misfit import path_of, shown
from streamrec.schemas.layout import Layout
from streamrec.schemas.parsing import InvalidSchemaError, UnsupportedSchemaError, parse

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ATOMS = {"number": "double", "integer": "long", "boolean": "boolean", "string": "string"}
_JOINS = ("oneOf", "anyOf")
# Which would say more than the table above has.
_MORE = ("allOf", "not", "if", "dependentSchemas", "patternProperties", "prefixItems")


class NoAvroError(Exception):
    """A JSON Schema that Avro cannot say; the message says where and why."""


def avro_schema_of(json_schema: JsonSchema | None, name: str) -> str | None:
    """The Avro schema of a JSON Schema, as text; None where none can be made without loss.

    `name` is the record's; what Avro does not allow in it becomes `_`.
    """
    try:
        return made_avro_schema(json_schema, name)
    except NoAvroError:
        return None


def why_no_avro(json_schema: JsonSchema | None, name: str) -> str | None:
    """Why `avro_schema_of` is None; None: there is a schema."""
    try:
        made_avro_schema(json_schema, name)
    except NoAvroError as error:
        return str(error)
    return None


def made_avro_schema(json_schema: JsonSchema | None, name: str) -> str:
    """Raises NoAvroError."""
    if json_schema is None:
        raise NoAvroError("expected a JSON Schema, got none")
    safe = re.sub(r"[^A-Za-z0-9_]", "_", name)
    record_name = safe if _NAME.fullmatch(safe) else f"_{safe}"
    maker = _Maker(json_schema, record_name)
    made, nullable = maker.typed(json_schema, [])
    if nullable or not isinstance(made, dict) or made["type"] != "record":
        raise NoAvroError("$ expected an object with properties")
    text = json.dumps(made)
    try:
        Layout(parse(text), wide=True)
    except (UnsupportedSchemaError, InvalidSchemaError) as error:
        raise NoAvroError(str(error)) from error
    return text


def enum_symbols(json_schema: JsonSchema) -> list[str] | None:
    """The symbols of a field's Avro enum, in the order of its places; None: it is no enum."""
    try:
        made, _ = _Maker(json_schema, "field").typed(json_schema, [])
    except NoAvroError:
        return None
    is_enum = isinstance(made, dict) and made["type"] == "enum"
    return list(made["symbols"]) if is_enum else None


class _Maker:
    def __init__(self, root: JsonSchema, record_name: str) -> None:
        self._root = root
        self._record_name = record_name
        self._opened: list[str] = []  # references that are being followed

    def typed(self, schema: Any, path: list[str | int]) -> tuple[Any, bool]:
        """The Avro type, and whether it may be null beside it."""
        if not isinstance(schema, Mapping):
            raise _no(path, "one type", schema)
        if "$ref" in schema:
            return self._referred(schema["$ref"], path)
        for word in _MORE:
            if word in schema:
                raise _no(path, f"no {word}", schema[word])
        for word in _JOINS:
            if word in schema:
                return self._joined(schema, word, path)
        if "const" in schema:
            return self._enum([schema["const"]], path)
        if "enum" in schema:
            return self._enum(schema["enum"], path)
        types = schema.get("type")
        types = [types] if isinstance(types, str) else list(types or [])
        others = [each for each in types if each != "null"]
        if len(others) != 1:
            raise _no(path, "one type", types or "none")
        return self._of_type(others[0], schema, path), len(others) != len(types)

    def _of_type(self, kind: str, schema: Mapping[str, Any], path: list[str | int]) -> Any:
        if kind in _ATOMS:
            return _ATOMS[kind]
        if kind == "object":
            return self._record(schema, path)
        if kind != "array" or "items" not in schema:
            raise _no(path, "items of a list", "none")
        inner, nullable = self.typed(schema["items"], [*path, "items"])
        return {"type": "array", "items": ["null", inner] if nullable else inner}

    def _record(self, schema: Mapping[str, Any], path: list[str | int]) -> Any:
        properties = schema.get("properties")
        if not properties:
            raise _no(path, "an object with properties", "one without")
        if isinstance(schema.get("additionalProperties"), Mapping):
            raise _no(path, "no additionalProperties", schema["additionalProperties"])
        required = set(schema.get("required", ()))
        if stray := sorted(required - set(properties)):
            raise _no([*path, stray[0]], "a type", "none")
        fields = []
        for name, inner in properties.items():
            here: list[str | int] = [*path, name]
            if not _NAME.fullmatch(name):
                raise _no(here, "a name of letters, digits and _", name)
            made, nullable = self.typed(inner, here)
            if nullable or name not in required:
                fields.append({"name": name, "type": ["null", made], "default": None})
            else:
                fields.append({"name": name, "type": made})
        return {"type": "record", "name": self._named(path), "fields": fields}

    def _enum(self, values: list[Any], path: list[str | int]) -> tuple[Any, bool]:
        texts = [each for each in values if each is not None]
        if not texts or not all(isinstance(each, str) for each in texts):
            raise _no(path, "a closed set of text", values)
        nullable = len(texts) < len(values)
        if len(set(texts)) < len(texts) or not all(_NAME.fullmatch(each) for each in texts):
            return "string", nullable
        return {"type": "enum", "name": self._named(path), "symbols": texts}, nullable

    def _joined(
        self, schema: Mapping[str, Any], word: str, path: list[str | int]
    ) -> tuple[Any, bool]:
        parts = [each for each in schema[word] if each != {"type": "null"}]
        if len(parts) != 1 or "type" in schema or "properties" in schema:
            raise _no(path, "one type", schema[word])
        made, nullable = self.typed(parts[0], path)
        return made, nullable or len(parts) < len(schema[word])

    def _referred(self, reference: Any, path: list[str | int]) -> tuple[Any, bool]:
        if reference in self._opened:
            raise _no(path, "no schema within itself", reference)
        found: Any = self._root
        for part in str(reference).removeprefix("#").split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")
            found = found.get(part) if isinstance(found, Mapping) else None
        self._opened.append(reference)
        made = self.typed(found, path)
        self._opened.pop()
        return made

    def _named(self, path: list[str | int]) -> str:
        """A name of its own for each named type."""
        return "_".join([self._record_name, *map(str, path)])


def _no(path: list[str | int], expected: str, got: Any) -> NoAvroError:
    return NoAvroError(f"{path_of(path)} expected {expected}, got {shown(got)}")


def value_from_avro(json_schema: JsonSchema) -> Callable[[Any], Any]:
    """What turns a decoded record into the value that the schema checks: fields that are null and
    not required are left out, in nested records and lists too.

    >>> leave_out = value_from_avro({"type": "object", "properties": {"a": {}, "b": {}}})
    >>> leave_out({"a": None, "b": 1})
    {'b': 1}
    """
    return _leaving_out(json_schema, json_schema, {}) or _as_it_is


_LeaveOut = Callable[[Any], Any]


def _leaving_out(
    schema: Any, root: JsonSchema, known: dict[int, _LeaveOut | None]
) -> _LeaveOut | None:
    """None: there is nothing to leave out. `known` has what was made of schemas, by their id: one
    that is within itself is found there, and not followed again."""
    schema = _followed(schema, root)
    if not isinstance(schema, Mapping):
        return None
    if id(schema) not in known:
        made: list[_LeaveOut] = []
        known[id(schema)] = lambda value: made[0](value)
        found = known[id(schema)] = _made_of(schema, root, known)
        made.append(found or _as_it_is)
    return known[id(schema)]


def _as_it_is(value: Any) -> Any:
    return value


def _made_of(
    schema: Mapping[str, Any], root: JsonSchema, known: dict[int, _LeaveOut | None]
) -> _LeaveOut | None:
    if "items" in schema:
        of_item = _leaving_out(schema["items"], root, known)
        if of_item is None:
            return None
        # Avro that was written with quite another schema may have anything there.
        return lambda value: [of_item(each) for each in value] if type(value) is list else value
    properties = schema.get("properties") or {}
    required = set(schema.get("required", ()))
    optional = frozenset(each for each in properties if each not in required)
    inside = {
        name: found
        for name, inner in properties.items()
        if (found := _leaving_out(inner, root, known)) is not None
    }
    if not optional and not inside:
        return None

    def leave_out(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        made = {n: v for n, v in value.items() if v is not None or n not in optional}
        for name, of_field in inside.items():
            if name in made:
                made[name] = of_field(made[name])
        return made

    return leave_out


def _followed(schema: Any, root: JsonSchema) -> Any:
    """What a reference, or the one type beside null, stands for."""
    for _ in range(32):
        if not isinstance(schema, Mapping):
            return schema
        if "$ref" in schema:
            found: Any = root
            for part in str(schema["$ref"]).removeprefix("#").split("/")[1:]:
                found = found.get(part) if isinstance(found, Mapping) else None
            schema = found
            continue
        parts = [e for w in _JOINS for e in schema.get(w, ()) if e != {"type": "null"}]
        if len(parts) != 1:
            return schema
        schema = parts[0]
    return None


__all__ = ["NoAvroError", "avro_schema_of", "enum_symbols", "value_from_avro", "why_no_avro"]
