"""What every schema registry promises, on each back end."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from streamrec.connectors.embedded.registry import EmbeddedRegistry
from streamrec.connectors.log import (
    IncompatibleSchemaError,
    Log,
    RegistryUnavailableError,
    SchemaError,
    UnknownSchemaError,
)
from streamrec.connectors.registry import ConfluentRegistry
from tests.conftest import KafkaPair
from tests.connectors.forwarding import Forwarder

Registry = EmbeddedRegistry | ConfluentRegistry


def record(name: str, **types: object) -> str:
    fields = [
        {"name": field, **(kind if isinstance(kind, dict) and "type" in kind else {"type": kind})}
        for field, kind in types.items()
    ]
    return json.dumps({"type": "record", "name": name, "fields": fields})


@pytest.fixture
def registry(log: Log) -> Iterator[Registry]:
    with closing(log.registry()) as found:
        assert isinstance(found, EmbeddedRegistry | ConfluentRegistry)
        yield found


def test_a_registered_schema_is_found_by_id_and_by_subject(
    registry: Registry, topic_name: str
) -> None:
    subject = f"{topic_name}-value"
    schema = record("click", item="string")
    found = registry.register(subject, schema)
    assert (found.subject, found.version) == (subject, 1)
    assert json.loads(registry.by_id(found.id)) == json.loads(schema)
    latest = registry.latest(subject)
    assert (latest.version, latest.id) == (1, found.id)


def test_registering_again_changes_nothing(registry: Registry, topic_name: str) -> None:
    schema = record("click", item="string")
    first = registry.register(topic_name, schema)
    again = registry.register(topic_name, json.dumps(json.loads(schema), indent=2))
    assert (again.version, again.id) == (first.version, first.id)


def test_a_compatible_schema_becomes_the_next_version(registry: Registry, topic_name: str) -> None:
    registry.set_compatibility(topic_name, "BACKWARD")
    first = registry.register(topic_name, record("click", item="string"))
    second = registry.register(
        topic_name, record("click", item="string", price={"type": "int", "default": 0})
    )
    assert second.version == 2
    assert second.id != first.id
    assert registry.latest(topic_name).id == second.id
    assert json.loads(registry.by_id(first.id))["fields"][0]["name"] == "item"
    old = registry.register(topic_name, record("click", item="string"))
    assert (old.version, old.id) == (1, first.id)


def test_an_incompatible_schema_is_refused_and_the_break_is_named(
    registry: Registry, topic_name: str
) -> None:
    registry.set_compatibility(topic_name, "BACKWARD")
    registry.register(topic_name, record("click", item="string"))
    with pytest.raises(IncompatibleSchemaError, match=r"price|fields/1"):
        registry.register(topic_name, record("click", item="string", price="int"))
    with pytest.raises(IncompatibleSchemaError, match=r"item|fields/0"):
        registry.register(topic_name, record("click", item="int"))
    assert registry.latest(topic_name).version == 1


def test_the_rule_of_a_subject_can_be_chosen(registry: Registry, topic_name: str) -> None:
    grown = record("click", item="string", price="int")
    for level, allowed in (("FORWARD", True), ("FULL", False), ("NONE", True)):
        subject = f"{topic_name}-{level}"
        registry.set_compatibility(subject, level)
        registry.register(subject, record("click", item="string"))
        if allowed:
            assert registry.register(subject, grown).version == 2
        else:
            with pytest.raises(IncompatibleSchemaError):
                registry.register(subject, grown)


def test_one_schema_has_one_id_under_every_subject(registry: Registry, topic_name: str) -> None:
    schema = record("shared", field="long")
    ids = {registry.register(f"{topic_name}-{suffix}", schema).id for suffix in "ab"}
    assert len(ids) == 1


def test_what_is_not_registered_is_named(registry: Registry, topic_name: str) -> None:
    with pytest.raises(UnknownSchemaError, match="987654"):
        registry.by_id(987_654)
    with pytest.raises(UnknownSchemaError, match=topic_name):
        registry.latest(topic_name)


def test_what_is_no_schema_is_refused(registry: Registry, topic_name: str) -> None:
    for text in ("{nope", '{"type": "record", "name": "x"}', '{"type": "nosuch"}'):
        with pytest.raises(SchemaError):
            registry.register(topic_name, text)


def test_a_registry_that_is_not_there_is_unavailable_in_bounded_time() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with closing(ConfluentRegistry(f"http://user:geheim@127.0.0.1:{port}/x")) as registry:
        start = time.monotonic()
        with pytest.raises(RegistryUnavailableError, match="check SCHEMA_REGISTRY_URL") as caught:
            registry.by_id(1)
        assert time.monotonic() - start < 10
        assert "geheim" not in str(caught.value)


def test_a_registry_that_hangs_is_unavailable_in_bounded_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        with closing(ConfluentRegistry(f"http://127.0.0.1:{port}")) as registry:
            start = time.monotonic()
            with pytest.raises(RegistryUnavailableError, match="no whole answer within 5 s"):
                registry.latest("clicks-value")
            assert time.monotonic() - start < 15


@pytest.mark.kafka
def test_known_schemas_are_read_while_the_registry_is_away(
    kafka_pair: KafkaPair, topic_name: str
) -> None:
    parts = urlsplit(kafka_pair.registry_url)
    assert parts.hostname is not None and parts.port is not None
    with closing(Forwarder(parts.hostname, parts.port)) as way:
        by_way = parts._replace(netloc=f"127.0.0.1:{way.port}").geturl()
        with closing(ConfluentRegistry(by_way)) as registry:
            found = registry.register(topic_name, record("click", item="string"))
            text = registry.by_id(found.id)
            with way.held():
                assert registry.by_id(found.id) == text
                with pytest.raises(RegistryUnavailableError):
                    registry.latest(topic_name)
            assert registry.latest(topic_name).id == found.id
