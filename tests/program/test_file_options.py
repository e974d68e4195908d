"""The same options and the same reader for all commands that read click files."""

import inspect
import json
from pathlib import Path

import pytest

from streamrec.program.learning.evaluate import evaluate
from streamrec.program.learning.train import train
from streamrec.program.records.import_file import import_file
from tests.program.conftest import Shell

# All but two need an option to be read: no header, times in doubt, odd types, words and bytes.
ODD = "".join(
    f"u{n % 4}~ü{n % 6}~{'peek' if n % 2 else 'take'}~0{1 + n % 9}/0{1 + n % 8}/2025 1{n % 10}:00\r"
    for n in range(60)
).encode("latin-1")
OPTIONS = (
    *("--columns", "who,sku,action,when", "--delimiter", "~", "--encoding", "latin-1"),
    *("--time-format", "%d/%m/%Y %H:%M", "--time", "when", "--user", "who", "--nothing", "u3"),
    *("--map", "peek=view,take=purchase"),
)


def test_all_three_have_the_same_options() -> None:
    commands = [set(inspect.signature(each).parameters) for each in (import_file, train, evaluate)]
    shared = set.intersection(*commands)
    assert {
        "user", "item", "at", "event_type", "price", "category", "session", "time_unit",
        "time_format", "start", "price_scale", "mapping", "nothing", "strict", "form", "delimiter",
        "columns", "encoding",
    } <= shared  # fmt: skip


@pytest.fixture
def odd(tmp_path: Path) -> str:
    path = tmp_path / "odd.log"
    path.write_bytes(ODD)
    return str(path)


def test_import_reads_by_them(embedded_shell: Shell, odd: str) -> None:
    embedded_shell("topics", "create")
    answer = embedded_shell("import", odd, *OPTIONS)
    assert answer.status == 0
    assert "imported 45 clicks" in answer.err
    assert answer.err.count("got 'u3', which is taken for nothing") == 1
    assert "15 rows rejected, the first line 4: who expected an id" in answer.err
    clicks = [json.loads(line) for line in embedded_shell("receive", "clicks").lines]
    assert {click["item_id"] for click in clicks} == {f"ü{n}" for n in range(6)}
    assert {click["event_type"] for click in clicks} == {"view", "purchase"}


def test_train_reads_by_them_and_several_files(
    embedded_shell: Shell, odd: str, tmp_path: Path
) -> None:
    out = ("--out", str(tmp_path / "model"), "--budget", "0.01")
    answer = embedded_shell("train", odd, odd, *OPTIONS, *out)
    assert answer.status == 0
    assert "90 clicks\n" in answer.err
    assert "odd.log line 4: who expected an id, got 'u3'" in answer.err


def test_evaluate_reads_by_them(embedded_shell: Shell, odd: str, tmp_path: Path) -> None:
    report = tmp_path / "out.json"
    answer = embedded_shell(
        *("evaluate", "--train", odd, "--test", odd, *OPTIONS),
        *("--models", "popular", "--budget", "0.01", "--out", str(report)),
    )
    assert answer.status == 0
    (result,) = json.loads(report.read_text())["results"]
    assert result["queries"] == 45 - 3  # all but the first of each user


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--map", "pv"), "--map expected NAME=view|cart"),
        (("--start", "soon"), "--start expected Unix milliseconds"),
        (("--encoding", "latin-99"), "--encoding expected a name such as latin-1, got 'latin-99'"),
        (("--delimiter", ""), "--delimiter expected characters"),
        (("--time-format", "%Q"), "--time-format expected a format"),
        (("--user", "nobody"), "--user expected one of the columns"),
    ],
)
@pytest.mark.parametrize("command", ["import", "train", "evaluate"])
def test_options_that_cannot_be_are_named(
    embedded_shell: Shell, tmp_path: Path, command: str, arguments: tuple[str, ...], said: str
) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item,time\nu,i,1767225600\n")
    files = ("--train", str(path), "--test", str(path)) if command == "evaluate" else (str(path),)
    answer = embedded_shell(command, *files, *arguments)
    assert answer.status == 2
    assert said in answer.err.splitlines()[-1]


def test_sessions_without_times_are_trained_on(embedded_shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "sessions.jsonl"
    path.write_text("".join(json.dumps([n % 5, (n + 1) % 5]) + "\n" for n in range(40)))
    out = ("--out", str(tmp_path / "model"), "--budget", "0.01")
    refused = embedded_shell("train", str(path), *out)
    assert refused.status == 2
    assert "--start" in refused.err
    answer = embedded_shell("train", str(path), "--start", "2026-01-01", *out)
    assert answer.status == 0
    assert "80 clicks\n" in answer.err
