"""`replay` as a user sees it, up to the moment where it becomes the engine."""

import os
import sys
from typing import Any

import pytest

from tests.program.conftest import Shell

WARNED = "warning: what this replay writes goes to recommendations, "


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The environment of each engine that would have been started."""
    started: list[dict[str, str]] = []

    def execve(path: str, command: list[str], environment: dict[str, str]) -> None:
        started.append(environment)

    monkeypatch.setattr(os, "execve", execve)
    return started


class _Terminal:
    """A terminal where the user types something."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def isatty(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from streamrec.program.running import replay

    class Sys:
        executable, stdout = sys.executable, sys.stdout
        stdin, stderr = _Terminal(sys.stdin), _Terminal(sys.stderr)

    monkeypatch.setattr(replay, "sys", Sys)


def test_a_script_is_warned_and_goes_on(
    embedded_shell: Shell, engine: list[dict[str, str]]
) -> None:
    embedded_shell("topics", "create")
    answer = embedded_shell("replay", "--from", "earliest")
    assert answer.status == 0
    (line,) = answer.err.splitlines()
    assert line.startswith(WARNED)
    assert "errors" in line and "--into SUFFIX" in line
    assert [each["STREAMREC_START_FROM"] for each in engine] == ["earliest"]


@pytest.mark.parametrize(
    "arguments", [("--from", "latest"), ("--from", "earliest", "--into", "v2")], ids=" ".join
)
def test_nothing_is_said_where_nothing_is_written_again(
    embedded_shell: Shell, engine: list[dict[str, str]], arguments: tuple[str, ...]
) -> None:
    embedded_shell("topics", "create")
    answer = embedded_shell("replay", *arguments)
    assert (answer.status, len(engine)) == (0, 1)
    assert "warning" not in answer.err


@pytest.mark.usefixtures("on_a_terminal")
@pytest.mark.parametrize(
    ("more", "typed", "status", "starts"),
    [((), "n\n", 1, 0), ((), "", 1, 0), ((), "y\n", 0, 1), (("--yes",), "", 0, 1)],
)
def test_on_a_terminal_the_user_is_asked(
    embedded_shell: Shell,
    engine: list[dict[str, str]],
    more: tuple[str, ...],
    typed: str,
    status: int,
    starts: int,
) -> None:
    embedded_shell("topics", "create")
    answer = embedded_shell("replay", "--from", "earliest", *more, stdin=typed)
    assert (answer.status, len(engine)) == (status, starts)
    assert answer.err.startswith(WARNED)
    assert ("once more?" in answer.err) == (not more)


def test_a_list_of_models_is_replayed_into_topics_of_its_own(
    embedded_shell: Shell, engine: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMREC_MODELS", "tests.dataflows.serving.served_models:Twice")
    embedded_shell("topics", "create", "--dataflow", "dataflows.scorer")
    flow = ("--flow", "dataflows.scorer")
    answer = embedded_shell("replay", "--from", "earliest", "--into", "v2", *flow)
    assert answer.status == 0
    assert sorted(answer.err.splitlines()) == [
        "topic models.twice.1.0.errors-v2: made",
        "topic models.twice.1.0.outputs-v2: made",
    ]
    (environment,) = engine
    assert environment["STREAMREC_INTO"] == "v2"
    assert environment["STREAMREC_CONSUMER_GROUP"].endswith("-v2")
