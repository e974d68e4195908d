"""Avro schemas as trees: one `Type` per node, references replaced by what they name.

fastavro checks that the text is a legal schema; this module gives it a shape that compilers can
walk. Of logical types only units of time are kept: a column holds the underlying value.
"""

import json
from dataclasses import dataclass
from typing import Any

import fastavro
import fastavro.schema

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

# The fewest bytes a value of a kind takes on the wire.
MIN_BYTES = {"null": 0, "boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8}


class UnsupportedSchemaError(Exception):
    """Legal Avro that columns, or the kernels, do not cover; says which field and type."""


class InvalidSchemaError(Exception):
    """The text is not a legal Avro schema."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record. `default` is the JSON value, meaningful only with `has_default`."""

    name: str
    type: "Type"
    aliases: tuple[str, ...] = ()
    has_default: bool = False
    default: Any = None


@dataclass(frozen=True, slots=True)
class Type:
    """One node of a schema.

    `kind` is a primitive's name, `record`, `enum`, `fixed`, `array`, `map`, `union`, or `recursive`
    for a reference to a record that encloses it.
    """

    kind: str
    name: str = ""  # full name; named types only
    aliases: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()
    symbols: tuple[str, ...] = ()
    default_symbol: str | None = None
    size: int = 0  # bytes; fixed only
    logical: str = ""  # logical type of an int or a long, which says what it counts
    branches: tuple["Type", ...] = ()  # union's branches; the one item type of an array or map
    schema: Any = None  # JSON for fastavro, expanded, without logical types

    @property
    def null_branch(self) -> int:
        """Which branch of a nullable union is null, 0 or 1; -1: not a nullable union."""
        if self.kind != "union" or len(self.branches) != 2:
            return -1
        kinds = [branch.kind for branch in self.branches]
        return kinds.index("null") if kinds.count("null") == 1 else -1

    @property
    def value(self) -> "Type":
        """The type without its nullability."""
        null_branch = self.null_branch
        return self if null_branch < 0 else self.branches[1 - null_branch]


def min_bytes(node: Type) -> int:
    """The fewest bytes that a value of the type takes on the wire."""
    if node.kind == "record":
        return sum(min_bytes(field.type) for field in node.fields)
    if node.kind == "fixed":
        return node.size
    return MIN_BYTES.get(node.kind, 1)


def describe(node: Type) -> str:
    """Name a type as a message should: `nullable long`, `enum streamrec.EventType`."""
    if node.kind == "union":
        if node.null_branch >= 0:
            return f"nullable {describe(node.value)}"
        return "union of " + ", ".join(describe(branch) for branch in node.branches)
    if node.kind in ("array", "map"):
        return f"{node.kind} of {describe(node.branches[0])}"
    if node.logical:
        return f"{node.kind} ({node.logical})"
    return f"{node.kind} {node.name}".strip()


def parse(schema_json: str) -> Type:
    """Return the tree of a schema. Raises InvalidSchemaError."""
    try:
        schema = json.loads(schema_json)
        fastavro.parse_schema(schema)
    except (ValueError, TypeError, KeyError, fastavro.schema.SchemaParseException) as error:
        raise InvalidSchemaError(f"not an Avro schema: {error!r}") from error
    except fastavro.schema.UnknownType as error:
        raise InvalidSchemaError(f"schema names an unknown type {error.name!r}") from error
    return _Parser().node(schema, "")


class _Parser:
    def __init__(self) -> None:
        self._named: dict[str, Type | None] = {}  # None while the record is being read

    def node(self, schema: Any, namespace: str) -> Type:
        if isinstance(schema, str):
            return self._reference(schema, namespace)
        if isinstance(schema, list):
            branches = tuple(self.node(branch, namespace) for branch in schema)
            return Type("union", branches=branches, schema=[b.schema for b in branches])
        kind = schema["type"]
        if not isinstance(kind, str):  # {"type": {"type": ...}} nests for nothing
            return self.node(kind, namespace)
        if kind in ("record", "error", "enum", "fixed"):
            return self._named_type(schema, kind, namespace)
        if kind in ("array", "map"):
            key = "items" if kind == "array" else "values"
            item = self.node(schema[key], namespace)
            return Type(kind, branches=(item,), schema={"type": kind, key: item.schema})
        logical = schema.get("logicalType")
        if kind in ("int", "long") and isinstance(logical, str):
            return Type(kind, logical=logical, schema=kind)
        return self._reference(kind, namespace)

    def _reference(self, name: str, namespace: str) -> Type:
        if name in PRIMITIVES:
            return Type(name, schema=name)
        full_name = _full_name(name, namespace)
        if full_name not in self._named:
            full_name = name
        node = self._named[full_name]
        if node is None:
            return Type("recursive", name=full_name, schema=full_name)
        # A second definition under one name is illegal, so fastavro gets the name alone.
        return Type(
            node.kind,
            node.name,
            node.aliases,
            node.fields,
            node.symbols,
            node.default_symbol,
            node.size,
            branches=node.branches,
            schema=full_name,
        )

    def _named_type(self, schema: dict[str, Any], kind: str, namespace: str) -> Type:
        full_name = _full_name(schema["name"], schema.get("namespace", namespace))
        inner = full_name.rpartition(".")[0]
        aliases = tuple(schema.get("aliases", ()))
        json_type: dict[str, Any] = {"type": kind, "name": full_name, "aliases": list(aliases)}
        if kind == "fixed":
            json_type["size"] = schema["size"]
            node = Type(kind, full_name, aliases, size=schema["size"], schema=json_type)
        elif kind == "enum":
            symbols = tuple(schema["symbols"])
            json_type["symbols"] = list(symbols)
            default = schema.get("default")
            if default is not None:
                json_type["default"] = default
            node = Type(
                kind, full_name, aliases, symbols=symbols, default_symbol=default, schema=json_type
            )
        else:
            self._named[full_name] = None
            fields = tuple(self._field(field, inner) for field in schema["fields"])
            json_type["type"] = "record"
            json_type["fields"] = [_field_json(field) for field in fields]
            node = Type("record", full_name, aliases, fields, schema=json_type)
        self._named[full_name] = node
        return node

    def _field(self, field: dict[str, Any], namespace: str) -> Field:
        return Field(
            field["name"],
            self.node(field["type"], namespace),
            tuple(field.get("aliases", ())),
            "default" in field,
            field.get("default"),
        )


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _field_json(field: Field) -> dict[str, Any]:
    as_json: dict[str, Any] = {"name": field.name, "type": field.type.schema}
    if field.aliases:
        as_json["aliases"] = list(field.aliases)
    if field.has_default:
        as_json["default"] = field.default
    return as_json
