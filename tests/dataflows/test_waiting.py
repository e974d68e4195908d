"""The main job waits for a registry or a broker, says why, and ends when it is asked to."""

import socket
from collections.abc import Iterator
from functools import partial
from itertools import chain, repeat
from pathlib import Path

import pytest

from streamrec.connectors import patience
from streamrec.connectors.log import Outgoing
from streamrec.connectors.patience import Patience
from streamrec.connectors.registry import ConfluentRegistry
from streamrec.dataflows.job.codecs import schema_of
from streamrec.schemas import load
from streamrec.schemas.wire import WireDecoder
from tests.connectors.unwell_registry import (
    UnwellRegistry,
    Way,
    html,
    redirect,
    refused,
    unwell_registry,
)
from tests.dataflows.click_batches import click
from tests.dataflows.conftest import SettingsFor
from tests.dataflows.faults.running import assert_each_once, running
from tests.dataflows.main_job import START_MS, MainJob

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def registry() -> Iterator[UnwellRegistry]:
    with unwell_registry() as found:
        yield found


@pytest.fixture
def job(registry: UnwellRegistry, job_settings: SettingsFor) -> MainJob:
    return MainJob(job_settings(schema_registry_url=registry.url))


def send(job: MainJob, first: int, count: int) -> int:
    job.send_clicks(
        {"user_id": f"u{n % 7}", "item_id": f"i{n % 5}", "timestamp": START_MS + n}
        for n in range(first, first + count)
    )
    return len(job.sent.values)


def test_a_registry_that_is_unwell_at_the_start_is_waited_for(
    job: MainJob, registry: UnwellRegistry, tmp_path: Path
) -> None:
    count = send(job, 0, 20)
    registry.says("/subjects", html(503))
    with running(job.settings, tmp_path) as process:
        process.until(process.says("waiting, trying again in 2 s"), "message about the registry")
        assert "got 503 '<html><body>Sign in, please" in process.log
        registry.says("/subjects", None)
        process.until_answered(job, count)
        process.stop()
    assert_each_once(job)


def test_a_job_that_waits_for_a_registry_at_the_start_ends_when_asked(
    job: MainJob, registry: UnwellRegistry, tmp_path: Path
) -> None:
    registry.says("/subjects", refused(401, 40101, "Unauthorized"))
    with running(job.settings, tmp_path) as process:
        process.until(process.says("waiting, trying again in 2 s"), "message about the registry")
        said = process.end()
    assert "check SCHEMA_REGISTRY_USER_INFO" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("way", [refused(401, 40101, "Unauthorized"), redirect("http://x/")])
def test_a_job_that_waits_for_a_schema_ends_when_asked_and_loses_nothing(
    job: MainJob, registry: UnwellRegistry, tmp_path: Path, way: Way
) -> None:
    count = send(job, 0, 20)
    with running(job.settings, tmp_path) as process:
        process.until_answered(job, count)
        registry.says(f"/schemas/ids/{job.ids.older}", way)
        job.send([(Outgoing(b"u1", job.encode(job.ids.older, user_id="u1")), None)])
        count = send(job, 20, 20)
        process.until(process.says("; waiting, trying again"), "message about the schema")
        assert "Traceback" not in process.end()
    registry.says(f"/schemas/ids/{job.ids.older}", None)
    with running(job.settings, tmp_path) as process:
        process.until_answered(job, count)
        process.stop()
    assert_each_once(job)


def test_a_broker_that_is_away_at_the_start_is_waited_for_until_asked_to_end(
    registry: UnwellRegistry, job_settings: SettingsFor, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = job_settings(
        kafka_bootstrap_servers=f"127.0.0.1:{port}", schema_registry_url=registry.url
    )
    with running(settings, tmp_path) as process:
        process.until(process.says("unreachable, waiting"), "message about the broker")
        said = process.end()
    assert "Connection refused" in said
    assert "check KAFKA_BOOTSTRAP_SERVERS and that the broker runs" in said
    assert "Traceback" not in said


def test_records_go_to_errors_only_while_the_registry_is_away(registry: UnwellRegistry) -> None:
    registry.schemas[1] = load("clicks")
    registry.says("/schemas", html(403))
    now = [0.0]
    found = ConfluentRegistry(registry.url)
    decoder = WireDecoder(load("clicks"), partial(schema_of, found, None), clock=lambda: now[0])
    [failure] = decoder.decode([click()]).failures
    assert failure.reason == "unknown_schema_id"
    assert "cannot be looked up" in failure.message
    assert "403" in failure.message
    registry.says("/schemas", None)
    now[0] = 29.0
    assert len(decoder.decode([click()]).failures) == 1
    now[0] = 31.0
    assert decoder.decode([click()]).failures == []


def test_patience_ends_at_its_limit_and_soon_at_the_wish_to_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Patience(None).wait().again(0.01)
    assert not Patience(0.0).wait().again(10.0)
    asked = chain([False, False], repeat(True))
    monkeypatch.setattr(patience, "STOPPING_S", 0.5)
    assert not Patience(None, lambda: next(asked)).wait().again(60.0)
    # A leader that is elected while the process ends in good order is waited for all the same.
    assert Patience(None, lambda: True).wait().again(0.01)
