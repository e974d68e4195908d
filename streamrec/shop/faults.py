"""Records broken in known ways, each with the reason under which the main job must list it.

A fault takes a good click and its encoded value and returns what is sent instead. The key stays the
user's, so a broken record shares its partition with good ones of the same user.
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import fastavro

from streamrec.connectors.log import SchemaRegistry
from streamrec.connectors.making_topics import subject_of
from streamrec.dataflows.job.topics import CLICKS
from streamrec.schemas.header_ids import HEADER_BYTES

_DAY_MS = 24 * 60 * 60 * 1000
_UNKNOWN_ID = 2_000_000_011


def _schema_without(*dropped: str) -> str:
    schema = json.loads(CLICKS.schema)
    schema["fields"] = [field for field in schema["fields"] if field["name"] not in dropped]
    return json.dumps(schema)


# An older writer's schema that the current one can read: the optional fields were added later.
OLDER_SCHEMA = _schema_without("price_cents", "category_id", "session_id")
# Another team's: item_id is missing and has no default, so that no reader of clicks can resolve it.
FOREIGN_SCHEMA = _schema_without("item_id")


@dataclass(frozen=True, slots=True)
class SchemaIds:
    """Ids under which the registry knows the schemas that the shop writes with."""

    clicks: int
    older: int
    foreign: int

    @classmethod
    def of(cls, registry: SchemaRegistry, topic: str = CLICKS.name) -> "SchemaIds":
        """Find, or register, the three. The odd two have subjects of their own: `send` and others
        write with the newest schema of the topic's subject, which must stay the current one."""
        return cls(
            registry.register(subject_of(topic), CLICKS.schema).id,
            registry.register("shop-older-click", OLDER_SCHEMA).id,
            registry.register("shop-foreign-click", FOREIGN_SCHEMA).id,
        )


class GoodClick(NamedTuple):
    """What a fault starts from."""

    fields: dict[str, Any]  # as the schema names them
    value: bytes  # wire format


class ClickEncoder:
    """Clicks one by one, with any of the shop's schemas; for the odd record, not for the batch."""

    def __init__(self, ids: SchemaIds) -> None:
        self._schemas = {
            ids.clicks: fastavro.parse_schema(json.loads(CLICKS.schema)),
            ids.older: fastavro.parse_schema(json.loads(OLDER_SCHEMA)),
            ids.foreign: fastavro.parse_schema(json.loads(FOREIGN_SCHEMA)),
        }
        self.ids = ids

    def encode(self, fields: Mapping[str, Any], schema_id: int) -> bytes:
        out = io.BytesIO()
        out.write(wire_header(schema_id))
        fastavro.schemaless_writer(out, self._schemas[schema_id], dict(fields))
        return out.getvalue()


def wire_header(schema_id: int) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class ShopFault:
    """A way to be broken. `reason` None: odd, but good (an older writer)."""

    name: str
    reason: str | None  # one of those in schemas/errors.avsc
    make: Callable[[GoodClick, ClickEncoder], bytes | None]
    needs_past: bool = False  # only wrong once the partition has seen newer clicks


def _with(**changed: Any) -> Callable[[GoodClick, ClickEncoder], bytes]:
    """A click that is encoded well and holds a value which must not be."""

    def make(click: GoodClick, encoder: ClickEncoder) -> bytes:
        return encoder.encode({**click.fields, **changed}, encoder.ids.clicks)

    return make


def _shifted(shift_ms: int) -> Callable[[GoodClick, ClickEncoder], bytes]:
    def make(click: GoodClick, encoder: ClickEncoder) -> bytes:
        moved = {**click.fields, "timestamp": click.fields["timestamp"] + shift_ms}
        return encoder.encode(moved, encoder.ids.clicks)

    return make


def _in_microseconds(click: GoodClick, encoder: ClickEncoder) -> bytes:
    """The usual mistake of units: 56,000 years ahead."""
    moved = {**click.fields, "timestamp": click.fields["timestamp"] * 1000}
    return encoder.encode(moved, encoder.ids.clicks)


def _user_bytes(click: GoodClick) -> tuple[bytes, bytes, bytes]:
    """A value in three: before the bytes of user_id, those bytes, and after them."""
    n = len(click.fields["user_id"].encode())
    start = HEADER_BYTES + 1  # the length of a short string is one byte
    assert n < 64
    return click.value[:start], click.value[start : start + n], click.value[start + n :]


def _invalid_utf8(click: GoodClick, encoder: ClickEncoder) -> bytes:
    before, user, after = _user_bytes(click)
    return before + b"\xff" * len(user) + after


def _negative_length(click: GoodClick, encoder: ClickEncoder) -> bytes:
    before, user, after = _user_bytes(click)
    return before[:-1] + b"\x03" + user + after  # zigzag 3 is -2


def _enum_out_of_range(click: GoodClick, encoder: ClickEncoder) -> bytes:
    before, user, after = _user_bytes(click)
    type_at = 1 + len(click.fields["item_id"].encode())  # after item_id's length and bytes
    return before + user + after[:type_at] + b"\x50" + after[type_at + 1 :]  # zigzag: 40


def _union_out_of_range(click: GoodClick, encoder: ClickEncoder) -> bytes:
    bare = {**click.fields, "session_id": None}  # its branch is the last byte
    return encoder.encode(bare, encoder.ids.clicks)[:-1] + b"\x04"  # zigzag: branch 2 of 0 and 1


FAULTS: tuple[ShopFault, ...] = (
    ShopFault("older_schema", None, lambda click, e: e.encode(click.fields, e.ids.older)),
    ShopFault("not_avro", "not_wire_format", lambda click, e: json.dumps(click.fields).encode()),
    ShopFault("empty_value", "not_wire_format", lambda click, e: b""),
    ShopFault("tombstone", "not_wire_format", lambda click, e: None),
    ShopFault("header_only_begun", "not_wire_format", lambda click, e: click.value[:3]),
    ShopFault(
        "unknown_schema_id",
        "unknown_schema_id",
        lambda click, e: wire_header(_UNKNOWN_ID) + click.value[HEADER_BYTES:],
    ),
    ShopFault("truncated", "undecodable", lambda click, e: click.value[:-1]),
    ShopFault("no_body", "undecodable", lambda click, e: click.value[:HEADER_BYTES]),
    ShopFault("trailing_bytes", "undecodable", lambda click, e: click.value + b"\0\0"),
    ShopFault("invalid_utf8", "undecodable", _invalid_utf8),
    ShopFault("negative_length", "undecodable", _negative_length),
    ShopFault("enum_out_of_range", "undecodable", _enum_out_of_range),
    ShopFault("union_out_of_range", "undecodable", _union_out_of_range),
    ShopFault(
        "foreign_schema",
        "fails_resolution",
        lambda click, e: e.encode(click.fields, e.ids.foreign),
    ),
    ShopFault("empty_user", "invalid_value", _with(user_id="")),
    ShopFault("empty_item", "invalid_value", _with(item_id="")),
    ShopFault("long_item", "invalid_value", _with(item_id="x" * 257)),
    ShopFault("negative_price", "invalid_value", _with(price_cents=-1)),
    ShopFault("zero_time", "invalid_value", _with(timestamp=0)),
    ShopFault("microseconds", "invalid_value", _in_microseconds),
    ShopFault("too_late", "too_late", _shifted(-2 * _DAY_MS), needs_past=True),
)


def faults_named(names: set[str]) -> tuple[ShopFault, ...]:
    """A choice of faults, in the order of `FAULTS`."""
    unknown = names - {fault.name for fault in FAULTS}
    if unknown:
        raise ValueError(f"faults expected some of {[f.name for f in FAULTS]}, got {unknown!r}")
    return tuple(fault for fault in FAULTS if fault.name in names)
