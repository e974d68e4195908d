"""What a writer has beside what is read is passed over; its times are read in our unit."""

import json
import random
from typing import Any

import fastavro
import pytest
from codec_reference import join, parsed, write
from codec_reference import rows_of as raw_rows_of

from streamrec import schemas
from streamrec.schemas.columns import Columns
from streamrec.schemas.decoder import Decoder
from streamrec.schemas.parsing import UnsupportedSchemaError
from streamrec.schemas.resolution import ResolutionError

READER = json.dumps(
    {
        "type": "record",
        "name": "R",
        "fields": [{"name": "a", "type": "string"}, {"name": "z", "type": "long"}],
    }
)
TREE = {
    "type": "record",
    "name": "Tree",
    "fields": [
        {"name": "name", "type": "string"},
        {"name": "children", "type": {"type": "array", "items": "Tree"}},
        {"name": "next", "type": ["null", "Tree"]},
        {"name": "tags", "type": {"type": "map", "values": ["null", "double", "Tree"]}},
    ],
}


def rows_of(columns: Columns, schema: str) -> list[dict[str, Any]]:
    """With strings as text."""
    return [
        {name: value.decode() if isinstance(value, bytes) else value for name, value in row.items()}
        for row in raw_rows_of(columns, schema)
    ]


def writer_with(kind: Any, **others: Any) -> str:
    fields = [
        {"name": "a", "type": "string"},
        {"name": "unread", "type": kind},
        {"name": "z", "type": "long"},
    ]
    return json.dumps({"type": "record", "name": "R", "fields": fields, **others})


def tree(rng: random.Random, depth: int) -> dict[str, Any]:
    def some() -> list[Any]:
        return [tree(rng, depth - 1) for _ in range(rng.randrange(3))] if depth else []

    return {
        "name": "n" * rng.randrange(100),
        "children": some(),
        "next": (some() or [None])[0],
        "tags": dict(zip("xyz", [*some(), None, 1.5], strict=False)),
    }


def test_a_recursive_field_that_is_not_read_is_passed_over() -> None:
    schema = writer_with(TREE)
    decoder = Decoder(schema, READER)
    assert decoder.is_fast
    rng = random.Random(5)
    rows = [{"a": f"a{i}", "unread": tree(rng, i % 5), "z": i} for i in range(50)]
    decoded = decoder.decode(*join([write(parsed(schema), row) for row in rows]))
    assert decoded.status.tolist() == [0] * 50
    assert rows_of(decoded.columns, READER) == [{"a": row["a"], "z": row["z"]} for row in rows]


def test_a_record_that_refers_to_itself_is_read_but_for_that() -> None:
    schema = writer_with(["null", "R"])
    decoder = Decoder(schema, READER)
    assert decoder.is_fast
    inner = {"a": "in", "unread": {"a": "deep", "unread": None, "z": 1}, "z": 2}
    last = {"a": "y", "unread": None, "z": 4}
    rows: list[dict[str, Any]] = [{"a": "x", "unread": inner, "z": 3}, last]
    decoded = decoder.decode(*join([write(parsed(schema), row) for row in rows]))
    assert rows_of(decoded.columns, READER) == [{"a": "x", "z": 3}, {"a": "y", "z": 4}]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ({"type": "map", "values": "int"}, {"k": 5, "l": 6}),
        (["int", "string", {"type": "map", "values": "bytes"}], {"k": b"5"}),
        (["int", "string"], "text"),
        ({"type": "array", "items": {"type": "array", "items": "float"}}, [[1.0], [], [2.0, 3.0]]),
        (["null", {"type": "map", "values": "boolean"}], None),
        ({"type": "map", "values": "null"}, {"k": None}),
        ({"type": "map", "values": {"type": "fixed", "name": "F", "size": 3}}, {"k": b"abc"}),
        ({"type": "map", "values": {"type": "enum", "name": "E", "symbols": ["s"]}}, {"k": "s"}),
    ],
)
def test_fields_of_any_type_are_passed_over_by_the_kernel(kind: Any, value: Any) -> None:
    schema = writer_with(kind)
    decoder = Decoder(schema, READER)
    assert decoder.is_fast
    message = write(parsed(schema), {"a": "x", "unread": value, "z": 7})
    decoded = decoder.decode(*join([message, message]))
    assert rows_of(decoded.columns, READER) == [{"a": "x", "z": 7}] * 2
    for cut in range(len(message)):
        assert decoder.decode(*join([message[:cut]])).status.tolist() != [0]


def test_a_list_that_is_not_read_may_stand_in_one_that_is() -> None:
    def lists(fields: list[dict[str, Any]]) -> str:
        item = {"type": "record", "name": "I", "fields": fields}
        field = {"name": "items", "type": {"type": "array", "items": item}}
        return json.dumps({"type": "record", "name": "R", "fields": [field]})

    id_field = {"name": "id", "type": "long"}
    schema = lists([{"name": "tags", "type": {"type": "array", "items": "string"}}, id_field])
    reader = lists([id_field])
    tags: list[list[str]] = [["a", "b"], [], ["c"]]
    row = {"items": [{"tags": tag, "id": i} for i, tag in enumerate(tags, 1)]}
    decoded = Decoder(schema, reader).decode(*join([write(parsed(schema), row)] * 2))
    assert rows_of(decoded.columns, reader) == [{"items": [{"id": i} for i in (1, 2, 3)]}] * 2


def test_nesting_without_end_is_a_fault_and_its_neighbours_pass() -> None:
    schema = writer_with(TREE)
    good = write(parsed(schema), {"a": "x", "unread": tree(random.Random(1), 2), "z": 7})
    for bad in (b"\x02x" + b"\x00\x00\x02" * 400_000, b"\x02x" + b"\x00\x02" * 400_000):
        decoded = Decoder(schema, READER).decode(*join([good, bad, good]))
        assert decoded.status.tolist()[::2] == [0, 0]
        assert decoded.status.tolist()[1] != 0
        assert rows_of(decoded.columns, READER) == [{"a": "x", "z": 7}] * 2


def test_items_of_no_bytes_are_refused_by_name() -> None:
    empty = {"type": "array", "items": {"type": "array", "items": "null"}}
    with pytest.raises(UnsupportedSchemaError, match="unread expected array items of at least one"):
        Decoder(writer_with(empty), READER)


def test_random_bytes_never_do_more_than_fail() -> None:
    rng = random.Random(11)
    decoder = Decoder(writer_with(TREE), READER)
    messages = [rng.randbytes(rng.randrange(200)) for _ in range(5_000)]
    decoded = decoder.decode(*join(messages))
    assert len(decoded.columns["z"]) == decoded.status.tolist().count(0)


CLICKS = schemas.load("clicks")
MS = 1_767_225_600_123


@pytest.mark.parametrize(
    ("logical", "value", "expected"),
    [
        ("timestamp-micros", MS * 1_000 + 999, MS),
        ("timestamp-nanos", MS * 1_000_000 + 999_999, MS),
        ("timestamp-millis", MS, MS),
        ("local-timestamp-micros", MS * 1_000, MS),
        ("timestamp-micros", -1, -1),  # before 1970 too, towards the past
        (None, MS, MS),
    ],
)
@pytest.mark.parametrize("slowly", [False, True])
def test_times_are_read_in_the_readers_unit(
    logical: str | None, value: int, expected: int, slowly: bool
) -> None:
    writer = json.loads(CLICKS)
    kind: Any = "long" if logical is None else {"type": "long", "logicalType": logical}
    fields = {field["name"]: field for field in writer["fields"]}
    fields["timestamp"]["type"] = kind
    if slowly:
        fields["user_id"]["type"] = ["string", "int"]
    plain = json.loads(json.dumps(writer))
    next(f for f in plain["fields"] if f["name"] == "timestamp")["type"] = "long"
    click = {"user_id": "u", "item_id": "i", "event_type": "view", "timestamp": value}
    message = write(fastavro.parse_schema(plain), click)
    decoder = Decoder(json.dumps(writer), CLICKS)
    assert decoder.is_fast is not slowly
    decoded = decoder.decode(*join([message]))
    assert [row["timestamp"] for row in rows_of(decoded.columns, CLICKS)] == [expected]


def test_a_coarser_writer_is_multiplied_within_64_bits() -> None:
    def in_unit(unit: str) -> str:
        kind = {"type": "long", "logicalType": f"timestamp-{unit}"}
        return json.dumps({"type": "record", "name": "R", "fields": [{"name": "t", "type": kind}]})

    plain = {"type": "record", "name": "R", "fields": [{"name": "t", "type": "long"}]}
    decoder = Decoder(in_unit("millis"), in_unit("nanos"))
    times = (MS, -MS, 1 << 60)
    messages = [write(fastavro.parse_schema(plain), {"t": t}) for t in times]
    decoded = decoder.decode(*join(messages))
    assert [row["t"] for row in rows_of(decoded.columns, in_unit("nanos"))] == [
        MS * 1_000_000,
        -MS * 1_000_000,
    ]
    assert decoded.status.tolist()[2] != 0


@pytest.mark.parametrize("logical", ["date", "time-millis"])
def test_what_is_no_point_in_time_is_refused_by_name(logical: str) -> None:
    writer = json.loads(CLICKS)
    field = next(f for f in writer["fields"] if f["name"] == "timestamp")
    field["type"] = {"type": "int", "logicalType": logical}
    expected = rf"timestamp expected long \(timestamp-millis\), got int \({logical}\)"
    with pytest.raises(ResolutionError, match=expected):
        Decoder(json.dumps(writer), CLICKS)
