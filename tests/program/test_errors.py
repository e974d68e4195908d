import json
import os
from pathlib import Path

import pytest

from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.connectors.reading import read_all
from tests.program.conftest import Shell
from tests.program.error_records import FAILED_AT_MS, error, write_errors


@pytest.fixture
def shell(embedded_shell: Shell) -> Shell:
    embedded_shell("topics", "create")
    write_errors(
        _log(),
        [
            error(1),
            error(2, partition=3, reason="too_late", message="3 h late"),
            error(3, partition=3, failed_at=FAILED_AT_MS + 60_000),
            error(4, value=None, reason="not_wire_format", stacktrace="Traceback\n  here"),
        ],
    )
    return embedded_shell


def _log() -> EmbeddedLog:
    return EmbeddedLog(Path(os.environ["EMBEDDED_LOG_PATH"]))


def names(text: str) -> list[str]:
    return [line.split("\t")[0] for line in text.splitlines()]


def test_list_says_what_failed_and_why(shell: Shell) -> None:
    answer = shell("errors", "list", "--reason", "too_late")
    assert answer.lines == ["clicks/3/2\ttoo_late\tdecode\t2026-01-01T00:00:00.000Z\t-\t3 h late"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ((), ["clicks/0/1", "clicks/3/2", "clicks/3/3", "clicks/0/4"]),
        (("--reason", "too_late", "-r", "not_wire_format"), ["clicks/3/2", "clicks/0/4"]),
        (("--partition", "3"), ["clicks/3/2", "clicks/3/3"]),
        (("--offsets", "2-3"), ["clicks/3/2", "clicks/3/3"]),
        (("--offsets", "4"), ["clicks/0/4"]),
        (("--since", "2026-01-01T00:01"), ["clicks/3/3"]),
        (("--until", "2026-01-01T00:01", "--topic", "clicks", "--partition", "3"), ["clicks/3/2"]),
        (("--topic", "clocks"), []),
    ],
)
def test_filters(shell: Shell, filters: tuple[str, ...], expected: list[str]) -> None:
    assert names(shell("errors", "list", *filters).out) == expected


def test_count_and_json(shell: Shell) -> None:
    assert shell("errors", "list", "--count").lines == [
        "2\tinvalid_value",
        "1\ttoo_late",
        "1\tnot_wire_format",
    ]
    first = json.loads(shell("errors", "list", "--json").lines[0])
    assert first == {**error(1), "stacktrace": None}


def test_show_prints_everything(shell: Shell) -> None:
    page = shell("errors", "show", "clicks/3/2").out
    for part in ("too_late", "3 h late", "decode", "b'u2'", "trace: b't1'", "redriven:  no"):
        assert part in page
    assert "00 00 76 61 6c 75 65 20 32" in page
    assert "..value 2" in page
    assert "a tombstone" in shell("errors", "show", "clicks/0/4").out


def test_unknown_or_malformed_names_are_said(shell: Shell) -> None:
    answer = shell("errors", "show", "clicks/7/9")
    assert answer.status == 1
    assert "clicks/7/9" in answer.err
    assert shell("errors", "show", "clicks").status == 2


def test_redrive_wants_to_know_which(shell: Shell) -> None:
    assert shell("errors", "redrive").status == 2
    assert shell("errors", "redrive", "--all", "clicks/0/1").status == 2


def test_dry_run_writes_nothing(shell: Shell) -> None:
    answer = shell("errors", "redrive", "--all", "--dry-run")
    assert names(answer.out) == ["clicks/0/1", "clicks/3/2", "clicks/3/3", "clicks/0/4"]
    assert list(read_all(_log(), "clicks")) == []


def test_redrive_puts_back_key_bytes_and_headers(shell: Shell) -> None:
    answer = shell("errors", "redrive", "clicks/3/2")
    assert (answer.status, answer.out) == (0, "redriven 1, were already 0\n")
    (record,) = read_all(_log(), "clicks")
    assert (record.partition, record.key, record.value) == (3, b"u2", b"\x00\x00value 2")
    assert record.headers == [("trace", b"t1"), ("redriven_from", b"clicks/3/2")]


def test_redriving_again_does_nothing(shell: Shell) -> None:
    shell("errors", "redrive", "--reason", "too_late")
    assert shell("errors", "redrive", "--all").out == "redriven 3, were already 1\n"
    assert shell("errors", "redrive", "--all").out == "redriven 0, were already 4\n"
    assert len(list(read_all(_log(), "clicks"))) == 4
    listed = shell("errors", "list").lines
    assert [line.split("\t")[4] for line in listed] == ["redriven"] * 4
