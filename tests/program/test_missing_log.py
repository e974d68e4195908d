"""A path to no log: one line that names it, and nothing is made."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.program.conftest import Shell

CSV = "user_id,item_id,timestamp\nu1,i1,1767225600\n"
COMMANDS = [
    ("topics", "list"),
    ("topics", "describe"),
    ("topics", "delete", "clicks", "--yes"),
    ("receive", "clicks"),
    ("send", "clicks"),
    ("send", "clicks", "--raw"),
    ("errors", "list"),
    ("errors", "list", "--count"),
    ("errors", "show", "clicks/0/1"),
    ("errors", "redrive", "--all"),
    ("import", "{folder}/clicks.csv"),
    ("train", "--topic", "--out", "{folder}/model"),
    ("replay", "--from", "earliest"),
    ("replay", "--from", "earliest", "--into", "v2", "--state", "reset"),
    ("run-cluster", "2", "dataflows.recommender", "-r", "{folder}/state"),
]


def made(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("where", ["log.sqlite", "no/folder/log.sqlite", "clicks.csv/log.sqlite"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_log_that_is_missing_is_named_and_not_made(
    embedded_shell: Shell, tmp_path: Path, command: tuple[str, ...], where: str
) -> None:
    (tmp_path / "clicks.csv").write_text(CSV)
    path = tmp_path / where
    arguments = [part.format(folder=tmp_path) for part in command]
    answer = embedded_shell(*arguments, EMBEDDED_LOG_PATH=str(path))
    assert answer.status == 1
    assert answer.err.splitlines()[-1] == (
        f"streamrec: no log at {str(path)!r}: expected EMBEDDED_LOG_PATH to name one that is "
        "there; create it with `topics create`"
    )
    assert made(tmp_path) == ["clicks.csv"]


def test_an_empty_file_is_no_log_and_stays_empty(embedded_shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    path.touch()
    answer = embedded_shell("topics", "list")
    assert (answer.status, answer.err.count("no log at ")) == (1, 1)
    assert (made(tmp_path), path.stat().st_size) == (["log.sqlite"], 0)
    assert embedded_shell("topics", "create").status == 0
    assert "clicks" in embedded_shell("topics", "list").lines


def test_a_run_without_a_log_ends_in_one_line_and_makes_nothing(
    embedded_shell: Shell, tmp_path: Path
) -> None:
    flags = ("-r", str(tmp_path / "state"), "-s", "10", "-b", "0")
    done = subprocess.run(
        [sys.executable, "-m", "streamrec", "run", *flags],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert "no log at " in said
    assert made(tmp_path) == []


def test_settings_are_shown_without_a_log(embedded_shell: Shell, tmp_path: Path) -> None:
    answer = embedded_shell("settings")
    assert answer.status == 0
    assert f"EMBEDDED_LOG_PATH={tmp_path / 'log.sqlite'}" in answer.lines
    assert made(tmp_path) == []
