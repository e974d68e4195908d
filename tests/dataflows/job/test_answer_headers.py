"""What tells a record in headers beside it, and what a record keeps of its input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main

from streamrec import PaperJob, Records, StartError, Topic, batch_of, each_batch
from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.connectors.log import NO_TIMESTAMP_MS, Detail, Headers, RawBatch
from streamrec.connectors.out import Out, OutputId, Sources
from streamrec.connectors.partitioner import partition_for_key
from streamrec.connectors.patience import Patience
from streamrec.dataflows.job.answers import id_in, projection, type_at, with_ids
from streamrec.dataflows.job.encoding import Encode, EncodeOptions
from streamrec.dataflows.job.reading_back import ids_reader
from streamrec.dataflows.job.topics import ERRORS
from streamrec.schemas.columns import Numbers, strings
from streamrec.schemas.json_codec import JsonEncoder
from streamrec.schemas.plain import JsonTextEncoder
from streamrec.schemas.wire import WireEncoder
from tests.dataflows.named_models import decode

ASKED = Topic("asked", format="json")
TOLD = Topic("told", format="json", answers="headers")


def job_with(records: list[Any], **given: Any) -> PaperJob:
    return PaperJob("telling", {"asked": [batch_of(ASKED, records, partition=3, **given)]})


def run(job: PaperJob, told: Topic = TOLD, records_of: Any = None) -> list[Out]:
    """Answer each input with itself; returns what was written."""

    def columns_of(items: list[Any]) -> Any:
        for batch, rows in items:
            yield (records_of or kept)(batch, rows, batch.origins.originals(rows))

    def kept(batch: Any, rows: Any, found: list[tuple[bytes, Detail]]) -> Records:
        return Records(
            {},
            batch,
            rows,
            keys=[detail.key for _, detail in found],
            values=[value for value, _ in found],
            headers=[detail.headers for _, detail in found],
            times_ms=np.array([detail.timestamp_ms for _, detail in found]),
        )

    flow = Dataflow("telling")
    decoded = each_batch("decode", job.read(flow, ASKED), decode, failing="bad")
    unencodable = job.write(decoded.good, told, columns_of, failing="unencodable")
    job.write_errors(decoded.failed, unencodable)
    run_main(flow)  # type: ignore[no-untyped-call]  # bytewax leaves it so
    return [out for _, out in job.written[told.name]]


def rows_of(outs: list[Out]) -> dict[bytes, tuple[bytes | None, int, dict[str, bytes | None], int]]:
    """By value: key, partition, headers and time."""
    found = {}
    for out in outs:
        assert out.headers is not None
        assert out.times_ms is not None
        for row, value in enumerate(out.values):
            headers = dict(out.headers[row])
            assert len(headers) == len(out.headers[row])
            found[value] = out.keys[row], out.partition, headers, int(out.times_ms[row])
    return found


def test_key_headers_and_time_of_an_input_are_kept_and_its_place_is_told() -> None:
    headers: list[Headers] = [
        [("trace", b"1"), ("streamrec-source", b"before/0/7"), ("empty", None)],
        [],
    ]
    job = job_with([1, 2], keys=[b"k", b""], headers=headers, times_ms=[5_000, NO_TIMESTAMP_MS])
    assert rows_of(run(job)) == {
        b"1": (
            b"k",
            partition_for_key(b"k", 8),
            {
                "trace": b"1",
                "empty": None,
                "streamrec-source": b"asked/3/0",
                "streamrec-dataflow": b"telling",
            },
            5_000,
        ),
        b"2": (
            b"",
            partition_for_key(b"", 8),
            {"streamrec-source": b"asked/3/1", "streamrec-dataflow": b"telling"},
            NO_TIMESTAMP_MS,
        ),
    }


def test_what_has_no_key_goes_by_the_partition_of_its_input_in_order() -> None:
    job = PaperJob(
        "telling",
        {
            "asked": [
                batch_of(ASKED, [f"{p}-{n}" for n in range(3)], partition=p, keys=[None] * 3)
                for p in (1, 9, 6)
            ]
        },
    )
    by_partition: dict[int, list[Any]] = {}
    for out in run(job):
        assert set(out.keys) == {None}
        by_partition.setdefault(out.partition, []).extend(map(json.loads, out.values))
    assert {p: sorted(values) for p, values in by_partition.items()} == {
        1: ["1-0", "1-1", "1-2", "9-0", "9-1", "9-2"],
        6: ["6-0", "6-1", "6-2"],
    }
    for values in by_partition.values():
        for source in "1", "9", "6":
            own = [value for value in values if value.startswith(source)]
            assert own == sorted(own)


def test_headers_count_for_the_size_of_a_record_and_stay_with_theirs() -> None:
    long = "x" * 600_000
    headers: list[Headers] = [[("h", str(n).encode())] for n in range(3)]
    headers[1] = [("h", b"y" * 500_000)]
    job = job_with([long + str(n) for n in range(3)], keys=[b"k"] * 3, headers=headers)
    found = rows_of(run(job))
    assert [(json.loads(v)[-1], row[2]["h"]) for v, row in found.items()] == [
        ("0", b"0"),
        ("2", b"2"),
    ]
    (error,) = job.records(ERRORS)
    assert (error["offset"], error["reason"]) == (1, "output_too_large")
    assert "expected at most 1000000 bytes, got 1100" in error["message"]


def test_lists_of_another_length_are_told() -> None:
    def short(batch: Any, rows: Any, found: Any) -> Records:
        return Records({}, batch, rows, keys=[b"k"] * 2, values=[b"1"])

    with pytest.raises(Exception) as raised:
        run(job_with([1, 2], keys=[b"a", b"b"]), records_of=short)
    told = []
    error: BaseException | None = raised.value
    while error is not None:
        told.append(str(error))
        error = error.__cause__
    assert any("values expected 2, one for each record, got 1" in text for text in told), told


def test_columns_may_hold_null_keys() -> None:
    encode = Encode(
        lambda items: items, JsonTextEncoder, lambda: 4, EncodeOptions("key", 1_000, False, False)
    )
    columns = {"key": strings([b"a", None]), "value": strings(["1", "2"])}
    outs = [out for out in encode([Records({**columns})]) if isinstance(out, Out)]
    assert sorted(key or b"none" for out in outs for key in out.keys) == [b"a", b"none"]


def test_an_output_is_found_by_its_headers() -> None:
    sources = Sources(np.array([[1, 2], [3, 4]]), ["a", "b"], ["", "hit/er"], np.array([0, 5]))
    headers = with_ids(None, sources, "mine")
    assert [id_in(each, "mine") for each in headers] == sources.ids()
    assert id_in(headers[0], "other") is None
    assert "streamrec-output" not in dict(headers[0])
    assert id_in([("streamrec-source", b"a/1/x")], "mine") is None
    assert id_in([("streamrec-source", b"a/1/1"), ("streamrec-output", b"\xff/1")], "m") is None
    assert id_in([("streamrec-source", None)], "mine") is None


def batch(values: list[bytes | None], headers: list[Headers] | None = None) -> RawBatch:
    def detail(index: int) -> Detail:
        return Detail(None, [] if headers is None else headers[index], NO_TIMESTAMP_MS)

    offsets = np.arange(len(values))
    return RawBatch("told", 0, offsets, values, detail, np.full(len(values), -1))


@pytest.mark.parametrize("format", ["json", "bytes"])
def test_reading_back_passes_over_what_is_of_others(format: Any, embedded_log: EmbeddedLog) -> None:
    topic = Topic("told", format=format, answers="headers")
    ids_of = ids_reader(topic, lambda: ["in"], "mine", embedded_log.registry(), Patience())()
    headers: list[Headers] = [
        [("streamrec-source", b"in/0/1"), ("streamrec-dataflow", b"mine")],
        [("streamrec-source", b"in/0/2"), ("streamrec-dataflow", b"yours")],
        [("streamrec-source", b"out/0/3")],
        [],
        [("streamrec-source", b"in/4/5"), ("streamrec-output", b"hit/2")],
    ]
    values: list[bytes | None] = [b"1", b"2", b"3", b"4", None]
    assert ids_of(batch(values, headers)) == [
        OutputId("in", 0, 1),
        OutputId("in", 4, 5, "hit", 2),
    ]


_SERVED = {
    "type": "record",
    "name": "Served",
    "fields": [
        {"name": "source_topic", "type": "string"},
        {"name": "source_partition", "type": ["null", "int"]},
        {"name": "source_offset", "type": "long"},
        {"name": "took_us", "type": "long"},
    ],
}


def answer_schema(served: Any) -> dict[str, Any]:
    fields = [{"name": "species", "type": "string"}, {"name": "served", "type": served}]
    return {"type": "record", "name": "Answer", "fields": fields}


SERVED, NULLABLE = answer_schema(_SERVED), answer_schema(["null", _SERVED])
ANSWERS = ("served.source_partition", "served.source_offset", "served.source_topic")


@pytest.mark.parametrize("schema", [SERVED, NULLABLE], ids=["record", "nullable"])
def test_fields_of_a_nested_record_tell_an_output(
    schema: dict[str, Any], tmp_path: Path, embedded_log: EmbeddedLog
) -> None:
    path = tmp_path / "answers.avsc"
    path.write_text(json.dumps(schema))
    topic = Topic("told", path, key_beside=True, answers=ANSWERS).checked()
    registry = embedded_log.registry()
    registered = registry.register("told-value", topic.schema)

    def served(partition: int | None, offset: int) -> dict[str, Any]:
        place = {"source_topic": "in", "source_partition": partition, "source_offset": offset}
        return {"species": "setosa", "served": {**place, "took_us": 3}}

    encoder = JsonEncoder(topic.schema, registered.id)
    records = [served(1, 2), served(None, 3), served(4, 5)]
    if schema is NULLABLE:
        records.append({"species": "setosa", "served": None})
    ids_of = ids_reader(topic, lambda: ["in"], "mine", registry, Patience())()
    assert ids_of(batch([encoder.encode(record) for record in records])) == [
        OutputId("in", 1, 2),
        OutputId("in", 4, 5),
    ]


def test_types_of_nested_fields_are_found() -> None:
    assert type_at(NULLABLE, "served.source_offset") == "long"
    assert type_at(NULLABLE, "served.source_partition") == "int"
    assert type_at(NULLABLE, "served.none") is None
    assert type_at(NULLABLE, "species.length") is None
    assert type_at(NULLABLE, "served") == "record"
    (field,) = projection(NULLABLE, ["served.took_us"])["fields"]
    assert [each["name"] for each in field["type"]["fields"]] == ["took_us"]


def test_an_avro_topic_is_keyed_beside_its_value_and_told_by_headers(tmp_path: Path) -> None:
    path = tmp_path / "answers.avsc"
    fields = [{"name": "n", "type": "long"}]
    path.write_text(json.dumps({"type": "record", "name": "N", "fields": fields}))
    topic = Topic("n", path, key_beside=True, answers="headers").checked()
    encode = Encode(
        lambda items: items,
        lambda: WireEncoder(topic.schema, 7),
        lambda: 1,
        EncodeOptions(topic.key_column, 1_000, False, False, "mine"),
    )
    records = Records({"n": Numbers(np.array([3]))}, keys=[None])
    (out,) = encode([records])
    assert isinstance(out, Out)
    assert (out.keys, out.values) == ([None], [b"\0\0\0\0\x07\x06"])


def test_a_row_that_names_answers_otherwise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="answers expected names of fields or 'headers', got 'he"):
        Topic("x", format="json", answers="header")  # type: ignore[arg-type]  # what is to be found
    with pytest.raises(StartError, match="'x' expected no key_field, which is in the value, with"):
        Topic("x", format="json", key_field="k", key_beside=True)
