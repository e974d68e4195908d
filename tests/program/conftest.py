"""The command line as a user has it: arguments, standard input, environment in; answers out."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamrec.connectors.log_settings import LogSettings
from streamrec.program import app


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Shell = Callable[..., Answer]

# Whoever runs the tests may have these set for a Kafka of their own.
_OURS = ("KAFKA_", "SCHEMA_REGISTRY_", "STREAMREC_", "EMBEDDED_LOG_")


def shell_with(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name in [name for name in os.environ if name.startswith(_OURS)]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, stdin: str | bytes = "", **extra: str) -> Answer:
        result = CliRunner().invoke(app, arguments, input=stdin, env=extra)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def embedded_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return shell_with({"EMBEDDED_LOG_PATH": str(tmp_path / "log.sqlite")}, monkeypatch)


@dataclass(frozen=True)
class Topics:
    """Names that no other test has, given to the program by its settings."""

    clicks: str
    recommendations: str
    errors: str
    sessions: str
    scores: str


@pytest.fixture
def topics(topic_name: str) -> Topics:
    return Topics(*(f"{topic_name}-{field.name}" for field in fields(Topics)))


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def shell(
    request: pytest.FixtureRequest,
    topics: Topics,
    topic_name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Shell:
    """The command line on each back end in turn, with topics of its own."""
    environment = {
        f"STREAMREC_{name.upper()}_TOPIC": topic for name, topic in asdict(topics).items()
    }
    # Made by the first pipeline, not by `topics create`.
    environment["STREAMREC_PIPELINES_TOPIC"] = f"{topic_name}-pipelines"
    if request.param == "embedded":
        environment["EMBEDDED_LOG_PATH"] = str(tmp_path / "log.sqlite")
    else:
        settings: LogSettings = request.getfixturevalue("kafka_settings")
        request.getfixturevalue("kafka_log")  # deletes the topics at the end of the run
        assert settings.kafka_bootstrap_servers is not None
        assert settings.schema_registry_url is not None
        environment["KAFKA_BOOTSTRAP_SERVERS"] = settings.kafka_bootstrap_servers
        environment["SCHEMA_REGISTRY_URL"] = settings.schema_registry_url
        for option, value in settings.kafka_options.items():
            name = f"KAFKA_OPTION_{option.upper().replace('.', '_')}"
            environment[name] = value.get_secret_value()
    return shell_with(environment, monkeypatch)
