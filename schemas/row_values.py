"""Columns back to plain values, a record at a time: what `receive` shows of it.

For logic that goes record by record, and for messages; kernels take the columns.
"""

import json
from functools import cache
from typing import Any, Protocol

from streamrec.schemas.columns import VALUE, Bytes, Column, Columns, Lists, Numbers
from streamrec.schemas.json_text import parse_record
from streamrec.schemas.parsing import PRIMITIVES, Type, parse
from streamrec.schemas.placing import keys_of

_FLAT = (PRIMITIVES - {"null"}) | {"enum"}


class RowValues(Protocol):
    """How the records of a topic are read. Goes between processes."""

    def record(self, columns: Columns, row: int) -> Any:
        """The record of a row, as plain values of its own."""


class AvroRows:
    """Records of a schema, as dicts by field."""

    def __init__(self, schema: str) -> None:
        """`schema` is JSON text. Raises InvalidSchemaError."""
        self.root = parse(schema)

    def record(self, columns: Columns, row: int) -> Any:
        return _value(self.root, columns, "", row)

    def value(self, columns: Columns, name: str, row: int) -> Any:
        """Of one field, named as its column is."""
        node = self.type_of(name)
        assert node is not None, name
        return _value(node, columns, name, row)

    def type_of(self, name: str) -> Type | None:
        """The type behind a column's name; None: there is no such field."""
        node = self.root
        for part in name.split("."):
            found = next((f.type for f in node.fields if f.name == part), None)
            if found is None:
                return None
            node = found
        return node

    def __reduce__(self) -> tuple[Any, ...]:
        return avro_rows, (json.dumps(self.root.schema),)  # without docs, and small


@cache
def avro_rows(schema: str) -> AvroRows:
    """The reader of a schema, one for all batches that came from another process."""
    return AvroRows(schema)


class JsonRows:
    """Records that are JSON, parsed each time: whoever has a value may change it."""

    def record(self, columns: Columns, row: int) -> Any:
        return parse_record(_bytes(columns, row))


class BytesRows:
    """Records that are bytes."""

    def record(self, columns: Columns, row: int) -> Any:
        return _bytes(columns, row)


def plain_rows(reader: RowValues, columns: Columns, count: int) -> list[Any]:
    """All records, as `reader.record` gives each; those of flat schemas by the column."""
    if not isinstance(reader, AvroRows):
        return [reader.record(columns, row) for row in range(count)]
    fields = reader.root.fields
    if any(field.type.value.kind not in _FLAT for field in fields):
        return [reader.record(columns, row) for row in range(count)]
    names = [field.name for field in fields]
    lists = [_plain_column(field.type.value, columns[field.name]) for field in fields]
    return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]


def _plain_column(node: Type, column: Column) -> list[Any]:
    found: list[Any]
    if isinstance(column, Bytes):
        found = list(keys_of(column))
        if node.kind == "string":
            found = [each.decode() for each in found]
    else:
        assert isinstance(column, Numbers)
        found = column.values.tolist()
        if node.kind == "enum":
            found = [node.symbols[each] for each in found]
    if column.valid is None:
        return found
    return [v if valid else None for v, valid in zip(found, column.valid.tolist(), strict=True)]


def _bytes(columns: Columns, row: int) -> bytes:
    column = columns[VALUE]
    assert isinstance(column, Bytes)
    return column.bytes_at(row)


def _value(node: Type, columns: Columns, name: str, row: int) -> Any:
    inner = node.value
    if inner.kind == "record":
        prefix = f"{name}." if name else ""
        return {f.name: _value(f.type, columns, prefix + f.name, row) for f in inner.fields}
    column = columns[name]
    if inner.kind == "null" or (column.valid is not None and not column.valid[row]):
        return None
    if isinstance(column, Lists):
        first, end = column.bounds[row : row + 2].tolist()
        return [_value(inner.branches[0], column.items, "", item) for item in range(first, end)]
    if isinstance(column, Bytes):
        content = column.bytes_at(row)
        return content.decode() if inner.kind == "string" else content
    found = column.values[row].item()
    return inner.symbols[found] if inner.kind == "enum" else found


__all__ = ["AvroRows", "BytesRows", "JsonRows", "RowValues", "avro_rows", "plain_rows"]
