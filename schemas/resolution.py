"""Compiling a writer's schema against a reader's to a program, by Avro's resolution rules.

All writers of one reader share a `Program`: instructions one after another, each writer with its
own entry, so that one kernel call decodes messages of several writers into the same columns.
"""

import io
from typing import Any

import fastavro

from streamrec.schemas import opcodes as op
from streamrec.schemas.layout import Layout, Node
from streamrec.schemas.parsing import Field, Type, UnsupportedSchemaError, describe, min_bytes
from streamrec.schemas.skipping import Skipper
from streamrec.schemas.time_units import is_other_time, time_factor

_PROMOTIONS = {
    ("int", "long"),
    ("int", "float"),
    ("int", "double"),
    ("long", "float"),
    ("long", "double"),
    ("float", "double"),
    ("string", "bytes"),
    ("bytes", "string"),
}
_OPERATIONS = {
    "int": op.VARINT,
    "long": op.VARINT,
    "float": op.FLOAT4,
    "double": op.FLOAT8,
    "boolean": op.BOOLEAN,
    "string": op.SPAN,
    "bytes": op.SPAN,
    "fixed": op.FIXED,
    "enum": op.ENUM,
    "null": op.NULL,
    "array": op.ARRAY,
}


_PLAIN = {*_OPERATIONS, "record"}


class ResolutionError(Exception):
    """No record of the writer can be read as the reader's; says field, expected and got."""


class Program:
    """Instructions for all writers of one reader, their field names and their defaults' bytes."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.code: list[int] = []
        self.names: list[str] = []  # by FIELD
        self._in_list = False
        self._writer = layout.root.type
        self._skipper = Skipper(self.code, self._emit, layout.root.type)
        self.pool = bytearray()  # reader's defaults, Avro-encoded; they follow the joined messages

    def add(self, writer: Type) -> int:
        """Compile one writer and return its entry.

        Raises ResolutionError, and UnsupportedSchemaError for a writer that the kernel does not
        cover; the program is unchanged then.
        """
        before = len(self.code), len(self.names), len(self.pool)
        entry = len(self.code)
        self._writer = writer
        self._skipper = Skipper(self.code, self._emit, writer)
        try:
            self._value(writer, self.layout.root)
        except (ResolutionError, UnsupportedSchemaError):
            del self.code[before[0] :], self.names[before[1] :], self.pool[before[2] :]
            raise
        self._emit(op.END, "")
        return entry

    def _emit(
        self,
        operation: int,
        path: str,
        null_branch: int = -1,
        node: Node | None = None,
        argument: int = 0,
        extra: int = 0,
    ) -> int:
        if not self.names or self.names[-1] != path:
            self.names.append(path)
        at = len(self.code)
        slot, valid, store = (node.slot, node.valid, node.store) if node else (-1, -1, 0)
        name = len(self.names) - 1
        self.code += [operation, null_branch, slot, valid, store, argument, extra, name]
        return at

    def _value(self, writer: Type, node: Node) -> None:
        reader = node.type.value
        value, null_branch = writer.value, writer.null_branch
        if value.kind in ("union", "map", "recursive"):
            raise UnsupportedSchemaError(f"field {node.path} of the writer is {describe(writer)}")
        if reader.kind == "record":
            if value.kind != "record" or not _same_name(value, reader):
                raise _mismatch(node, writer)
            if null_branch >= 0:
                self._emit(op.BRANCH, node.path, null_branch, argument=-1)
            self._record(value, reader, node)
            return
        here = len(self.code)  # a null list goes on after the instruction named by ARGUMENT
        if writer.kind == "null" and _takes_null(node):
            self._emit(op.NULL, node.path, node=node, argument=here, extra=node.level)
        elif not _fits(value, reader):
            # A nullable writer is still of use to a nullable reader: its nulls can be read.
            if null_branch >= 0 and _takes_null(node):
                self._emit(op.FAIL, node.path, null_branch, node, here, node.level)
            else:
                raise _mismatch(node, writer)
        elif value.kind == "array":
            assert node.item is not None
            self._array(value, null_branch, node, node.item)
        elif value.kind == "enum":
            self._enum(value, reader, null_branch, node)
        else:
            argument = {"int": 1, "string": 1, "fixed": value.size}.get(value.kind, 0)
            if value.kind == "bytes" and reader.kind == "string":
                argument = 1
            factor = time_factor(value, reader)
            if is_other_time(value, reader):
                raise _mismatch(node, writer)
            if factor != 1:
                self._emit(op.SCALED, node.path, null_branch, node, extra=factor)
            else:
                self._emit(_OPERATIONS[value.kind], node.path, null_branch, node, argument)

    def _record(self, writer: Type, reader: Type, node: Node) -> None:
        wanted = {field.name: field for field in reader.fields}
        direct = {field.name for field in writer.fields} & wanted.keys()
        aliased = {
            alias: field.name
            for field in reader.fields
            if field.name not in direct
            for alias in field.aliases
        }
        for field in writer.fields:
            name = field.name if field.name in wanted else aliased.get(field.name, "")
            if wanted.pop(name, None) is None:
                self._skip(field.type, f"{node.path}.{field.name}".lstrip("."))
            else:
                self._value(field.type, node.fields[name])
        for field in wanted.values():
            self._default(field, node.fields[field.name])

    def _default(self, field: Field, node: Node) -> None:
        if not field.has_default:
            raise ResolutionError(
                f"field {node.path} expected a value or a default, got neither "
                f"(the writer has no such field)"
            )
        start = len(self.pool)
        self.pool += encode_default(field)
        self._emit(op.DEFAULT, node.path, argument=start, extra=len(self.pool))
        self._value(field.type, node)
        self._emit(op.RESUME, node.path)

    def _array(self, writer: Type, null_branch: int, node: Node, item: Node) -> None:
        at = self._emit(op.ARRAY, node.path, null_branch, node, extra=node.level)
        inside = len(self.code)
        self._in_list = True
        try:
            self._value(writer.branches[0], item)
        except ResolutionError:
            # Lists without items can be read all the same.
            del self.code[inside:]
            self._skipper = Skipper(self.code, self._emit, self._writer)  # what it knew is gone
            self._emit(op.FAIL, item.path)
        finally:
            self._in_list = False
        self._next(writer.branches[0], at, node.path)

    def _next(self, item: Type, array_at: int, path: str) -> None:
        least = min_bytes(item)
        if least == 0:
            raise ResolutionError(
                f"field {path} expected array items of at least one byte, got {describe(item)}"
            )
        self.code[array_at + op.ARGUMENT] = self._emit(
            op.NEXT, path, argument=array_at, extra=least
        )

    def _enum(self, writer: Type, reader: Type, null_branch: int, node: Node) -> None:
        index = {symbol: i for i, symbol in enumerate(reader.symbols)}
        fallback = -1 if reader.default_symbol is None else index[reader.default_symbol]
        symbols = [index.get(symbol, fallback) for symbol in writer.symbols]
        at = self._emit(op.ENUM, node.path, null_branch, node, extra=len(symbols))
        self.code[at + op.ARGUMENT] = len(self.code) + op.WIDTH  # the map follows a jump over it
        padded = symbols + [-1] * (-len(symbols) % op.WIDTH)
        self._emit(op.JUMP, node.path, argument=len(self.code) + op.WIDTH + len(padded))
        self.code += padded

    def _skip(self, writer: Type, path: str) -> None:
        value = writer.value
        if not self._is_plain(value):
            self._skipper.skip(writer, path)
            return
        branch_at = -1
        if writer.null_branch >= 0:
            branch_at = self._emit(op.BRANCH, path, writer.null_branch)
        if value.kind == "record":
            for field in value.fields:
                self._skip(field.type, f"{path}.{field.name}")
        elif value.kind == "array":
            self._skip_array(value, path)
        elif value.kind in ("enum", "int", "long"):
            self._emit(op.VARINT, path)
        elif value.kind in ("boolean", "fixed"):
            self._emit(op.FIXED, path, argument=1 if value.kind == "boolean" else value.size)
        else:
            self._emit(_OPERATIONS[value.kind], path)
        if branch_at >= 0:
            self.code[branch_at + op.ARGUMENT] = len(self.code)

    def _is_plain(self, value: Type) -> bool:
        """Whether the decode kernel itself can pass over a value: it counts the items of one list
        at a time."""
        if value.kind == "array":
            return not self._in_list and _kinds(value.branches[0]) <= _PLAIN - {"array"}
        return value.kind in _PLAIN

    def _skip_array(self, writer: Type, path: str) -> None:
        item = writer.branches[0]
        at = self._emit(op.ARRAY, path, extra=-1)
        self._skip(item, path)
        self._next(item, at, path)


def encode_default(field: Field) -> bytes:
    """Return a field's default as the Avro bytes of the field's type."""
    out = io.BytesIO()
    schema = {"type": "record", "name": "D", "fields": [{"name": "f", "type": field.type.schema}]}
    fastavro.schemaless_writer(out, schema, {"f": _default_value(field.type, field.default)})
    return out.getvalue()


def _default_value(node: Type, default: Any) -> Any:
    """Turn a default as JSON writes it into the value that fastavro encodes."""
    if node.kind == "union":
        return None if default is None else _default_value(node.value, default)
    if node.kind in ("bytes", "fixed"):
        return default.encode("latin-1")
    if node.kind == "array":
        return [_default_value(node.branches[0], item) for item in default]
    if node.kind == "record":
        return {f.name: _default_value(f.type, default.get(f.name, f.default)) for f in node.fields}
    return default


def _kinds(node: Type) -> set[str]:
    inside = [*node.branches, *(field.type for field in node.fields)]
    return {node.kind}.union(*(_kinds(child) for child in inside))


def _takes_null(node: Node) -> bool:
    return node.type.kind == "null" or node.type.null_branch >= 0


def _fits(writer: Type, reader: Type) -> bool:
    if writer.kind != reader.kind:
        return (writer.kind, reader.kind) in _PROMOTIONS
    if writer.kind in ("fixed", "enum"):
        return writer.size == reader.size and _same_name(writer, reader)
    if writer.kind == "array":
        items = writer.branches[0], reader.branches[0]
        return "union" in (items[0].kind, items[1].kind) or _fits(*items)
    return writer.kind != "record" or _same_name(writer, reader)


def _same_name(writer: Type, reader: Type) -> bool:
    unqualified = writer.name.rpartition(".")[2]
    return unqualified == reader.name.rpartition(".")[2] or not {
        writer.name,
        unqualified,
    }.isdisjoint(reader.aliases)


def _mismatch(node: Node, writer: Type) -> ResolutionError:
    where = f"field {node.path}" if node.path else "record"
    return ResolutionError(
        f"{where} expected {describe(node.type)}, got {describe(writer)} from the writer"
    )
