"""The field `served` of outputs in Avro, and places as texts."""

import io
import json

import fastavro
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrec.schemas.columns import Columns, Numbers, strings
from streamrec.schemas.place_texts import place_texts
from streamrec.schemas.served import ServedBy, encoding_of, served_columns, with_served
from streamrec.schemas.wire import WireDecoder, WireEncoder

ANSWER = json.dumps(
    {
        "type": "record",
        "name": "Answer",
        "namespace": "of.somebody",
        "fields": [{"name": "species", "type": "string"}, {"name": "p", "type": "double"}],
    }
)
PLACES = np.array([[0, 5], [3, 2**40]])


def written(by: ServedBy, chances: list[float] | None) -> list[bytes | None]:
    served = served_columns(
        by,
        place_texts("flowers", PLACES),
        12,
        "flowers",
        PLACES,
        None if chances is None else np.array(chances),
    )
    own: Columns = {"species": strings(["setosa", "other"]), "p": Numbers(np.array([0.5, 1.0]))}
    return [*WireEncoder(encoding_of(with_served(ANSWER)), 7).encode({**own, **served}).values]


def avro_of(value: bytes | None) -> bytes:
    """Without the header of the wire format."""
    assert value is not None
    return value[5:]


def test_what_columns_write_is_read_by_the_registered_schema() -> None:
    schema = fastavro.parse_schema(json.loads(with_served(ANSWER)))
    by = ServedBy("iris", "1.3", "iris-test", "b")
    found = [
        fastavro.schemaless_reader(io.BytesIO(avro_of(value)), schema, None)
        for value in written(by, [0.25, float("nan")])
    ]
    assert found[0] == {
        "species": "setosa",
        "p": 0.5,
        "served": {
            "request_id": "flowers/0/5",
            "model": "iris",
            "version": "1.3",
            "experiment": "iris-test",
            "variant": "b",
            "propensity": 0.25,
            "mode": "served",
            "took_us": 12,
            "source_topic": "flowers",
            "source_partition": 0,
            "source_offset": 5,
        },
    }
    assert isinstance(found[1], dict)
    assert found[1]["served"]["propensity"] is None
    assert found[1]["served"]["source_offset"] == 2**40


def test_without_an_experiment_its_fields_are_null() -> None:
    schema = fastavro.parse_schema(json.loads(with_served(ANSWER)))
    by = ServedBy("iris", "1.3", mode="shadow")
    (found, _) = [
        fastavro.schemaless_reader(io.BytesIO(avro_of(value)), schema, None)
        for value in written(by, None)
    ]
    assert isinstance(found, dict)
    told = found["served"]
    assert (told["experiment"], told["variant"], told["propensity"]) == (None, None, None)
    assert told["mode"] == "shadow"


def test_who_knows_nothing_of_it_reads_on_and_who_does_reads_those_without() -> None:
    of = {7: with_served(ANSWER), 8: ANSWER}.__getitem__
    old = WireDecoder(ANSWER, of)
    read = old.decode(written(ServedBy("iris", "1.3"), None))
    assert read.failures == []
    assert read.columns["p"].values.tolist() == [0.5, 1.0]  # type: ignore[union-attr]  # numbers

    own: Columns = {"species": strings(["setosa"]), "p": Numbers(np.array([0.5]))}
    value = WireEncoder(ANSWER, 8).encode(own).values[0]
    readers = fastavro.parse_schema(json.loads(with_served(ANSWER)))
    writers = fastavro.parse_schema(json.loads(ANSWER))
    found = fastavro.schemaless_reader(io.BytesIO(avro_of(value)), writers, readers)
    assert found == {"species": "setosa", "p": 0.5, "served": None}


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ('"string"', "schema of outputs expected a record, got 'string'"),
        ('{"type": "map", "values": "int"}', "schema of outputs expected a record, got 'map'"),
        (with_served(ANSWER), "schema of outputs expected no field 'served', which is ours, got"),
    ],
)
def test_what_cannot_have_it_is_refused(schema: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        with_served(schema)


_PLACE = st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1))


@given(st.text(max_size=20), st.lists(_PLACE, max_size=20))
def test_places_are_written_as_python_writes_them(
    topic: str, places: list[tuple[int, int]]
) -> None:
    found = place_texts(topic, np.array(places, np.int64).reshape(-1, 2))
    expected = [f"{topic}/{partition}/{offset}".encode() for partition, offset in places]
    assert [found.bytes_at(row) for row in range(len(found))] == expected
