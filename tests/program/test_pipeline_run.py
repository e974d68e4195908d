"""`pipeline run`, in a process of its own, as it becomes the engine."""

import json
from pathlib import Path

import pytest

from tests.program.conftest import Shell
from tests.program.served_models import models as models
from tests.program.served_models import run_pipeline


@pytest.fixture
def shell(embedded_shell: Shell, models: Path) -> Shell:
    embedded_shell("pipeline", "create", "iris", "--model", "flowers:Iris", "--partitions", "2")
    return embedded_shell


def test_what_is_there_is_answered_once_and_what_is_wrong_is_in_errors(shell: Shell) -> None:
    lines = '{"petal_width": 1.4}\n{"petal_width": "wide"}\n{"petal_width": 2}\n'
    shell("send", "--pipeline", "iris", "--key", "k", stdin=lines)
    for _ in range(2):  # the second finds nothing to do
        done = run_pipeline("iris", "--until-end", "-r", "state", "-s", "0")
        assert done.returncode == 0, done.stderr
        answers = shell("receive", "--pipeline", "iris", "--meta").lines
        assert [json.loads(line)["value"] for line in answers] == [
            {"species": "setosa"},
            {"species": "virginica"},
        ]
        assert {json.loads(line)["key"] for line in answers} == {"k"}
        (failed,) = map(json.loads, shell("receive", "--pipeline", "iris", "--errors").lines)
        assert (failed["reason"], failed["value"]) == ("invalid_value", {"petal_width": "wide"})
        facts = json.loads(shell("pipeline", "status", "iris", "--json").out)
        assert (facts["lag"], facts["reasons"]) == (0, {"invalid_value": 1})


def test_a_model_that_is_another_than_the_logs_is_not_run(shell: Shell, models: Path) -> None:
    mine = models / "flowers.py"
    mine.write_text(mine.read_text() + "Iris = Newer\n")
    done = run_pipeline("iris", "--until-end")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "pipeline 'iris' expected its model in version 1.0, got 1.1; `streamrec pipeline" in line
