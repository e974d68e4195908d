"""Schema ids in headers: the newer wire format of Confluent's clients."""

import json
import re
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from codec_reference import parsed, rows_of, write
from test_wire import CLICKS, Registry, click, message

from streamrec.schemas.header_ids import SchemaKey, key_in
from streamrec.schemas.json_codec import JsonDecoder, UnreadableError
from streamrec.schemas.registry import UnknownSchemaError
from streamrec.schemas.wire import Decoded, WireDecoder

GUID = "01234567-89ab-cdef-0123-456789abcdef"
OTHER = "fedcba98-7654-3210-fedc-ba9876543210"
Headers = list[tuple[str, bytes | None]]


def by_guid(guid: str) -> Headers:
    return [("trace", b"x"), ("__value_schema_id", b"\1" + uuid.UUID(guid).bytes)]


def by_id(schema_id: int) -> Headers:
    return [("__value_schema_id", b"\0" + schema_id.to_bytes(4, "big"))]


def bare(i: int) -> bytes:
    return write(parsed(CLICKS), click(i))


class Schemas:
    """By id and GUID; counts the questions."""

    def __init__(self, known: dict[SchemaKey, str]) -> None:
        self.known = known
        self.asked: list[SchemaKey] = []

    def __call__(self, key: SchemaKey) -> str:
        self.asked.append(key)
        if key not in self.known:
            raise UnknownSchemaError(f"no schema {key}")
        return self.known[key]


def decode(schemas: Schemas, *records: tuple[bytes | None, Headers]) -> Decoded:
    headers = [headers for _, headers in records]
    return WireDecoder(CLICKS, schemas).decode([value for value, _ in records], headers.__getitem__)


def users(decoded: Decoded) -> list[bytes]:
    return [row["user_id"] for row in rows_of(decoded.columns, CLICKS)]


def test_values_are_read_by_the_guid_or_the_id_in_their_header() -> None:
    schemas = Schemas({7: CLICKS, GUID: CLICKS})
    decoded = decode(
        schemas,
        (bare(0), by_guid(GUID)),
        (message(1), []),
        (bare(2), by_id(7)),
        (bare(3), by_guid(GUID)),
        (message(4), [("other", b"1")]),
    )
    assert decoded.failures == []
    assert users(decoded) == [b"user-%d" % i for i in range(5)]
    assert sorted(map(str, schemas.asked)) == sorted(["7", GUID])


def test_headers_are_looked_at_only_where_the_prefix_cannot_be_read() -> None:
    asked: list[int] = []

    def headers(row: int) -> Headers:
        asked.append(row)
        return by_guid(GUID)

    decoder = WireDecoder(CLICKS, Schemas({7: CLICKS, GUID: CLICKS}))
    decoder.decode([message(0)], lambda row: [])
    values: list[bytes | None] = [message(1), bare(2), None, message(3)]
    decoded = decoder.decode(values, headers)
    assert decoded.rows.tolist() == [0, 1, 3]
    assert asked == [1]


def test_headers_of_another_record_do_not_harm_a_value_with_a_prefix() -> None:
    # As when a program passes on the headers that it got and writes the value anew.
    newer = json.loads(CLICKS)
    newer["fields"].insert(0, {"name": "added", "type": "double"})
    schemas = Schemas({7: CLICKS, GUID: json.dumps(newer)})
    records = [(message(i), by_guid(GUID)) for i in range(3)]
    for decoded in (decode(schemas, *records), decode(schemas, (message(0), by_guid(OTHER)))):
        assert decoded.failures == []
    assert users(decode(schemas, *records)) == [b"user-0", b"user-1", b"user-2"]


def test_a_value_that_begins_like_a_prefix_is_read_by_its_header() -> None:
    nullable = json.loads(CLICKS)
    fields = nullable["fields"]
    fields.insert(0, {"name": "first", "type": ["null", "int"]})
    text = json.dumps(nullable)
    value = write(parsed(text), click(1) | {"first": None})
    assert value[0] == 0
    decoded = decode(Schemas({GUID: text}), (value, by_guid(GUID)), (value, []))
    assert users(decoded) == [b"user-1"]
    assert [(f.row, f.reason) for f in decoded.failures] == [(1, "unknown_schema_id")]


@pytest.mark.parametrize(
    ("value", "headers", "reason", "said"),
    [
        (bare(1), by_guid(OTHER), "unknown_schema_id", f"schema GUID expected.*got '{OTHER}'"),
        (
            bare(1)[:-1],
            by_guid(GUID),
            "undecodable",
            "expected more bytes, got .* at byte 23 of 25",
        ),
        (
            bare(1) + b"!",
            by_guid(GUID),
            "undecodable",
            "end of the message, got b'!' at byte 26",
        ),
        (bare(1), [("__value_schema_id", b"\1short")], "not_wire_format", "magic byte 0"),
        (bare(1), [("__value_schema_id", None)], "not_wire_format", "magic byte 0"),
        (bare(1), [("__key_schema_id", b"\1" + bytes(16))], "not_wire_format", "magic byte 0"),
        (None, by_guid(GUID), "not_wire_format", "got null"),
        (bare(1), by_guid("0" * 32), "fails_resolution", "schema GUID 00000000-.*: not an Avro"),
    ],
)
def test_what_cannot_be_read_by_its_header_either_is_named(
    value: bytes | None, headers: Headers, reason: str, said: str
) -> None:
    nothing = str(uuid.UUID("0" * 32))
    schemas = Schemas({7: CLICKS, GUID: CLICKS, nothing: "no schema"})
    decoded = decode(schemas, (message(0), []), (value, headers), (bare(2), by_guid(GUID)))
    assert users(decoded) == [b"user-0", b"user-2"]
    [failure] = decoded.failures
    assert (failure.row, failure.reason) == (1, reason)
    assert re.search(said, failure.message), failure.message


def test_a_writer_beyond_the_kernel_is_read_by_its_guid_too() -> None:
    odd = json.loads(CLICKS)
    odd["fields"][0]["type"] = ["string", "int"]
    text = json.dumps(odd)
    value = write(parsed(text), click(5))
    schemas = Schemas({7: CLICKS, GUID: text})
    decoded = decode(schemas, (message(0), []), (value, by_guid(GUID)), (value[:-1], by_guid(GUID)))
    assert users(decoded) == [b"user-0", b"user-5"]
    assert [(f.row, f.reason) for f in decoded.failures] == [(2, "undecodable")]


def test_ids_that_stand_for_guids_are_never_those_of_other_messages() -> None:
    schemas = Schemas({GUID: CLICKS})
    records: list[tuple[bytes | None, Headers]] = [(message(i, i), []) for i in range(50)]
    decoded = decode(schemas, *records, (bare(99), by_guid(GUID)))
    assert users(decoded) == [b"user-99"]
    assert len(decoded.failures) == 50


def test_json_is_read_by_headers_too() -> None:
    decoder = JsonDecoder(Schemas({7: CLICKS, GUID: CLICKS}))
    assert decoder.decode(bare(1), by_guid(GUID))["user_id"] == "user-1"
    assert decoder.decode(message(2), by_guid(OTHER))["user_id"] == "user-2"
    assert decoder.decode(message(3))["user_id"] == "user-3"
    with pytest.raises(UnreadableError, match="schema GUID"):
        decoder.decode(bare(1)[:-1], by_guid(GUID))
    with pytest.raises(UnreadableError, match="wire format"):
        decoder.decode(bare(1))
    with pytest.raises(UnreadableError, match="an Avro schema under schema id 8"):
        JsonDecoder(Registry({8: "<html>"})).decode(message(1, 8))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("__value_schema_id", b"\1" + uuid.UUID(GUID).bytes), ("__value_schema_id", b"")], GUID),
        ([("__value_schema_id", b"\0\0\0\1\0")], 256),
        ([("__value_schema_id", b"\2" + bytes(16))], None),
        ([], None),
    ],
)
def test_the_first_header_counts_as_it_does_for_confluents_clients(
    headers: Sequence[Any], expected: SchemaKey | None
) -> None:
    assert key_in(headers) == expected
