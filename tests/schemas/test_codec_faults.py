"""Each way in which a message or a row can be bad is named, with its field and byte."""

import json
from typing import Any

import numpy as np
import pytest
from codec_reference import join, parsed, rows_of, write

from streamrec.schemas.codec import (
    Decoder,
    DecodeResult,
    Encoder,
    InvalidSchemaError,
    ResolutionError,
    UnsupportedSchemaError,
    WireFault,
)
from streamrec.schemas.columns import Bytes, Column, Columns, Lists, Numbers


def record(*types: Any) -> str:
    fields = [{"name": f"f{i}", "type": kind} for i, kind in enumerate(types)]
    return json.dumps({"type": "record", "name": "R", "fields": fields})


def decode(schema: str, *messages: bytes, reader: str = "") -> DecodeResult:
    return Decoder(schema, reader or schema).decode(*join(list(messages)))


ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B", "C"]}
FIXED = {"type": "fixed", "name": "F", "size": 3}
INTS = {"type": "array", "items": "int"}

BAD_MESSAGES = [
    ("int", b"", WireFault.TRUNCATED),
    ("int", b"\x80", WireFault.TRUNCATED),
    ("int", b"\x80\x80\x80\x80\x10", WireFault.INT_RANGE),
    ("long", b"\xff" * 9 + b"\x02", WireFault.BAD_VARINT),
    ("long", b"\x80" * 10 + b"\x00", WireFault.BAD_VARINT),
    ("float", b"\0\0\0", WireFault.TRUNCATED),
    ("double", b"\0" * 7, WireFault.TRUNCATED),
    ("boolean", b"", WireFault.TRUNCATED),
    ("boolean", b"\2", WireFault.BAD_BOOLEAN),
    ("string", b"\1", WireFault.NEGATIVE_LENGTH),
    ("string", b"\6ab", WireFault.TRUNCATED),
    ("string", b"\2\xff", WireFault.INVALID_UTF8),
    ("string", b"\6\xed\xa0\x80", WireFault.INVALID_UTF8),
    ("string", b"\4\xc0\x80", WireFault.INVALID_UTF8),
    ("string", b"\x08\xf4\x90\x80\x80", WireFault.INVALID_UTF8),
    ("string", b"\x14abcdefgh\xc3a", WireFault.INVALID_UTF8),
    ("string", b"\x12abcdefgh\xc3", WireFault.INVALID_UTF8),
    ("bytes", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", WireFault.NEGATIVE_LENGTH),
    ("bytes", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", WireFault.TRUNCATED),
    (FIXED, b"ab", WireFault.TRUNCATED),
    (ENUM, b"\6", WireFault.ENUM_RANGE),
    (ENUM, b"\1", WireFault.ENUM_RANGE),
    (["null", "int"], b"\4\2", WireFault.BAD_BRANCH),
    (["null", "int"], b"\1\2", WireFault.BAD_BRANCH),
    (INTS, b"\4\2", WireFault.TRUNCATED),
    (INTS, b"\2\2", WireFault.TRUNCATED),
    (INTS, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\2", WireFault.TRUNCATED),
    (INTS, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\2\2", WireFault.TRUNCATED),
    ("null", b"\0", WireFault.TRAILING),
]


@pytest.mark.parametrize(("kind", "bad", "fault"), BAD_MESSAGES)
def test_bad_message_is_named_and_its_neighbours_decode(
    kind: Any, bad: bytes, fault: WireFault
) -> None:
    schema = record("int", kind)
    sample: dict[str, Any] = {"int": 7, "long": 7, "float": 0.5, "double": 0.5, "boolean": True}
    sample |= {"string": "née", "bytes": b"x", "null": None}
    value = sample[kind] if isinstance(kind, str) else None
    if isinstance(kind, dict):
        value = {"fixed": b"abc", "enum": "C", "array": [1, 2]}[kind["type"]]
    good = write(parsed(schema), {"f0": -1, "f1": value})
    decoder = Decoder(schema, schema)
    decoded = decoder.decode(*join([good, b"\x01" + bad, good]))
    assert decoded.status.tolist() == [WireFault.NONE, fault, WireFault.NONE]
    assert decoder.field_names[decoded.field[1]] == ("" if fault == WireFault.TRAILING else "f1")
    assert 1 <= decoded.position[1] <= 1 + len(bad)
    alone = rows_of(decoder.decode(*join([good])).columns, schema)
    assert rows_of(decoded.columns, schema) == alone * 2


def test_failure_inside_a_list_gives_its_items_up() -> None:
    schema = record(INTS)
    decoded = decode(schema, b"\4\2\4\0", b"\6\2\4\x80", b"\2\6\0")
    assert decoded.status.tolist() == [0, WireFault.TRUNCATED, 0]
    assert [row["f0"] for row in rows_of(decoded.columns, schema)] == [
        [{"": 1}, {"": 2}],
        [{"": 3}],
    ]


def test_lists_in_blocks_with_and_without_sizes() -> None:
    schema = record(INTS)
    blocks = b"\3\4\2\4" + b"\2\6" + b"\1\2\x08" + b"\0"  # sizes are not looked at when reading
    decoded = decode(schema, blocks)
    assert rows_of(decoded.columns, schema) == [{"f0": [{"": 1}, {"": 2}, {"": 3}, {"": 4}]}]


def test_skipped_lists_are_passed_over_by_their_size() -> None:
    writer = record(INTS, "int")
    reader = '{"type": "record", "name": "R", "fields": [{"name": "f1", "type": "int"}]}'
    decoded = decode(writer, b"\3\4\2\4\0\x0a", b"\4\2\4\0\x0a", b"\3\x40\2\4\0\x0a", reader=reader)
    assert decoded.status.tolist() == [0, 0, WireFault.TRUNCATED]
    assert rows_of(decoded.columns, reader) == [{"f1": 5}, {"f1": 5}]


def test_long_lists_grow_the_arena_once_and_are_remembered() -> None:
    schema = record({"type": "array", "items": "boolean"})
    message = write(parsed(schema), {"f0": [True, False] * 5_000})
    decoder = Decoder(schema, schema)
    for _ in range(3):
        decoded = decoder.decode(*join([message] * 3))
        column = decoded.columns["f0"]
        assert isinstance(column, Lists)
        assert column.bounds.tolist() == [0, 10_000, 20_000, 30_000]


def test_unknown_symbol_without_default_fails_its_message_only() -> None:
    reader = record({"type": "enum", "name": "E", "symbols": ["C", "A"]})
    decoded = decode(record(ENUM), b"\0", b"\2", b"\4", reader=reader)
    assert decoded.status.tolist() == [0, WireFault.UNKNOWN_SYMBOL, 0]
    assert rows_of(decoded.columns, reader) == [{"f0": 1}, {"f0": 0}]


def test_null_where_the_reader_has_none_fails_its_message_only() -> None:
    decoded = decode(record(["null", "int"]), b"\0", b"\2\2", reader=record("long"))
    assert decoded.status.tolist() == [WireFault.UNEXPECTED_NULL, 0]


@pytest.mark.parametrize("kind", ["null", ["null", "int"], ["null", {**INTS, "items": "bytes"}]])
def test_null_is_all_that_a_nullable_list_takes_from_another_type(kind: Any) -> None:
    writer, reader = record(kind, "int"), record(["null", INTS], "int")
    null, other = (b"", b"") if kind == "null" else (b"\0", b"\2")
    decoded = decode(writer, null + b"\2", other + b"\2\2", null + b"\4", reader=reader)
    fault = WireFault.TRAILING if kind == "null" else WireFault.UNEXPECTED_BRANCH
    assert decoded.status.tolist() == [0, fault, 0]
    assert rows_of(decoded.columns, reader) == [{"f0": None, "f1": 1}, {"f0": None, "f1": 2}]


@pytest.mark.parametrize(
    ("writer", "reader", "message"),
    [
        (record("string"), record("int"), "field f0 expected int, got string from the writer"),
        (record("int"), record("int", "int"), "field f1 expected a value or a default, got neith"),
        (record(FIXED), record({**FIXED, "size": 4}), "field f0 expected fixed F, got fixed F"),
    ],
)
def test_schemas_that_cannot_be_resolved_are_refused(
    writer: str, reader: str, message: str
) -> None:
    with pytest.raises(ResolutionError, match=message):
        Decoder(writer, reader)


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "map", "values": "int"},
        ["int", "string"],
        {"type": "array", "items": INTS},
        {"type": "array", "items": "null"},
        ["null", {"type": "record", "name": "Inner", "fields": [{"name": "a", "type": "int"}]}],
        ["null", "R"],
    ],
)
def test_records_that_columns_cannot_hold_are_refused(kind: Any) -> None:
    with pytest.raises(UnsupportedSchemaError, match="field f0 expected"):
        Decoder(record(kind), record(kind))
    with pytest.raises(UnsupportedSchemaError, match="field f0 expected"):
        Encoder(record(kind))


@pytest.mark.parametrize("text", ["", "{", '{"type": "record"}', '"nothing"', "[1]"])
def test_text_that_is_no_schema_is_refused(text: str) -> None:
    with pytest.raises(InvalidSchemaError):
        Decoder(text, record("int"))


def test_writer_that_makes_decoders_run_away_is_refused() -> None:
    writer = record("int", {"type": "map", "values": {"type": "array", "items": "null"}})
    with pytest.raises(UnsupportedSchemaError, match="at least one byte"):
        Decoder(writer, record("int"))


def test_batch_of_no_messages_has_no_rows() -> None:
    schema = record("int", INTS)
    decoded = decode(schema)
    assert rows_of(decoded.columns, schema) == []
    assert Encoder(schema).encode(decoded.columns, 1).values == []


def spans(*values: bytes) -> Bytes:
    lengths = np.array([len(value) for value in values], np.int64)
    data = np.frombuffer(b"".join(values) or b" ", np.uint8)
    return Bytes(data, np.cumsum(lengths) - lengths, lengths)


BAD_ROWS: list[tuple[Any, Column, WireFault]] = [
    ("int", Numbers(np.array([1, 2**31, 3])), WireFault.INT_RANGE),
    ("int", Numbers(np.array([1, -(2**31) - 1, 3])), WireFault.INT_RANGE),
    ("float", Numbers(np.array([1.0, 1e39, np.inf])), WireFault.FLOAT_RANGE),
    (ENUM, Numbers(np.array([0, 3, 2], np.int32)), WireFault.ENUM_RANGE),
    (ENUM, Numbers(np.array([0, -1, 2], np.int32)), WireFault.ENUM_RANGE),
    ("string", spans(b"a", b"\xff", b"c"), WireFault.INVALID_UTF8),
    (FIXED, spans(b"abc", b"ab", b"abc"), WireFault.FIXED_SIZE),
    (
        "long",
        Numbers(np.array([1, 2, 3]), np.array([True, False, True])),
        WireFault.UNEXPECTED_NULL,
    ),
    (
        "bytes",
        Bytes(np.zeros(4, np.uint8), np.array([0, 3, 0]), np.array([4, 2, 1])),
        WireFault.BAD_SPAN,
    ),
    (
        INTS,
        Lists(np.array([0, 1, 2, 3]), {"": Numbers(np.array([1, 2**40, 3]))}),
        WireFault.INT_RANGE,
    ),
]


@pytest.mark.parametrize(("kind", "column", "fault"), BAD_ROWS)
def test_bad_row_is_named_and_its_neighbours_are_encoded(
    kind: Any, column: Column, fault: WireFault
) -> None:
    encoded = Encoder(record(kind)).encode({"f0": column}, 9)
    assert encoded.rows.tolist() == [0, 2]
    assert [(f.row, f.fault, f.field) for f in encoded.failures] == [(1, fault, "f0")]
    assert "field f0 expected" in encoded.failures[0].message
    assert len(encoded.values) == 2
    assert all(value.startswith(b"\0\0\0\0\x09") for value in encoded.values)


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({}, ValueError, "field f0 expected a column, got none"),
        ({"f0": Numbers(np.zeros(2))}, TypeError, "field f0 expected a column of int, got float64"),
        ({"f0": spans(b"a")}, TypeError, "field f0 expected a column of int, got Bytes"),
        ({"f0": Numbers(np.zeros(1, np.uint64))}, TypeError, "got uint64 numbers"),
    ],
)
def test_columns_that_do_not_fit_the_schema_are_mistakes(
    columns: Columns, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Encoder(record("int")).encode(columns)


def test_columns_of_different_lengths_are_a_mistake() -> None:
    columns: Columns = {"f0": Numbers(np.zeros(2, int)), "f1": Numbers(np.zeros(3, int))}
    with pytest.raises(ValueError, match="field f1 expected 2 rows as f0, got 3"):
        Encoder(record("int", "int")).encode(columns)


def test_rows_longer_than_the_room_for_one_grow_it() -> None:
    schema = record("bytes", "int")
    values = [bytes([i]) * (3_000 * i) for i in range(1, 9)]
    columns: Columns = {"f0": spans(*values), "f1": Numbers(np.arange(8))}
    encoded = Encoder(schema).encode(columns)
    expected = [write(parsed(schema), {"f0": v, "f1": i}) for i, v in enumerate(values)]
    assert encoded.values == expected


def test_columns_of_earlier_batches_keep_their_values() -> None:
    """Memory is handed out again only when nothing refers to it."""
    schema = record("long", "string")
    decoder = Decoder(schema, schema)
    batches = []
    for i in range(30):
        messages = [write(parsed(schema), {"f0": i * 100 + j, "f1": f"{i}-{j}"}) for j in range(5)]
        batches.append((decoder.decode(*join(messages)).columns, i))
        if i % 3 == 0:
            batches.pop(0)
    for columns, i in batches:
        expected = [{"f0": i * 100 + j, "f1": f"{i}-{j}".encode()} for j in range(5)]
        assert rows_of(columns, schema) == expected
