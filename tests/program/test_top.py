"""`top` as a user has it: a table, JSON, and what it says where nothing runs."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamrec.program.running.top import table_of
from streamrec.services.metrics.http_measures import HttpMeasures
from streamrec.services.metrics.notes import Note, write_note
from streamrec.services.metrics.rows import ProcessRow
from streamrec.services.metrics.watched import Watched, watch_process
from tests.program.conftest import Shell


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def seen() -> Iterator[Watched]:
    watched = watch_process("api", "shop", "127.0.0.1:0")
    requests = HttpMeasures("api")
    watched.registry.register(requests)
    requests.answered("GET", "/popular", 200, 0.002)
    yield watched
    watched.close()


def test_process_is_a_row_with_what_it_measures_and_no_more(
    embedded_shell: Shell, seen: Watched
) -> None:
    seen.health.set("log", "the log does not answer")

    shown = embedded_shell("top", "--once")

    assert shown.status == 0
    header, row = shown.lines
    assert header.split()[:3] == ["pid", "process", "state"]
    assert "lag" not in header  # of dataflows
    assert row.split()[:3] == [str(os.getpid()), "api", "shop"]
    assert "the log does not answer" in row


def test_json_has_an_object_for_each_process(embedded_shell: Shell, seen: Watched) -> None:
    write_note(Note(os.getppid(), "dataflow", "scorer", 1, "127.0.0.1:1", 0.0))

    shown = embedded_shell("top", "--json")

    rows = json.loads(shown.out)
    assert [(row["pid"], row["name"], row["state"]) for row in rows] == [
        (os.getppid(), "scorer/1", "does not answer"),
        (os.getpid(), "shop", "ready"),
    ]
    assert 0.001 < rows[1]["p99_s"] < 0.0025
    assert rows[1]["lag"] is None
    assert rows[1]["rss_bytes"] > 1_000_000


def test_nothing_that_runs_is_said(embedded_shell: Shell) -> None:
    shown = embedded_shell("top", "--once")

    assert (shown.status, shown.out) == (0, "")
    assert shown.err.startswith("no process that serves metrics, by the notes in ")
    assert json.loads(embedded_shell("top", "--json").out) == []


def test_narrow_terminal_leaves_out_what_says_least() -> None:
    row = ProcessRow(
        pid=4_711,
        kind="dataflow",
        name="recommender",
        state="ready",
        up_s=100.0,
        in_per_s=12_345.0,
        out_per_s=12_000.0,
        errors=20.0,
        lag=1_000_000.0,
        p99_s=0.0123,
        epoch_s=10.0,
        closing_s=0.25,
        model="session-recommender fcfc20d3",
        model_age_s=90_000.0,
        cpu=0.5,
        rss_bytes=5e8,
    )

    def columns(width: int) -> list[str]:
        return [str(column.header) for column in table_of([row], width).columns]

    assert {"model age", "model", "closing", "up"} <= set(columns(200))
    narrow = columns(80)
    assert {"model age", "model", "closing"}.isdisjoint(narrow)
    assert narrow[:4] == ["pid", "process", "state", "in/s"]
    assert {"errors", "lag", "p99", "cpu"} <= set(narrow)
