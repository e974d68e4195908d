"""JSON to Avro, one record at a time: the short way says what the long one does."""

import io
import itertools
import json
from typing import Any

import fastavro
import pytest

from streamrec.schemas.json_codec import JsonEncoder, MisfitError

SCHEMA = {
    "type": "record",
    "name": "R",
    "fields": [
        {"name": "text", "type": "string"},
        {"name": "kind", "type": {"type": "enum", "name": "K", "symbols": ["a", "b"]}},
        {"name": "long", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "int", "type": ["null", "int"], "default": None},
        {"name": "float", "type": ["null", "double"], "default": None},
    ],
}
PLAIN: dict[str, Any] = {"text": "t", "kind": "a", "long": 1}
GOOD = [
    {},
    {"text": "ü"},
    {"long": -(2**63)},
    {"int": None},
    {"int": 2**31 - 1, "float": 1},
    {"float": 1.5},
    {"kind": "b", "int": 0},
]
BAD = [
    ({"text": None}, "text"),
    ({"text": "\ud800"}, "text"),
    ({"kind": "c"}, "kind"),
    ({"kind": ["a"]}, "kind"),
    ({"long": True}, "long"),
    ({"long": 2**63}, "long"),
    ({"long": 1.0}, "long"),
    ({"int": 2**31}, "int"),
    ({"float": "1"}, "float"),
    ({"more": 1}, ""),
]


@pytest.mark.parametrize("changed", GOOD)
def test_a_record_that_fits_is_what_fastavro_writes(changed: dict[str, Any]) -> None:
    value = {**PLAIN, **changed}
    expected = io.BytesIO()
    plain = json.loads(json.dumps(SCHEMA).replace(', "logicalType": "timestamp-millis"', ""))
    fastavro.schemaless_writer(expected, fastavro.parse_schema(plain), value)
    encoded = JsonEncoder(json.dumps(SCHEMA), 7).encode(value)
    assert encoded == b"\0\0\0\0\x07" + expected.getvalue()


@pytest.mark.parametrize(("changed", "field"), BAD)
def test_a_record_that_does_not_names_its_field(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(MisfitError) as caught:
        JsonEncoder(json.dumps(SCHEMA), 7).encode({**PLAIN, **changed})
    assert caught.value.field == field


def test_what_must_be_there_is_missed() -> None:
    for count in range(3):
        for names in itertools.combinations(PLAIN, count):
            with pytest.raises(MisfitError, match="got nothing"):
                JsonEncoder(json.dumps(SCHEMA), 7).encode({name: PLAIN[name] for name in names})
