"""What others do with the consumer group stops nothing, and where its offsets decide it is told."""

import logging
import time
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest
from confluent_kafka import Consumer

from streamrec.connectors.embedded.admin import EmbeddedAdmin
from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.connectors.log import Log, Outgoing, UnreachableError
from streamrec.connectors.source import SourceOptions
from streamrec.connectors.starts import Start
from tests.conftest import KafkaPair
from tests.connectors.log_reading import create, wait_until, write
from tests.connectors.test_source_starts import count, fill, lanes_of, poll_until


def subscribed(kafka: KafkaPair, group: str, topic: str) -> Any:
    """A consumer that has joined the group, as a console tool does."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    give_up = time.monotonic() + 30
    while not consumer.assignment() and time.monotonic() < give_up:
        consumer.poll(0.1)
    assert consumer.assignment(), "the subscriber was assigned nothing"
    return consumer


@pytest.mark.kafka
def test_a_subscriber_under_the_group_stops_nothing_and_commits_are_taken_up_again(
    kafka_pair: KafkaPair, kafka_log: Log, topic_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    fill(kafka_log, topic_name, partitions=1)
    caplog.set_level(logging.INFO, "streamrec.connectors.kafka")
    consumer = subscribed(kafka_pair, topic_name, topic_name)
    with closing(kafka_log.admin()) as admin:
        with closing(kafka_log.reader()) as reader:
            reader.commit(topic_name, topic_name, {0: 4})

            def told() -> bool:
                reader.commit(topic_name, topic_name, {})
                reader.commit(topic_name, topic_name, {0: 5})
                consumer.poll(0.05)
                return "consumers of others subscribe under it" in caplog.text

            wait_until(told)
            assert admin.committed(topic_name, topic_name) == {}
            consumer.close()

            def taken() -> bool:
                reader.commit(topic_name, topic_name, {0: 7})
                return admin.committed(topic_name, topic_name) == {0: 7}

            wait_until(taken)
            reader.commit(topic_name, topic_name, {0: 8})
        assert admin.committed(topic_name, topic_name) == {0: 8}
    assert "commits are taken again" in caplog.text
    assert caplog.text.count("consumers of others") == 1  # not with each commit


def test_where_offsets_decide_a_foreign_commit_is_told_once(
    log: Log, topic_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    fill(log, topic_name, partitions=2)
    options = SourceOptions(
        topic_name, topic_name, Start("earliest"), lanes=2, discover_s=0.2, offsets_decide=True
    )
    with lanes_of(log, options) as lanes, closing(log.reader()) as other:
        poll_until(lanes, lambda found: count(found) >= 20)
        for _ in range(2):  # what the first snapshot holds is durable with the second
            for lane in lanes:
                lane.snapshot()
        poll_until(lanes, lambda _: False, patience_s=0.3)
        assert "another consumer" not in caplog.text
        write(log, topic_name, [Outgoing(None, b"v", partition=1) for _ in range(5)])
        other.commit(topic_name, topic_name, {1: 15})
        give_up = time.monotonic() + 20
        while "another consumer" not in caplog.text and time.monotonic() < give_up:
            poll_until(lanes, lambda _: False, patience_s=0.1)
        poll_until(lanes, lambda _: False, patience_s=1.0)
    found = [r for r in caplog.records if "another consumer" in r.getMessage()]
    assert [r.levelname for r in found] == ["ERROR"]
    assert (
        found[0]
        .getMessage()
        .startswith(
            f"topic {topic_name}, partition 1: another consumer committed offset 15 under group "
            f"'{topic_name}', where this run is at 10: a restart now would skip 5 records; "
        )
    )


def test_where_they_only_show_a_foreign_commit_is_no_error(
    log: Log, topic_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    fill(log, topic_name, partitions=1)
    options = SourceOptions(topic_name, topic_name, Start("earliest"), lanes=1, discover_s=0.1)
    with lanes_of(log, options) as lanes, closing(log.reader()) as other:
        lanes[0].snapshot()
        lanes[0].snapshot()
        other.commit(topic_name, topic_name, {0: 9})
        poll_until(lanes, lambda _: False, patience_s=1.0)
    assert "another consumer" not in caplog.text


class _Away(EmbeddedAdmin):
    """The partitions can be had, and the group's coordinator cannot."""

    asked: ClassVar[list[float | None]] = []

    def committed(self, group: str, topic: str, within_s: float | None = None) -> dict[int, int]:
        self.asked.append(within_s)
        raise UnreachableError("the coordinator is away")


class _LogOfAway(EmbeddedLog):
    def admin(self) -> _Away:
        return _Away(self._file)


def test_a_coordinator_that_is_away_is_asked_shortly_and_much_later_again(
    tmp_path: Path, topic_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = _LogOfAway(tmp_path / "log.sqlite")
    fill(log, topic_name, partitions=1)
    options = SourceOptions(
        topic_name, topic_name, Start("earliest"), lanes=1, discover_s=0.1, offsets_decide=True
    )
    with lanes_of(log, options) as lanes:
        poll_until(lanes, lambda _: "cannot look at group" in caplog.text)
        write(log, topic_name, [Outgoing(None, b"v", partition=0)])
        poll_until(lanes, lambda found: count(found) >= 1)
        poll_until(lanes, lambda _: False, patience_s=0.5)
    [within_s] = _Away.asked
    assert within_s is not None and within_s <= 2
    assert caplog.text.count("the coordinator is away") == 1


@pytest.mark.kafka
def test_behind_markers_at_the_end_no_lag_is_shown(kafka_log: Log, topic_name: str) -> None:
    create(kafka_log, topic_name)
    writer = kafka_log.transactional_writer(topic_name, 60.0)
    writer.write(topic_name, [Outgoing(b"k", b"within")])
    writer.commit(20.0)
    writer.close()
    options = SourceOptions(topic_name, topic_name, Start("earliest"), lanes=1)
    with closing(kafka_log.admin()) as admin:
        with lanes_of(kafka_log, options) as lanes:
            poll_until(lanes, lambda found: count(found) >= 1)

            def shown() -> bool:
                saved.append(lanes[0].snapshot())
                poll_until(lanes, lambda _: False, patience_s=0.1)
                return admin.committed(topic_name, topic_name) == {0: 2}

            saved: list[dict[int, int]] = []
            wait_until(shown)
        assert admin.bounds(topic_name)[0].high == 2
    assert set(map(str, saved)) == {"{0: 1}"}, "what is saved is the next record's place"
