"""What the codec tests share: fastavro as the reference, and columns back to Python values."""

import io
import itertools
import json
import math
import struct
from typing import Any

import fastavro
import numpy as np

from streamrec.schemas.columns import Bytes, Column, Columns, Lists
from streamrec.schemas.parsing import Type, parse


def without_logical_types(schema: Any) -> Any:
    """The JSON of a schema as the codec sees it: underlying values only."""
    if isinstance(schema, list):
        return [without_logical_types(branch) for branch in schema]
    if isinstance(schema, dict):
        kept = {key: value for key, value in schema.items() if key != "logicalType"}
        return {
            key: without_logical_types(value) if key in ("type", "items", "values") else value
            for key, value in kept.items()
            if key != "fields"
        } | (
            {"fields": [without_logical_types(field) for field in kept["fields"]]}
            if "fields" in kept
            else {}
        )
    return schema


def parsed(schema_json: str) -> Any:
    return fastavro.parse_schema(without_logical_types(json.loads(schema_json)))


def write(schema: Any, record: dict[str, Any]) -> bytes:
    """Encode a record as fastavro does; `schema` from `parsed`."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record)
    return out.getvalue()


def read(writer: Any, reader: Any, message: bytes) -> dict[str, Any]:
    """Decode a message as fastavro does; raises whatever it raises, EOFError for trailing bytes."""
    source = io.BytesIO(message)
    record = fastavro.schemaless_reader(source, writer, reader)
    if source.tell() != len(message):
        raise EOFError("trailing bytes")
    assert isinstance(record, dict)
    return record


def join(messages: list[bytes]) -> tuple[Any, Any, Any]:
    bounds = np.cumsum([0, *map(len, messages)], dtype=np.int64)
    data = np.frombuffer(bytearray().join(messages) or bytearray(1), np.uint8)
    return data, bounds[:-1], bounds[1:]


def rows_of(columns: Columns, schema_json: str) -> list[dict[str, Any]]:
    """Columns as records, values in the types that `flat` gives."""
    kinds = _kinds(parse(schema_json), "")
    names = list(columns)
    lists = [_values(columns[name], kinds, name) for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]


def flat(record: dict[str, Any], schema_json: str) -> dict[str, Any]:
    """A record of fastavro's flattened with dots, enum symbols as indexes, floats as bits."""
    out: dict[str, Any] = {}
    _flatten(record, parse(schema_json), "", out)
    return out


def _flatten(value: Any, node: Type, name: str, out: dict[str, Any]) -> None:
    kind = node.value.kind
    if kind == "record":
        for field in node.value.fields:
            inside = f"{name}.{field.name}" if name else field.name
            _flatten(value[field.name], field.type, inside, out)
    elif kind == "array" and value is not None:
        out[name] = []
        for item in value:
            row: dict[str, Any] = {}
            _flatten(item, node.value.branches[0], "", row)
            out[name].append(row)
    else:
        out[name] = _plain(value, node.value)


def _plain(value: Any, node: Type) -> Any:
    if value is None:
        return None
    if node.kind == "enum":
        return node.symbols.index(value)
    if node.kind == "string":
        # A default of a bytes field stays text in fastavro, so text is told by the schema.
        return value.encode()
    if node.kind in ("bytes", "fixed"):
        return value.encode("latin-1") if isinstance(value, str) else value
    if node.kind == "float":
        return _bits(float(np.float32(value)))
    if node.kind == "double":
        return _bits(float(value))
    return value


def _bits(value: float) -> Any:
    return "nan" if math.isnan(value) else struct.pack("<d", value)


def _kinds(node: Type, name: str) -> dict[str, Type]:
    if node.kind == "record":
        kinds: dict[str, Type] = {}
        for field in node.fields:
            kinds |= _kinds(field.type, f"{name}.{field.name}" if name else field.name)
        return kinds
    return {name: node.value}


def _values(column: Column, kinds: dict[str, Type], name: str) -> list[Any]:
    values: list[Any]
    if isinstance(column, Bytes):
        values = [column.bytes_at(row) for row in range(len(column))]
    elif isinstance(column, Lists):
        inner = _kinds(kinds[name].branches[0], "")
        lists = [_values(item, inner, key) for key, item in column.items.items()]
        items = [dict(zip(column.items, row, strict=True)) for row in zip(*lists, strict=True)]
        bounds = column.bounds.tolist()
        values = [items[a:b] for a, b in itertools.pairwise(bounds)]
        assert bounds[0] == 0
        assert bounds[-1] == len(items)
    else:
        values = column.values.tolist()
        if column.values.dtype.kind == "f":
            values = [_bits(value) for value in values]
    if column.valid is not None:
        valid = column.valid.tolist()
        values = [value if ok else None for value, ok in zip(values, valid, strict=True)]
    return values
