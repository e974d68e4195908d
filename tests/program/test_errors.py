import json
import os
from pathlib import Path
from typing import Any

import pytest

from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.connectors.log import Record
from streamrec.connectors.reading import read_all
from streamrec.dataflows.job.topics import errors_topic, make_all, redrives_of
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
    unsaid = {"stacktrace": None, "output_kind": "", "output_number": 0}
    assert first == {**error(1), **unsaid}


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
    assert record.headers == [
        ("trace", b"t1"),
        ("redriven_from", b"clicks/3/2"),
        ("redrive_attempts", b"1"),
    ]


def test_redriving_again_does_nothing(shell: Shell) -> None:
    shell("errors", "redrive", "--reason", "too_late")
    assert shell("errors", "redrive", "--all").out == "redriven 3, were already 1\n"
    assert shell("errors", "redrive", "--all").out == "redriven 0, were already 4\n"
    assert len(list(read_all(_log(), "clicks"))) == 4
    listed = shell("errors", "list").lines
    assert [line.split("\t")[4] for line in listed] == ["redriven"] * 4


def failed_again(record: Record, offset: int) -> dict[str, Any]:
    """The error of a record that was put back and failed again, where it stands now."""
    headers = [{"name": n, "value": (v or b"").decode()} for n, v in record.headers]
    return error(offset, partition=record.partition, headers=headers)


def test_what_failed_again_is_left_out_unless_again_and_attempts_are_counted(shell: Shell) -> None:
    assert shell("errors", "redrive", "--all").out == "redriven 4, were already 0\n"
    for attempt in (1, 2, 3):
        newest = list(read_all(_log(), "clicks"))[-1]
        assert dict(newest.headers)["redrive_attempts"] == str(attempt).encode()
        assert [name for name, _ in newest.headers].count("redriven_from") == 1
        write_errors(_log(), [failed_again(newest, offset=100 + attempt)])
        name = f"clicks/{newest.partition}/{100 + attempt}"
        listed = {
            line.split("\t")[0]: line.split("\t")[4] for line in shell("errors", "list").lines
        }
        assert listed[name] == f"- after {attempt}"

        answer = shell("errors", "redrive", "--all")
        assert answer.out == "redriven 0, were already 4\n"
        assert f"left out {attempt} that failed again; --again redrives them" in answer.err
        assert len(list(read_all(_log(), "clicks"))) == 3 + attempt

        again = shell("errors", "redrive", "--all", "--again")
        assert again.out == f"redriven 1, were already {3 + attempt}\n"
    shown = shell("errors", "show", name)
    assert "attempts:  3 before this" in shown.out


def test_what_failed_again_is_redriven_by_its_name(shell: Shell) -> None:
    shell("errors", "redrive", "clicks/3/2")
    (record,) = read_all(_log(), "clicks")
    write_errors(_log(), [failed_again(record, offset=9)])
    assert shell("errors", "redrive", "clicks/3/9").out == "redriven 1, were already 0\n"


def test_a_reason_that_is_none_is_said(shell: Shell) -> None:
    answer = shell("errors", "list", "--reason", "nosuch")
    assert (answer.status, answer.out) == (0, "")
    assert "no reason 'nosuch' is known; there are not_wire_format" in answer.err


def test_errors_of_another_topic_are_listed_shown_and_redriven(shell: Shell) -> None:
    held = errors_topic("models.iris.1.0.errors", partitions=1)
    topics = {topic.name: topic for topic in (held, redrives_of(held))}
    make_all(_log(), topics)
    write_errors(_log(), [error(7)], held.name)
    option = ("--errors-topic", held.name)
    assert names(shell("errors", "list", *option).out) == ["clicks/0/7"]
    assert shell("errors", "show", "clicks/0/7", *option).lines[0] == "clicks/0/7"
    assert shell("errors", "redrive", "--all", *option).out == "redriven 1, were already 0\n"
    assert shell("errors", "redrive", "clicks/0/7", *option).out == "redriven 0, were already 1\n"
    assert shell("errors", "list", *option).lines[0].split("\t")[4] == "redriven"
    assert "clicks/0/7" not in names(shell("errors", "list").out)


def test_a_topic_that_holds_no_errors_is_named(shell: Shell) -> None:
    shell("errors", "redrive", "--all")  # so that there is something
    answer = shell("errors", "list", "--errors-topic", "errors-redrives")
    assert answer.status == 1
    assert (
        "topic 'errors-redrives' holds what is no error: errors-redrives/0/0 has no" in answer.err
    )
