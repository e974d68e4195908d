"""The broker and the registry fail under the running main job, for real; nothing is lost.

They start and stop programs and brokers for minutes, so `./justw faults` runs them and the suite
does not. It sets `STREAMREC_AWAY_S`, for how long the broker is away: 60 s.
"""

import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from streamrec.connectors.local.kafka import LocalKafka
from streamrec.connectors.log import Outgoing
from streamrec.dataflows.job.topics import CLICKS
from tests.dataflows.conftest import SettingsFor
from tests.dataflows.faults.running import assert_each_once, running, send
from tests.dataflows.main_job import MainJob

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        "STREAMREC_AWAY_S" not in os.environ, reason="takes minutes: run ./justw faults"
    ),
]

AWAY_S = float(os.environ.get("STREAMREC_AWAY_S", "5"))


@pytest.fixture
def own_job(own: LocalKafka, job_settings: SettingsFor) -> Callable[..., MainJob]:
    return lambda **given: MainJob(
        job_settings(
            kafka_bootstrap_servers=own.bootstrap_servers,
            schema_registry_url=own.registry_url,
            **given,
        )
    )


def test_broker_restarted_killed_and_away_is_waited_for(
    own: LocalKafka, own_job: Callable[..., MainJob], tmp_path: Path
) -> None:
    job = own_job()
    with running(job.settings, tmp_path) as process:
        process.until_answered(job, send(job, 0))
        own.stop_broker()
        own.start_broker()
        process.until_answered(job, send(job, 300))
        before = send(job, 600)
        own.kill_broker()
        time.sleep(AWAY_S)
        assert process.running(), process.log[-3_000:]
        own.start_broker()
        process.until_answered(job, before)
        process.until_answered(job, send(job, 900))
        assert "unreachable" in process.log
        process.stop()
    assert_each_once(job)


def test_broker_away_at_the_start_is_waited_for(
    own: LocalKafka, own_job: Callable[..., MainJob], tmp_path: Path
) -> None:
    job = own_job()
    count = send(job, 0, 20)
    own.stop_broker()
    with running(job.settings, tmp_path) as process:
        process.until(process.says("unreachable, waiting"), "message about the broker")
        assert "check KAFKA_BOOTSTRAP_SERVERS and that the broker runs" in process.log
        own.start_broker()
        process.until_answered(job, count)
        process.stop()
    assert_each_once(job)


def test_registry_away_at_the_start_is_waited_for_with_a_message(
    own: LocalKafka, own_job: Callable[..., MainJob], tmp_path: Path
) -> None:
    job = own_job()
    count = send(job, 0, 20)
    own.pause_registry()
    try:
        with running(job.settings, tmp_path) as process:
            process.until(process.says("trying again in 2 s"), "message about the registry")
            assert "check SCHEMA_REGISTRY_URL and that the registry runs" in process.log
            own.resume_registry()
            process.until_answered(job, count)
            process.stop()
    finally:
        own.resume_registry()
    assert_each_once(job)


@pytest.mark.parametrize("unknown_schema", ["error", "wait"])
def test_registry_away_later_does_not_hold_up_schemas_that_are_known(
    own: LocalKafka, own_job: Callable[..., MainJob], tmp_path: Path, unknown_schema: str
) -> None:
    job = own_job()
    with running(job.settings, tmp_path, STREAMREC_UNKNOWN_SCHEMA=unknown_schema) as process:
        process.until_answered(job, send(job, 0, 50))
        own.pause_registry()
        try:
            count = send(job, 50, 50)
            process.until_answered(job, count)
            older = job.encode(job.ids.older, user_id="u1")
            failing = "unknown_schema_id" if unknown_schema == "error" else None
            job.send([(Outgoing(b"u1", older), failing)])
            count = send(job, 100, 50)
            if unknown_schema == "error":
                process.until_answered(job, count)
                assert "its records go to errors" in process.log
            else:
                process.until(process.says("; waiting"), "message that a schema is waited for")
        finally:
            own.resume_registry()
        process.until_answered(job, count)
        process.stop()
    assert_each_once(job)


@pytest.mark.parametrize("which", ["clicks", "recommendations"])
def test_topic_deleted_in_mid_run_stops_the_job_with_its_name(
    own_job: Callable[..., MainJob], tmp_path: Path, which: str
) -> None:
    job = own_job()
    with running(job.settings, tmp_path) as process:
        process.until_answered(job, send(job, 0, 50))
        topic = getattr(job.settings, f"{which}_topic")
        with closing(job.log.admin()) as admin:
            admin.delete(topic)
        if which == "recommendations":
            job.send_clicks([{}])
        said = process.until_failed()
    assert repr(topic) in said
    assert "create the topic with `topics create`" in said


def test_partition_added_in_mid_run_is_read_whole(
    own_job: Callable[..., MainJob], tmp_path: Path
) -> None:
    job = own_job()
    with running(job.settings, tmp_path) as process:
        count = send(job, 0, 50)
        process.until_answered(job, count)
        topic = job.settings.topic(CLICKS)
        with closing(job.log.admin()) as admin:
            admin.add_partitions(topic, 10)
        with closing(job.log.writer()) as writer:
            value = job.encode(user_id="new")
            writer.write(topic, [Outgoing(b"new", value, partition=9)] * 5)
        for offset in range(5):
            job.sent.values[9, offset] = value
        process.until_answered(job, count + 5)
        process.stop()
    assert_each_once(job)


def lose(own: LocalKafka, topic: str, below: dict[int, int]) -> None:
    """Remove the oldest records of partitions, as retention does."""
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": own.bootstrap_servers})
    places = [TopicPartition(topic, partition, offset) for partition, offset in below.items()]
    for done in admin.delete_records(places).values():
        done.result(20)


def test_records_that_retention_removed_before_they_were_read_stop_the_job(
    own: LocalKafka, own_job: Callable[..., MainJob], tmp_path: Path
) -> None:
    job = own_job()
    with running(job.settings, tmp_path) as process:
        process.until_answered(job, send(job, 0, 50))
        process.stop()
    ends = {p: max((o for q, o in job.sent.values if q == p), default=-1) + 1 for p in range(8)}
    send(job, 50, 400)
    lost = [place for place in job.sent.values if place[0] == 3 and ends[3] <= place[1]][:10]
    below = lost[-1][1] + 1
    lose(own, job.settings.topic(CLICKS), {3: below})

    with running(job.settings, tmp_path) as process:
        said = process.until_failed()
    assert (
        f"up to 10 records are gone that were never read: partition 3 from offset {ends[3]}" in said
    )
    assert "set STREAMREC_LOST_RECORDS=skip" in said
    assert len(job.recommendations()) == 50

    for place in lost:
        del job.sent.values[place]
    with running(job.settings, tmp_path, STREAMREC_LOST_RECORDS="skip") as process:
        process.until_answered(job, 440)
        assert "10 records are gone" in process.log
        process.stop()
    assert_each_once(job)
