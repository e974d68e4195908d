"""Fixtures of the dataflows' tests: the main job on each back end, with topics of its own."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamrec.connectors.log_settings import LogSettings
from streamrec.dataflows.job.settings import Settings, load_settings
from streamrec.dataflows.job.topics import TOPICS
from tests.dataflows.main_job import MainJob

SettingsFor = Callable[..., Settings]


@pytest.fixture
def job_settings(topic_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SettingsFor:
    """Settings of a finite run on topics that no other test has; the environment says nothing."""
    for name in list(os.environ):
        if name.startswith(("STREAMREC_", "BYTEWAX_")):
            monkeypatch.delenv(name)
    topics = {row.setting: f"{topic_name}-{row.name}" for row in TOPICS if row.setting}

    def settings_for(**given: Any) -> Settings:
        return load_settings(
            **{
                "kafka_bootstrap_servers": None,
                "kafka_options": {},
                "schema_registry_url": None,
                "embedded_log_path": tmp_path / "log.sqlite",
                "consumer_group": topic_name,
                "follow": False,
                "model": "none",
                **topics,
                **given,
            }
        )

    return settings_for


@pytest.fixture
def embedded_job(job_settings: SettingsFor) -> Callable[..., MainJob]:
    """Makes a main job on the embedded log; keyword arguments are settings."""
    return lambda **given: MainJob(job_settings(**given))


@pytest.fixture
def kafka_job(job_settings: SettingsFor, request: pytest.FixtureRequest) -> Callable[..., MainJob]:
    """Makes a main job on the real broker and registry; for tests marked `kafka`."""
    found: LogSettings = request.getfixturevalue("kafka_settings")
    request.getfixturevalue("kafka_log")  # deletes the topics at the end of the run
    where = {
        "kafka_bootstrap_servers": found.kafka_bootstrap_servers,
        "kafka_options": found.kafka_options,
        "schema_registry_url": found.schema_registry_url,
    }
    return lambda **given: MainJob(job_settings(**where, **given))


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def make_job(request: pytest.FixtureRequest) -> Callable[..., MainJob]:
    """Makes a main job, on each back end in turn; keyword arguments are settings."""
    made: Callable[..., MainJob] = request.getfixturevalue(f"{request.param}_job")
    return made
