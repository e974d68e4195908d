"""The program among others: a reader that has enough, a version, help that does nothing else."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "streamrec"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("STREAMREC_", "KAFKA_"))}
    return {**kept, "EMBEDDED_LOG_PATH": str(tmp_path / "log.sqlite")}


def test_a_reader_that_has_enough_is_no_fault(environment: dict[str, str]) -> None:
    lines = "\n".join(
        '{"user_id": "u' + str(n) + '", "item_id": "i", "event_type": "view", "timestamp": 0}'
        for n in range(3_000)
    )
    for command in (["topics", "create"], ["send", "clicks"]):
        subprocess.run([*PROGRAM, *command], input=lines, text=True, env=environment, check=True)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*PROGRAM, "receive", "clicks"], env=environment, **pipes) as receive:
        assert receive.stdout is not None and receive.stderr is not None
        assert receive.stdout.readline()
        receive.stdout.close()
        assert receive.wait(60) == 0
        assert receive.stderr.read() == b""


def test_it_tells_its_version(environment: dict[str, str]) -> None:
    said = subprocess.run([*PROGRAM, "--version"], env=environment, capture_output=True, text=True)
    assert said.returncode == 0
    assert said.stdout.startswith("streamrec 0.")


def test_help_of_the_broker_starts_none(environment: dict[str, str]) -> None:
    said = subprocess.run(
        [*PROGRAM, "kafka", "--help"], env=environment, capture_output=True, text=True, timeout=30
    )
    assert said.returncode == 0
    assert said.stdout.startswith("Usage: ")
    assert said.stderr == ""


def test_a_recipe_that_fails_says_nothing_of_its_own(environment: dict[str, str]) -> None:
    said = subprocess.run(
        ["./justw", "streamrec", "errors", "show", "no name"],
        env={**environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 2
    assert "recipe" not in said.stderr, said.stderr


def test_a_recipe_takes_paths_from_where_its_caller_stands(
    environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "clicks.csv").write_text("user_id,item_id,timestamp\nu1,i1,1767225600\n")
    said = [
        subprocess.run(
            [str(ROOT / "justw"), *command],
            env={
                **environment,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "EMBEDDED_LOG_PATH": "log.sqlite",
            },
            cwd=folder,
            capture_output=True,
            text=True,
        )
        for command in (["streamrec", "topics", "create"], ["import", "clicks.csv"])
    ]
    assert [each.returncode for each in said] == [0, 0], said
    assert "imported 1 clicks" in said[1].stderr
    assert (folder / "log.sqlite").exists()
