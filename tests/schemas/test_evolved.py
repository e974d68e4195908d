"""Recommendations and scores got fields in 0.3: readers and writers of before go on."""

import io
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import pytest

from streamrec import schemas
from streamrec.connectors.embedded.registry import EmbeddedRegistry
from streamrec.connectors.log import IncompatibleSchemaError, Log
from streamrec.connectors.registry import ConfluentRegistry
from streamrec.schemas.columns import Bytes, Numbers
from streamrec.schemas.wire import WireDecoder, WireEncoder

BEFORE = Path(__file__).parent / "before"
TOPICS = ("recommendations", "scores")
ADDED = {
    "recommendations": {"recommendation_id": "clicks/1/2"},
    "scores": {"request_id": "clicks/1/2"},
}
OF_BOTH = {"experiment": "spring", "variant": "a", "propensity": 0.5, "mode": "shadow"}
AT = datetime(2026, 1, 1, tzinfo=UTC)
NONE = {"experiment": None, "variant": None, "propensity": None, "mode": "served"}


def before(name: str) -> str:
    return (BEFORE / f"{name}.avsc").read_text(encoding="utf-8")


def example(text: str) -> dict[str, Any]:
    """A record of a schema, without the fields of 0.3."""
    of_kind = {"string": "x", "int": 1, "long": 2, "float": 0.5, "array": []}
    kinds = {f["name"]: f["type"] for f in json.loads(text)["fields"]}
    return {
        name: AT if isinstance(kind, dict) and "logicalType" in kind else of_kind[_name(kind)]
        for name, kind in kinds.items()
    }


def _name(kind: Any) -> str:
    return str(kind["type"] if isinstance(kind, dict) else kind)


def through(writer: str, reader: str, record: dict[str, Any]) -> Any:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(writer)), record)
    out.seek(0)
    schema = fastavro.parse_schema(json.loads(reader))
    return fastavro.schemaless_reader(out, fastavro.parse_schema(json.loads(writer)), schema)


@pytest.mark.parametrize("name", TOPICS)
def test_readers_of_before_read_what_is_written_now(name: str) -> None:
    record = example(before(name))
    new = {**record, **ADDED[name], **OF_BOTH}
    assert through(schemas.load(name), before(name), new) == record


@pytest.mark.parametrize("name", TOPICS)
def test_readers_of_now_read_what_was_written_before(name: str) -> None:
    record = example(before(name))
    nothing = dict.fromkeys(ADDED[name])
    assert through(before(name), schemas.load(name), record) == {**record, **nothing, **NONE}


@pytest.mark.parametrize("name", TOPICS)
def test_our_own_decoder_reads_across_both_ways(name: str) -> None:
    texts = {1: before(name), 2: schemas.load(name)}
    record = example(before(name))
    values = []
    for number, text in texts.items():
        out = io.BytesIO()
        given = record if number == 1 else {**record, **ADDED[name], **OF_BOTH}
        fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(text)), given)
        values.append(b"\0" + number.to_bytes(4, "big") + out.getvalue())

    of = texts.__getitem__
    old = WireDecoder(texts[1], of).decode(values)  # type: ignore[arg-type]  # ids only
    assert old.failures == []
    # The two are the same to it, byte for byte.
    assert len(set(WireEncoder(texts[1], 1).encode(old.columns).values)) == 1

    new = WireDecoder(texts[2], of).decode(values)  # type: ignore[arg-type]  # ids only
    assert new.failures == []
    mode, chance = new.columns["mode"], new.columns["propensity"]
    assert isinstance(mode, Bytes)
    assert isinstance(chance, Numbers)
    assert [mode.bytes_at(row) for row in range(2)] == [b"served", b"shadow"]
    assert chance.valid is not None
    assert chance.valid.tolist() == [False, True]


@pytest.fixture
def registry(log: Log) -> Iterator[EmbeddedRegistry | ConfluentRegistry]:
    with closing(log.registry()) as found:
        assert isinstance(found, EmbeddedRegistry | ConfluentRegistry)
        yield found


@pytest.mark.parametrize("name", TOPICS)
def test_both_registries_take_it_as_the_next_version_and_the_old_one_after_it(
    registry: EmbeddedRegistry | ConfluentRegistry, topic_name: str, name: str
) -> None:
    registry.set_compatibility(topic_name, "BACKWARD")
    first = registry.register(topic_name, before(name))
    second = registry.register(topic_name, schemas.load(name))
    assert (first.version, second.version) == (1, 2)
    assert registry.register(topic_name, before(name)).version == 1
    with pytest.raises(IncompatibleSchemaError):
        fields = json.loads(schemas.load(name))
        fields["fields"].append({"name": "more", "type": "string"})
        registry.register(topic_name, json.dumps(fields))
