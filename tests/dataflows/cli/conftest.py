"""The command line as a user has it: arguments, standard input, environment in; answers out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dataflows.cli import app


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
    import os

    for name in list(os.environ):
        if name.startswith(_OURS):
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
