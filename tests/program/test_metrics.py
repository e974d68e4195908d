"""`metrics` as a user has it: what the topic says, as a table and as pictures."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.program.conftest import Shell

START_MS = 1_767_225_600_000


def metric(
    pipeline: str, minute: int, value: float, version: str = "", **given: Any
) -> dict[str, Any]:
    said: dict[str, Any] = {
        "source_topic": "training-examples",
        "source_partition": 0,
        "source_offset": minute,
        "dataflow": "evaluation",
        "kind": "total all auc",
        "number": 0,
        "pipeline": pipeline,
        "model": pipeline,
        "version": version,
        "variant": "",
        "segment": "all",
        "metric": "auc",
        "value": value,
        "low": value - 0.1,
        "high": value + 0.1,
        "count": 50,
        "window_start": START_MS + minute * 60_000,
        "window_end": START_MS + (minute + 1) * 60_000,
    }
    return said | given


@pytest.fixture
def shell(embedded_shell: Shell) -> Shell:
    """With a frozen model that falls, and one that recovers by a new version."""
    embedded_shell("topics", "create")
    records = [metric("frozen", minute, 0.8 if minute < 3 else 0.6) for minute in range(6)]
    records += [metric("online", minute, 0.5 if minute == 3 else 0.9) for minute in range(6)]
    records += [metric("online", minute, 0.9, f"v{minute // 3}") for minute in range(6)]
    records += [metric("online", 5, 0.25, low=None, high=None, metric="calibration")]
    records += [metric("frozen", 5, 0.7)]  # of a replay: the later one holds
    stdin = "".join(json.dumps(record) + "\n" for record in records)
    assert embedded_shell("send", "metrics", stdin=stdin).status == 0
    return embedded_shell


def test_newest_windows_are_a_table(shell: Shell) -> None:
    shown = shell("metrics", "show", "--metric", "auc,calibration", "--last", "2")

    assert shown.status == 0
    rows = [line.split() for line in shown.lines[1:]]
    minutes = [f"2026-01-01T00:0{n}:00" for n in (4, 5, 6)]
    assert rows == [
        ["frozen", "auc", *minutes[:2], "0.6000", "0.5000", "0.7000", "50"],
        ["frozen", "auc", *minutes[1:], "0.7000", "0.6000", "0.8000", "50"],
        ["online", "auc", *minutes[:2], "0.9000", "0.8000", "1.0000", "50"],
        ["online", "auc", *minutes[1:], "0.9000", "0.8000", "1.0000", "50"],
        ["online", "calibration", *minutes[1:], "0.2500", "-", "-", "50"],
    ]


def test_versions_are_lines_of_their_own(shell: Shell) -> None:
    shown = shell("metrics", "show", "--by", "version", "--json", "--last", "1")

    assert [json.loads(line)["model"] for line in shown.lines] == ["online v0", "online v1"]


def test_picture_in_the_terminal_shows_who_falls(shell: Shell) -> None:
    mark = f"{START_MS + 200_000}=now"
    options = ["--metric", "auc", "--models", "online,frozen", "--mark", mark]
    shown = shell("metrics", "plot", *options, COLUMNS="60")

    assert shown.status == 0
    assert max(map(len, shown.lines)) <= 60
    chart = [line.partition("|")[2] for line in shown.lines[1:17]]
    online, frozen = ([n for n, row in enumerate(chart) if sign in row] for sign in "*o")
    assert online == [1, 14]
    assert frozen == [4, 8, 11]
    assert all("|" in row for row in chart)
    assert shown.lines[-3:] == ["  * online", "  o frozen", "  | now"]


def test_picture_is_a_png(shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "auc.png"
    shown = shell(
        *("metrics", "plot", "--metric", "auc", "--models", "frozen,online", "--out", str(out)),
        *("--mark", "2026-01-01T00:03=tastes shift"),
    )

    assert shown.status == 0, shown.err
    assert out.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert out.stat().st_size > 10_000


def test_picture_without_the_extra_says_what_to_install(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.dates", None)  # as if it were not installed

    shown = shell("metrics", "plot", "--metric", "auc", "--out", str(tmp_path / "auc.png"))

    assert shown.status == 1
    assert "expected the extra plot (pip install 'streamrec[plot]')" in shown.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--metric", "aux"], "--metric expected of auc, calibration, got 'aux'"),
        (["--models", "nobody"], "--models expected of frozen, online, got 'nobody'"),
        (["--segment", "new"], "--segment expected of all, got 'new'"),
        (["--by", "variant"], "metrics expected records that all options fit, got none"),
    ],
)
def test_what_nothing_fits_says_what_there_is(shell: Shell, options: list[str], told: str) -> None:
    shown = shell("metrics", "show", *options)

    assert shown.status == 1
    assert shown.err.splitlines()[-1] == f"streamrec: {told}"


def test_topic_without_metrics_is_told(embedded_shell: Shell) -> None:
    embedded_shell("topics", "create")

    shown = embedded_shell("metrics", "show")

    assert shown.status == 1
    assert "expected records of dataflows.evaluation, got none" in shown.err


def test_bad_times_are_named_before_anything_is_read(embedded_shell: Shell) -> None:
    for options in (["--from", "noon"], ["--mark", "noon=shift"], ["--mark", "noon"]):
        shown = embedded_shell("metrics", "plot", "--metric", "auc", *options)
        assert shown.status == 2
        assert options[0] in shown.err
