"""Topics without a schema on a log: made, written, read by a job, as a table, and redriven."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main

from streamrec import (
    ERRORS,
    Job,
    Records,
    ShardRecords,
    Topic,
    decode_records,
    each_batch,
    strings,
)
from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Log, Outgoing, SchemaRegistry, UnknownSchemaError
from streamrec.connectors.reading import read_all
from streamrec.dataflows.errors.redrive import Redriver, read_errors
from streamrec.dataflows.job.opening import open_job_with
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import REDRIVES, make_all

IMAGES = Topic("images", format="bytes")
SIZES = Topic("sizes", format="json", key_field="image")


def build_flow(job: Job) -> Dataflow:
    """The size of each image."""

    def measure(parts: list[ShardRecords]) -> Iterator[Any]:
        for part in parts:
            for row, image in part:
                yield part.batch.keys.bytes_at(row).decode(), len(image)

    def columns_of(items: list[Any]) -> Iterator[Records]:
        sizes = strings([f'{{"image": "{name}", "size": {size}}}' for name, size in items])
        yield Records({"image": strings([name for name, _ in items]), "value": sizes})

    flow = Dataflow("measuring")
    decode = decode_records(job, IMAGES)
    decoded = each_batch("decode", job.read(flow, IMAGES), decode, failing="bad")
    measured = each_batch("measure", decoded.good, measure, failing="failed")
    job.write(measured.good, SIZES, columns_of)
    job.write_errors(decoded.failed, measured.failed)
    return flow


def run(settings: Settings) -> None:
    run_main(build_flow(open_job_with("measuring", settings)))  # type: ignore[no-untyped-call]


@pytest.fixture
def settings(
    job_settings: Callable[..., Settings], topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    for topic in (IMAGES, SIZES):
        monkeypatch.setenv(f"STREAMREC_{topic.name.upper()}_TOPIC", f"{topic_name}-{topic.name}")
    return job_settings()


@pytest.fixture
def log(settings: Settings) -> Log:
    """With the topics, as `topics create` makes them."""
    log = open_log(settings)
    report = make_all(log, {settings.topic(t): t for t in (IMAGES, SIZES, ERRORS, REDRIVES)})
    assert len(report.created) == 4
    assert {found.subject.removesuffix("-value") for found in report.schemas} == {
        settings.topic(ERRORS),
        settings.topic(REDRIVES),
    }
    return log


def write(log: Log, topic: str, *messages: Outgoing) -> None:
    with closing(log.writer()) as writer:
        writer.write(topic, messages)
        writer.flush(30.0)


def registry_is_not_asked(registry: SchemaRegistry, name: str) -> bool:
    try:
        registry.latest(f"{name}-value")
    except UnknownSchemaError:
        return True
    return False


def test_bytes_become_json_and_what_fails_is_put_back(settings: Settings, log: Log) -> None:
    images, sizes = settings.topic(IMAGES), settings.topic(SIZES)
    assert registry_is_not_asked(log.registry(), images)
    write(
        log,
        images,
        Outgoing(b"a", b"\0\xff\0"),
        Outgoing(None, b"no key", partition=2),
        Outgoing(b"b", None),
        Outgoing(b"c", b""),
    )
    run(settings)
    values = sorted(record.value or b"" for record in read_all(log, sizes))
    assert values == [b'{"image": "a", "size": 3}', b'{"image": "c", "size": 0}']
    assert {record.key for record in read_all(log, sizes)} == {b"a", b"c"}
    errors = list(read_errors(log, settings.topic(ERRORS)))
    found = {(each.fields["reason"], each.fields["value"]) for each in errors}
    assert found == {("invalid_value", b"no key"), ("undecodable", None)}
    assert {each.fields["message"].partition(" (")[0] for each in errors} == {
        "step 'decode': key expected bytes, got null",
        "step 'decode': value expected bytes, got null",
    }
    assert Redriver(log, settings.topic(ERRORS)).redrive(errors).redriven == 2
    originals = [(record.key, record.value) for record in read_all(log, images)]
    assert originals.count((None, b"no key")) == originals.count((b"b", None)) == 2
    run(settings)  # on where the first run stopped: what was put back fails again
    assert len(list(read_all(log, sizes))) == 2
    again = list(read_errors(log, settings.topic(ERRORS)))
    assert sorted(each.attempts for each in again) == [0, 0, 1, 1]


def test_a_topic_of_json_is_a_table(
    settings: Settings, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = settings.topic(SIZES)
    messages = [Outgoing(b"a", b'{"size": 1}'), Outgoing(b"b", b"{nope"), Outgoing(b"c", b"[2]")]
    write(log, sizes, *messages, Outgoing(b"a", b'{"size": 3}'), Outgoing(b"c", None))
    table = open_job_with("reading", settings).table(SIZES)
    assert dict(table) == {b"a": {"size": 3}}
    assert "passed over: expected JSON, got '{nope': Expecting property name" in caplog.text


def test_a_topic_of_bytes_is_a_table(settings: Settings, log: Log) -> None:
    images = settings.topic(IMAGES)
    write(log, images, Outgoing(b"a", b"\xff"), Outgoing(b"b", b""))
    assert dict(open_job_with("reading", settings).table(IMAGES)) == {b"a": b"\xff", b"b": b""}
