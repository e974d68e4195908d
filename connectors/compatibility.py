"""Avro compatibility: can data written under one schema be read under another?

The rules are those of the Avro specification's schema resolution; tests compare the verdicts with
Apache Avro's own checker.
"""

from collections.abc import Mapping
from typing import Any

Schema = Any  # parsed JSON: str, list or dict

LEVELS = (
    "BACKWARD",
    "BACKWARD_TRANSITIVE",
    "FORWARD",
    "FORWARD_TRANSITIVE",
    "FULL",
    "FULL_TRANSITIVE",
    "NONE",
)
_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
_NAMED = ("record", "error", "enum", "fixed")


def first_break(new: Schema, old: Schema, level: str) -> str | None:
    """Where and why the new schema breaks the level against the old one; None when it does not."""
    base = level.removesuffix("_TRANSITIVE")
    if base in ("BACKWARD", "FULL"):
        found = unreadable(reader=new, writer=old)
        if found is not None:
            return f"{found} (new schema cannot read old records)"
    if base in ("FORWARD", "FULL"):
        found = unreadable(reader=old, writer=new)
        if found is not None:
            return f"{found} (old schema cannot read new records)"
    return None


def unreadable(reader: Schema, writer: Schema) -> str | None:
    """Why data of the writer's schema cannot be resolved to the reader's; None when it can.

    >>> unreadable("long", "int")
    >>> unreadable("int", "long")
    "/: expected 'int', got 'long'"
    """
    return _Comparison(_names_in(reader), _names_in(writer)).compare(reader, writer, "", "", "/")


class _Comparison:
    def __init__(self, reader_names: Mapping[str, Schema], writer_names: Mapping[str, Schema]):
        self._reader_names = reader_names
        self._writer_names = writer_names
        self._compared: set[tuple[str, str]] = set()  # recursion ends at a pair seen before

    def compare(
        self, reader: Schema, writer: Schema, reader_space: str, writer_space: str, path: str
    ) -> str | None:
        reader = _resolved(reader, reader_space, self._reader_names)
        writer = _resolved(writer, writer_space, self._writer_names)
        if isinstance(writer, list):
            for branch in writer:
                found = self.compare(reader, branch, reader_space, writer_space, path)
                if found is not None:
                    return found
            return None
        if isinstance(reader, list):
            if any(
                self._attempt(branch, writer, reader_space, writer_space, path) for branch in reader
            ):
                return None
            branches = [_shown(branch) for branch in reader]
            return f"{path}: expected one of {branches}, got {_shown(writer)!r}"
        kind, written = _kind(reader), _kind(writer)
        if kind != written:
            if kind in _PROMOTIONS.get(written, ()):
                return None
            return f"{path}: expected {_shown(reader)!r}, got {_shown(writer)!r}"
        if kind in _NAMED:
            return self._compare_named(kind, reader, writer, reader_space, writer_space, path)
        if kind == "array":
            return self.compare(
                reader["items"], writer["items"], reader_space, writer_space, path + "items/"
            )
        if kind == "map":
            return self.compare(
                reader["values"], writer["values"], reader_space, writer_space, path + "values/"
            )
        return None

    def _attempt(
        self, branch: Schema, writer: Schema, reader_space: str, writer_space: str, path: str
    ) -> bool:
        # A failed attempt must leave no pair behind as if it had been found good.
        before = set(self._compared)
        if self.compare(branch, writer, reader_space, writer_space, path) is None:
            return True
        self._compared = before
        return False

    def _compare_named(
        self,
        kind: str,
        reader: dict[str, Any],
        writer: dict[str, Any],
        reader_space: str,
        writer_space: str,
        path: str,
    ) -> str | None:
        name, written = _full_name(reader, reader_space), _full_name(writer, writer_space)
        aliases = {_qualified(alias, _space(name)) for alias in reader.get("aliases", ())}
        # The specification compares names without their namespaces; aliases with them.
        if name.rpartition(".")[2] != written.rpartition(".")[2] and written not in aliases:
            return f"{path}: expected {kind} {name!r}, got {written!r}"
        if kind == "fixed":
            if reader["size"] != writer["size"]:
                return f"{path}: expected fixed of {reader['size']} bytes, got {writer['size']}"
            return None
        if kind == "enum":
            missing = [s for s in writer["symbols"] if s not in reader["symbols"]]
            if missing and "default" not in reader:
                known = reader["symbols"]
                return f"{path}: expected symbols {known} or a default, got {missing[0]!r}"
            return None
        if (name, written) in self._compared:
            return None
        self._compared.add((name, written))
        return self._compare_fields(reader, writer, _space(name), _space(written), path)

    def _compare_fields(
        self,
        reader: dict[str, Any],
        writer: dict[str, Any],
        reader_space: str,
        writer_space: str,
        path: str,
    ) -> str | None:
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            at = f"{path}{field['name']}"
            names = [field["name"], *field.get("aliases", ())]
            match = next((written[name] for name in names if name in written), None)
            if match is None:
                if "default" not in field:
                    return f"{at}: expected a default, as the writer has no such field, got none"
                continue
            found = self.compare(field["type"], match["type"], reader_space, writer_space, at + "/")
            if found is not None:
                return found
        return None


def _kind(schema: Schema) -> str:
    kind: str = schema if isinstance(schema, str) else schema["type"]
    return kind


def _shown(schema: Schema) -> str:
    if isinstance(schema, dict) and "name" in schema:
        return str(schema["name"])
    return _kind(schema) if not isinstance(schema, list) else "union"


def _space(full_name: str) -> str:
    return full_name.rpartition(".")[0]


def _qualified(name: str, space: str) -> str:
    return name if "." in name or not space else f"{space}.{name}"


def _full_name(schema: dict[str, Any], space: str) -> str:
    return _qualified(schema["name"], schema.get("namespace", space))


def _resolved(schema: Schema, space: str, names: Mapping[str, Schema]) -> Schema:
    """The definition behind a name, and behind `{"type": {...}}`."""
    while True:
        if isinstance(schema, str):
            found = names.get(_qualified(schema, space), names.get(schema))
            return schema if found is None else found
        if isinstance(schema, dict) and not isinstance(schema["type"], str):
            schema = schema["type"]
            continue
        if isinstance(schema, dict) and _qualified(schema["type"], space) in names:
            schema = names[_qualified(schema["type"], space)]
            continue
        return schema


def _names_in(schema: Schema, space: str = "") -> dict[str, Schema]:
    """Every named type defined in a schema, by full name, with its full name written in."""
    if isinstance(schema, list):
        return {
            name: found for branch in schema for name, found in _names_in(branch, space).items()
        }
    if not isinstance(schema, dict):
        return {}
    kind = schema["type"]
    if not isinstance(kind, str):
        return _names_in(kind, space)
    if kind == "array":
        return _names_in(schema["items"], space)
    if kind == "map":
        return _names_in(schema["values"], space)
    if kind not in _NAMED:
        return {}
    full_name = _full_name(schema, space)
    names = {full_name: {**schema, "name": full_name}}
    for field in schema.get("fields", ()):
        names |= _names_in(field["type"], _space(full_name))
    return names
