"""Batches of wire-format messages: good rows as columns, bad ones with their reason."""

import json
from typing import Any

import pytest
from codec_reference import parsed, rows_of, write

from streamrec import schemas
from streamrec.schemas.columns import Bytes
from streamrec.schemas.registry import RegistryUnavailableError, UnknownSchemaError
from streamrec.schemas.wire import WireDecoder, WireEncoder

CLICKS = schemas.load("clicks")


def click(i: int) -> dict[str, Any]:
    return {
        "user_id": f"user-{i}",
        "item_id": "ïtem",
        "event_type": "cart",
        "timestamp": 1_700_000_000_000 + i,
        "price_cents": i if i % 2 else None,
        "category_id": None,
        "session_id": "s",
    }


def message(i: int, schema_id: int = 7) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big") + write(parsed(CLICKS), click(i))


class Registry:
    """Schemas by id; counts the questions."""

    def __init__(self, known: dict[int, str]) -> None:
        self.known = known
        self.asked: list[int] = []
        self.down = False

    def __call__(self, schema_id: int) -> str:
        self.asked.append(schema_id)
        if self.down:
            raise RegistryUnavailableError("no answer")
        if schema_id not in self.known:
            raise UnknownSchemaError(f"no schema has id {schema_id}")
        return self.known[schema_id]


def test_clicks_decode_and_encode_to_the_same_bytes() -> None:
    values: list[bytes | None] = [message(i) for i in range(300)]
    decoded = WireDecoder(CLICKS, Registry({7: CLICKS})).decode(values)
    assert decoded.failures == []
    assert decoded.rows.tolist() == list(range(300))
    assert WireEncoder(CLICKS, 7).encode(decoded.columns).values == values
    users = decoded.columns["user_id"]
    assert isinstance(users, Bytes)
    assert users.bytes_at(299) == b"user-299"


def test_poison_in_mid_batch_is_reported_with_its_reason() -> None:
    bad: list[bytes | None] = [
        None,
        b"",
        b"\0\0\0\0",
        b"\1" + message(0)[1:],
        message(0, 99),
        message(0)[:-1],
        message(0) + b"!",
    ]
    values = [value for i, junk in enumerate(bad) for value in (message(i), junk)]
    decoded = WireDecoder(CLICKS, Registry({7: CLICKS})).decode(values)
    assert decoded.rows.tolist() == [0, 2, 4, 6, 8, 10, 12]
    users = decoded.columns["user_id"]
    assert isinstance(users, Bytes)
    assert [users.bytes_at(i) for i in range(7)] == [b"user-%d" % i for i in range(7)]
    assert [(failure.row, failure.reason) for failure in decoded.failures] == [
        (1, "not_wire_format"),
        (3, "not_wire_format"),
        (5, "not_wire_format"),
        (7, "not_wire_format"),
        (9, "unknown_schema_id"),
        (11, "undecodable"),
        (13, "undecodable"),
    ]
    assert "got null" in decoded.failures[0].message
    assert "got 99" in decoded.failures[4].message
    size = len(message(0))
    assert decoded.failures[5].message == (
        f"field session_id expected more bytes, got b'\\x02\\x02' at byte {size - 3} of {size - 1}"
    )
    assert decoded.failures[6].message == (
        f"record expected the end of the message, got b'!' at byte {size} of {size + 1}"
    )


def test_unknown_id_is_asked_for_again_after_a_time() -> None:
    now = [0.0]
    registry = Registry({7: CLICKS})
    decoder = WireDecoder(CLICKS, registry, unknown_kept_s=30, clock=lambda: now[0])
    for now[0] in (0.0, 10.0, 29.0):
        assert len(decoder.decode([message(1), message(2, 8)]).failures) == 1
    assert registry.asked == [7, 8]
    registry.known[8] = CLICKS
    now[0] = 31.0
    assert decoder.decode([message(1), message(2, 8)]).failures == []
    decoder.decode([message(1), message(2, 8)])
    assert registry.asked == [7, 8, 8]


def test_registry_that_is_down_stops_only_batches_with_new_ids() -> None:
    registry = Registry({7: CLICKS, 8: CLICKS})
    decoder = WireDecoder(CLICKS, registry)
    decoder.decode([message(1)])
    registry.down = True
    assert len(decoder.decode([message(1)]).rows) == 1
    with pytest.raises(RegistryUnavailableError):
        decoder.decode([message(1), message(2, 8)])
    registry.down = False
    assert len(decoder.decode([message(1), message(2, 8)]).rows) == 2


def test_writer_that_cannot_be_resolved_fails_its_messages_only() -> None:
    other = json.dumps({"type": "record", "name": "Click", "fields": []})
    registry = Registry({7: CLICKS, 8: other, 9: "not a schema"})
    values: list[bytes | None] = [message(1), b"\0\0\0\0\x08", message(2), b"\0\0\0\0\x09"]
    decoded = WireDecoder(CLICKS, registry).decode(values)
    assert decoded.rows.tolist() == [0, 2]
    assert [(f.reason, f.exception) for f in decoded.failures] == [
        ("fails_resolution", "ResolutionError"),
        ("fails_resolution", "InvalidSchemaError"),
    ]
    assert "schema id 8: field user_id expected a value or a default" in decoded.failures[0].message


def test_symbol_from_a_newer_writer_is_read_as_the_default() -> None:
    newer = json.loads(CLICKS)
    newer["fields"][2]["type"]["symbols"].insert(0, "wishlist")
    newer["fields"].append({"name": "added", "type": "double"})
    text = json.dumps(newer)
    value = write(parsed(text), click(1) | {"event_type": "wishlist", "added": 0.5})
    registry = Registry({7: CLICKS, 300: text})
    values: list[bytes | None] = [message(1), b"\0\0\0\1\x2c" + value]
    decoded = WireDecoder(CLICKS, registry).decode(values)
    rows = rows_of(decoded.columns, CLICKS)
    assert [row["event_type"] for row in rows] == [1, 4]


def test_batch_of_no_messages_is_empty() -> None:
    decoded = WireDecoder(CLICKS, Registry({})).decode([])
    assert len(decoded.rows) == 0
    assert len(decoded.columns["user_id"]) == 0


def test_values_that_are_not_bytes_are_a_mistake() -> None:
    values: list[Any] = ["text"]
    with pytest.raises(SystemError) as raised:
        WireDecoder(CLICKS, Registry({})).decode(values)
    assert isinstance(raised.value.__cause__, TypeError)


@pytest.mark.parametrize("schema_id", [-1, 1 << 32])
def test_schema_id_must_fit_the_header(schema_id: int) -> None:
    with pytest.raises(ValueError, match="schema id expected 0 to"):
        WireEncoder(CLICKS, schema_id)


@pytest.mark.parametrize("name", schemas.NAMES)
def test_every_field_of_every_schema_is_documented(name: str) -> None:
    def undocumented(node: Any, path: str) -> list[str]:
        if isinstance(node, list):
            return [found for branch in node for found in undocumented(branch, path)]
        if not isinstance(node, dict):
            return []
        missing = []
        for field in node.get("fields", []):
            if not field.get("doc", "").strip():
                missing.append(f"{path}.{field['name']}")
            missing += undocumented(field["type"], f"{path}.{field['name']}")
        return missing + undocumented(node.get("items"), path)

    schema = json.loads(schemas.load(name))
    assert schema["doc"]
    assert undocumented(schema, name) == []


@pytest.mark.parametrize("name", schemas.NAMES)
def test_every_schema_is_covered_by_the_kernels(name: str) -> None:
    text = schemas.load(name)
    empty = WireDecoder(text, Registry({})).decode([])
    assert WireEncoder(text, 1).encode(empty.columns).values == []


def test_unknown_schema_name_is_refused() -> None:
    with pytest.raises(KeyError, match="schema expected one of"):
        schemas.load("nothing")
