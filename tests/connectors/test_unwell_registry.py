"""A registry that is unwell, or a proxy before it, says nothing of a schema."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from streamrec.connectors.log import (
    IncompatibleSchemaError,
    RegistryUnavailableError,
    SchemaError,
    UnknownSchemaError,
)
from streamrec.connectors.registry import ConfluentRegistry
from tests.connectors.unwell_registry import (
    UnwellRegistry,
    Way,
    body,
    cut,
    html,
    redirect,
    refused,
    slow,
    unwell_registry,
)

SCHEMA = json.dumps({"type": "record", "name": "R", "fields": [{"name": "f", "type": "long"}]})
ID = "/schemas/ids/7"


@pytest.fixture
def server() -> Iterator[UnwellRegistry]:
    with unwell_registry() as registry:
        registry.schemas[7] = SCHEMA
        yield registry


@pytest.fixture
def registry(server: UnwellRegistry) -> Iterator[ConfluentRegistry]:
    with closing(ConfluentRegistry(server.url)) as found:
        yield found


@pytest.mark.parametrize(
    ("way", "said"),
    [
        (refused(401, 40101, "Unauthorized"), "401 'Unauthorized'; check SCHEMA_REGISTRY_USER_"),
        (refused(403, 40301, "Forbidden"), "403 'Forbidden'; check SCHEMA_REGISTRY_USER_INFO"),
        (refused(404, 404, "HTTP 404 Not Found"), "404 'HTTP 404 Not Found'; check the path"),
        (html(404), "404 '<html><body>Sign in, please"),
        (body(404, "[]"), "404"),
        (body(404, '{"message": "no error code"}'), "404 'no error code'"),
        (refused(429, 42901, "Too Many Requests"), "429 'Too Many Requests'"),
        (refused(500, 50001, "Error in the backend"), "500 'Error in the backend'"),
        (html(503), "503 '<html>"),
        (redirect("https://sign-in.example/"), "302 '; it points elsewhere"),
        (html(200), "200 '<html>"),
        (body(200, "[]"), "200 '[]'"),
        (body(200, ""), "200 ''"),
        (body(200, '{"id": 7}'), "200 without the field 'schema'"),
        (body(200, '{"schema": null}'), "200 without the field 'schema'"),
        (cut, "RemoteProtocolError"),
        (refused(500, 40403, "Schema not found"), "500"),  # a code alone is not believed
    ],
)
def test_what_is_not_the_registrys_own_answer_is_waited_for_and_forgotten(
    server: UnwellRegistry, registry: ConfluentRegistry, way: Way, said: str
) -> None:
    server.says(ID, way)
    with pytest.raises(RegistryUnavailableError) as caught:
        registry.by_id(7)
    assert said.replace("302 '", "302 ''") in str(caught.value)
    assert "schema id 7" in str(caught.value)
    server.says(ID, None)
    assert registry.by_id(7) == SCHEMA


@pytest.mark.parametrize("head", [False, True])
def test_an_answer_of_a_byte_a_second_is_given_up(
    server: UnwellRegistry, registry: ConfluentRegistry, head: bool
) -> None:
    server.says(ID, slow(SCHEMA, head=head))
    with pytest.raises(RegistryUnavailableError, match="no whole answer within 5 s"):
        registry.by_id(7)


def test_an_id_that_the_registry_itself_does_not_know_is_unknown(
    server: UnwellRegistry, registry: ConfluentRegistry
) -> None:
    with pytest.raises(UnknownSchemaError, match=r"schema id 8.*40403 'Schema not found'"):
        registry.by_id(8)
    assert server.asked.count("/schemas/ids/8") > 2  # a follower may lag


def test_an_id_that_a_lagging_follower_learns_a_little_later_is_found(
    server: UnwellRegistry, registry: ConfluentRegistry
) -> None:
    arrives = threading.Timer(0.7, lambda: server.schemas.update({8: SCHEMA}))
    arrives.start()
    assert registry.by_id(8) == SCHEMA


def test_garbage_that_makes_up_ids_is_asked_for_once_each(
    server: UnwellRegistry, registry: ConfluentRegistry
) -> None:
    for schema_id in range(100, 150):
        with pytest.raises(UnknownSchemaError):
            registry.by_id(schema_id)
    assert [server.asked.count(f"/schemas/ids/{i}") for i in range(101, 150)] == [1] * 49


def test_urls_are_tried_in_turn_and_the_one_that_answers_is_kept(server: UnwellRegistry) -> None:
    with (
        unwell_registry() as ill,
        closing(ConfluentRegistry(f"{ill.url}/, {server.url}")) as registry,
    ):
        ill.says("/", html(503))
        assert registry.by_id(7) == SCHEMA
        server.schemas[9] = SCHEMA
        assert registry.by_id(9) == SCHEMA
        assert (len(ill.asked), len(server.asked)) == (1, 2)
        server.says("/", refused(500, 50001, "Error"))
        ill.says("/", None)
        ill.schemas[10] = SCHEMA
        assert registry.by_id(10) == SCHEMA
        ill.says("/", html(503))
        with pytest.raises(RegistryUnavailableError) as caught:
            registry.by_id(11)
        assert ill.url in str(caught.value) and server.url in str(caught.value)


@pytest.fixture
def both(server: UnwellRegistry) -> Iterator[tuple[UnwellRegistry, ConfluentRegistry]]:
    """One that lags behind the server, and is asked first."""
    with (
        unwell_registry() as behind,
        closing(ConfluentRegistry(f"{behind.url},{server.url}")) as registry,
    ):
        yield behind, registry


def test_what_the_first_of_several_does_not_know_yet_the_others_are_asked_for(
    server: UnwellRegistry, both: tuple[UnwellRegistry, ConfluentRegistry]
) -> None:
    behind, registry = both
    server.subjects["clicks-value"] = [7]

    assert registry.by_id(7) == SCHEMA
    assert registry.latest("clicks-value").id == 7
    assert behind.asked == [ID], "the one that knew is asked first from then on"


def test_what_none_of_several_knows_is_unknown(
    server: UnwellRegistry, both: tuple[UnwellRegistry, ConfluentRegistry]
) -> None:
    behind, registry = both
    with pytest.raises(UnknownSchemaError, match=r"schema id 8: .*40403"):
        registry.by_id(8)
    assert server.asked.count("/schemas/ids/8") == behind.asked.count("/schemas/ids/8") > 2


def test_while_one_of_several_is_away_nothing_is_unknown(
    server: UnwellRegistry, both: tuple[UnwellRegistry, ConfluentRegistry]
) -> None:
    server.says("/", html(503))
    with pytest.raises(RegistryUnavailableError, match=r"503.*40403 'Schema not found'"):
        both[1].by_id(7)


def test_references_are_resolved_through_those_of_others(
    server: UnwellRegistry, registry: ConfluentRegistry
) -> None:
    money = {"type": "record", "name": "shop.Money", "fields": [{"name": "cents", "type": "long"}]}
    item = {
        "type": "record",
        "name": "Item",
        "namespace": "shop",
        "fields": [{"name": "id", "type": "string"}, {"name": "price", "type": "Money"}],
    }
    click = {
        "type": "record",
        "name": "Click",
        "namespace": "site",
        "fields": [
            {"name": "item", "type": "shop.Item"},
            {"name": "others", "type": {"type": "array", "items": "shop.Item"}},
            {"name": "paid", "type": ["null", "shop.Money"], "default": None},
        ],
    }
    to_money = {"name": "shop.Money", "subject": "money", "version": 3}
    to_item = {"name": "shop.Item", "subject": "item/v", "version": 1}
    server.versions["money", 3] = {"schema": json.dumps(money)}
    server.versions["item%2Fv", 1] = {"schema": json.dumps(item), "references": [to_money]}
    server.schemas[8] = json.dumps(click)
    server.references[8] = [to_item, to_money]
    found = json.loads(registry.by_id(8))
    whole_item = {
        "type": "record",
        "name": "shop.Item",
        "fields": [{"name": "id", "type": "string"}, {"name": "price", "type": money}],
    }
    assert found == {
        "type": "record",
        "name": "site.Click",
        "fields": [
            {"name": "item", "type": whole_item},
            {"name": "others", "type": {"type": "array", "items": "shop.Item"}},
            {"name": "paid", "type": ["null", "shop.Money"], "default": None},
        ],
    }


def test_a_reference_that_is_not_there_means_that_the_registry_is_unwell(
    server: UnwellRegistry, registry: ConfluentRegistry
) -> None:
    server.references[7] = [{"name": "x.Y", "subject": "gone", "version": 1}]
    with pytest.raises(RegistryUnavailableError, match="reference 'gone', 1"):
        registry.by_id(7)
    server.references[7] = [{"name": "x.Y"}]
    with pytest.raises(RegistryUnavailableError, match="references with subject and version"):
        registry.by_id(7)


def test_a_schema_of_another_kind_is_named(
    server: UnwellRegistry, registry: ConfluentRegistry
) -> None:
    server.says(ID, body(200, '{"schema": "syntax", "schemaType": "PROTOBUF"}'))
    with pytest.raises(SchemaError, match="expected an Avro schema, got 'PROTOBUF'"):
        registry.by_id(7)


def test_guids_are_asked_for_by_their_own_path(
    server: UnwellRegistry, registry: ConfluentRegistry
) -> None:
    guid = "12345678-1234-5678-1234-567812345678"
    server.guids[guid] = SCHEMA
    assert registry.by_guid(guid) == SCHEMA
    assert server.asked == [f"/schemas/guids/{guid}"]


def test_subjects_are_refused_by_the_registrys_own_word_only(
    server: UnwellRegistry, registry: ConfluentRegistry
) -> None:
    server.says("/subjects/", refused(404, 40401, "Subject not found"))
    with pytest.raises(UnknownSchemaError, match="register it with `topics create`"):
        registry.find("clicks-value", SCHEMA)
    server.says("/subjects/", html(404))
    with pytest.raises(RegistryUnavailableError, match="check the path"):
        registry.find("clicks-value", SCHEMA)
    server.says("/subjects/", body(200, '{"id": "1", "version": 1, "schema": "x"}'))
    with pytest.raises(RegistryUnavailableError, match="without the field 'id'"):
        registry.find("clicks-value", SCHEMA)
    server.says("/subjects/", refused(409, 409, "reader lacks a default"))
    with pytest.raises(IncompatibleSchemaError, match="reader lacks a default"):
        registry.register("clicks-value", SCHEMA)
    server.says("/subjects/", html(409))
    with pytest.raises(RegistryUnavailableError):
        registry.register("clicks-value", SCHEMA)
    server.says("/subjects/", refused(422, 42201, "Invalid schema"))
    with pytest.raises(SchemaError, match="Invalid schema"):
        registry.register("clicks-value", SCHEMA)


def test_an_id_that_no_registry_can_have_is_unknown_and_asks_nobody(
    server: UnwellRegistry, registry: ConfluentRegistry
) -> None:
    with pytest.raises(UnknownSchemaError, match="schema id 4294967295: expected an id up to"):
        registry.by_id(0xFFFFFFFF)


def test_a_registry_that_knows_of_no_guids_knows_none(
    server: UnwellRegistry, registry: ConfluentRegistry
) -> None:
    guid = "89791762-2336-186f-9674-299b90a802e2"
    server.says(f"/schemas/guids/{guid}", refused(404, 404, "HTTP 404 Not Found"))
    with pytest.raises(UnknownSchemaError, match=guid):
        registry.by_guid(guid)
