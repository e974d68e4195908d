"""A broker that is away: the main job that waits for it obeys SIGTERM, and loses nothing.

Like the others here it stops a broker, so `./justw faults` runs it and the suite does not.
"""

import os
from pathlib import Path

import pytest

from streamrec.connectors.local.kafka import LocalKafka
from streamrec.dataflows.engine.watch import ALONE_S
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

_LATE_S = 30.0


@pytest.fixture
def job(own: LocalKafka, job_settings: SettingsFor) -> MainJob:
    return MainJob(
        job_settings(
            kafka_bootstrap_servers=own.bootstrap_servers, schema_registry_url=own.registry_url
        )
    )


def test_job_that_waits_for_its_broker_obeys_sigterm_and_loses_nothing(
    own: LocalKafka, job: MainJob, tmp_path: Path
) -> None:
    with running(job.settings, tmp_path, STREAMREC_LEASE_S="2") as process:
        process.until_answered(job, send(job, 0))
        send(job, 300)
        own.kill_broker()
        try:
            process.until(process.says("cannot be renewed"), "notice that the broker is away")
            process.ask_to_stop()
            process.until_ended(ALONE_S + _LATE_S)
        finally:
            own.start_broker()
    with running(job.settings, tmp_path, STREAMREC_LEASE_S="2") as process:
        process.until_answered(job, send(job, 600))
        process.stop()
    assert_each_once(job)


def test_job_whose_broker_is_away_when_it_starts_obeys_sigterm(
    own: LocalKafka, job: MainJob, tmp_path: Path
) -> None:
    own.kill_broker()
    try:
        with running(job.settings, tmp_path) as process:
            process.until(process.says("waiting"), "say that it waits")
            process.ask_to_stop()
            process.until_ended(_LATE_S)
    finally:
        own.start_broker()
