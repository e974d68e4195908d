"""Modules of dataflows that somebody else wrote: whatever is wrong with them is one line."""

from pathlib import Path

import pytest

from tests.program.conftest import Shell

HEAD = """
from pathlib import Path
from bytewax.dataflow import Dataflow
import streamrec as sr
FLOW_ID = "mine"
def build_flow(job):
    flow = Dataflow(FLOW_ID)
    clicks = sr.each_batch("decode", job.read(flow, sr.CLICKS), sr.decode_clicks(job), failing="b")
"""
BROKEN = {
    "SyntaxError": "def build_flow(job:",
    "ZeroDivisionError('division by zero') at": "1 / 0",
    "SystemExit() at": "import sys; sys.exit()",
    "expected a function build_flow(job), got no build_flow": "FLOW_ID = 'mine'",
    "build_flow raised AttributeError": HEAD + "    job.nosuch",
    "build_flow expected to return a Dataflow, got None": HEAD + "    return None",
    "topic 'mine' expected its schema in": HEAD
    + "    job.write(clicks.good, sr.Topic('mine', Path('none.avsc'), 'user_id'), list)",
    "expected to write topic 'scores' in one place, got two": HEAD
    + "    job.write(clicks.good, sr.SCORES, list)\n    job.write(clicks.good, sr.SCORES, list)",
}


@pytest.mark.parametrize("told", BROKEN)
def test_what_is_wrong_with_a_module_is_one_line(
    embedded_shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    name = f"mine_{list(BROKEN).index(told)}"  # each imported anew
    (tmp_path / f"{name}.py").write_text(BROKEN[told])
    monkeypatch.chdir(tmp_path)
    for command in (["describe", name], ["topics", "create", "--dataflow", name]):
        answer = embedded_shell(*command)
        assert answer.status == 2
        assert told in answer.err
        assert answer.err.count("\n") == 1, answer.err


@pytest.mark.parametrize("name", ["./carts", "carts.py", "nosuch", "my carts", ""])
def test_a_name_of_no_module_is_told(embedded_shell: Shell, name: str) -> None:
    for command in (["run", "--flow", name], ["describe", name], ["run-cluster", "2", name]):
        answer = embedded_shell(*command)
        assert answer.status == 2
        assert f"got {name!r}" in answer.err, answer.err


def test_models_check_says_the_kinds_that_there_are(embedded_shell: Shell) -> None:
    answer = embedded_shell("model", "check", "rivers")
    assert answer.status == 2
    assert "expected artifact, river, none, an artifact's folder or module:Class" in answer.err


def test_models_check_finds_features_that_are_not_declared(
    embedded_shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wants_more.py").write_text(
        "import streamrec as sr\n"
        "class Wants:\n"
        "    info = sr.ModelInfo('wants', '1', user_features=('views_9d', 'views_1h'))\n"
        "    def recommend(self, sessions, k):\n"
        "        return sr.Ranking.of_lists([[]] * len(sessions))\n"
        "    def learn(self, sessions): pass\n"
    )
    monkeypatch.chdir(tmp_path)
    answer = embedded_shell("model", "check", "wants_more:Wants")
    assert answer.status == 1
    assert "BROKEN  user features are declared" in answer.out
    assert "got views_9d" in answer.out
    assert "1 checks failed" in answer.err
