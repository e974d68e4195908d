"""A compacted topic as a map: loaded to its end, then followed, with its position visible."""

import io
import json
import time
from collections.abc import Callable
from contextlib import closing

import fastavro
import numpy as np
import pytest

from streamrec.connectors import reading
from streamrec.connectors.log import (
    Detail,
    Log,
    Outgoing,
    RawBatch,
    RegistryUnavailableError,
    TopicSpec,
    UnreachableError,
)
from streamrec.connectors.table import Table

SCHEMA = {
    "type": "record",
    "name": "Price",
    "fields": [{"name": "item", "type": "string"}, {"name": "cents", "type": "long"}],
}


@pytest.fixture
def write(log: Log, topic_name: str) -> Callable[..., None]:
    """Makes the topic, and writes prices to it; None removes."""
    with closing(log.admin()) as admin, closing(log.registry()) as registry:
        admin.create(TopicSpec(topic_name, 2, configs={"cleanup.policy": "compact"}))
        schema_id = registry.register(f"{topic_name}-value", json.dumps(SCHEMA)).id
    parsed = fastavro.parse_schema(SCHEMA)

    def write(**prices: int | None) -> None:
        messages = []
        for item, cents in prices.items():
            value = None
            if cents is not None:
                out = io.BytesIO(b"\0" + schema_id.to_bytes(4, "big"))
                out.seek(5)
                fastavro.schemaless_writer(out, parsed, {"item": item, "cents": cents})
                value = out.getvalue()
            messages.append(Outgoing(item.encode(), value))
        with closing(log.writer()) as writer:
            writer.write(topic_name, messages)
            writer.flush(30.0)

    return write


def await_value(table: Table, key: bytes, cents: int | None) -> None:
    until = time.monotonic() + 20
    while (table[key]["cents"] if key in table else None) != cents:
        assert time.monotonic() < until, dict(table)
        time.sleep(0.02)


def test_table_holds_what_was_written_and_follows_what_comes(
    log: Log, topic_name: str, write: Callable[..., None]
) -> None:
    write(a=1, b=2)
    write(a=3, c=4)
    write(b=None)

    table = Table(log, topic_name, log.registry().by_id).open()

    assert {key: value["cents"] for key, value in table.items()} == {b"a": 3, b"c": 4}
    assert sum(table.positions.values()) == 5
    write(d=5, a=None)
    await_value(table, b"d", 5)
    await_value(table, b"a", None)
    assert sum(table.positions.values()) == 7


def test_value_that_cannot_be_decoded_is_told_and_passed_over(
    log: Log, topic_name: str, write: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    write(a=1)
    with closing(log.writer()) as writer:
        writer.write(topic_name, [Outgoing(b"z", b"no record")])
        writer.flush(30.0)
    write(b=2)
    table = Table(log, topic_name, log.registry().by_id).open()
    assert set(table) == {b"a", b"b"}
    assert "offset" in caplog.text and "passed over" in caplog.text


def test_topic_that_cannot_be_read_to_its_end_is_told(
    embedded_log: Log, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for ever: here the reader stands still, as before an open transaction."""
    with closing(embedded_log.admin()) as admin:
        admin.create(TopicSpec(topic_name, 1))
    with closing(embedded_log.writer()) as writer:
        writer.write(topic_name, [Outgoing(b"a", b"b")])
        writer.flush(30.0)
    monkeypatch.setattr("streamrec.connectors.table.STALLED_S", 0.3)

    def poll_nothing(*_: object) -> list[RawBatch]:
        time.sleep(0.05)
        return []

    monkeypatch.setattr(type(embedded_log.reader()), "poll", poll_nothing)
    assert reading.STALLED_S > 1
    with pytest.raises(UnreachableError, match=r"partition 0 from offset 0 to 0, got none"):
        Table(embedded_log, topic_name, lambda _: "").load()


def test_all_items_can_be_walked_while_one_is_removed(
    log: Log, topic_name: str, write: Callable[..., None]
) -> None:
    write(a=1, b=2)
    with closing(log.registry()) as registry:
        table = Table(log, topic_name, registry.by_id)
        table.load().close()
    for _ in table.items():
        table._values.pop(b"b", None)


class _Messages:
    """A reader whose every poll brings a message."""

    polls = 0

    def poll(self, max_messages: int, timeout_s: float) -> list[RawBatch]:
        self.polls += 1
        time.sleep(0.01)
        offsets = np.array([self.polls], np.int64)
        detail, times_ms = Detail(b"k", [], 0), np.zeros(1, np.int64)
        values: list[bytes | None] = [b"\0\0\0\0\1x"]
        return [RawBatch("prices", 0, offsets, values, lambda _: detail, times_ms)]

    def close(self) -> None:
        pass


def test_following_goes_on_after_a_batch_that_cannot_be_applied(log: Log) -> None:
    def away(schema_id: int) -> str:
        raise RegistryUnavailableError("away")

    table, reader = Table(log, "prices", away), _Messages()
    thread = table.follow(reader)  # type: ignore[arg-type]  # what following asks of a reader
    until = time.monotonic() + 20
    while reader.polls < 3:
        assert thread.is_alive() and time.monotonic() < until
        time.sleep(0.01)
    assert thread.is_alive()
