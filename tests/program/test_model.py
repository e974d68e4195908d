"""`streamrec model`: what a name stands for, without a stream."""

import json
import sys
from pathlib import Path

import pytest

from tests.program.conftest import Shell

MODELS = '''
print("imported")

class Iris:
    """Which iris a flower is."""
    display_name, qualified_name = "Iris", "iris"
    major_version, minor_version = 1, 4
    input_schema = {
        "type": "object",
        "properties": {
            "length": {"type": "number", "minimum": 0, "description": "cm"},
            "note": {"type": "string"},
        },
        "required": ["length"],
    }
    output_schema = {
        "type": "object",
        "properties": {"species": {"enum": ["setosa", "virginica"]}},
        "required": ["species"],
    }
    def __init__(self):
        print("made")
    def predict(self, data):
        print("asked")
        return {"species": "setosa" if data["length"] < 3 else "virginica"}

class Two(Iris):
    def predict_proba(self, data):
        return {"species": "tulip"}

class Bare: ...
'''


@pytest.fixture
def shell(embedded_shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    (tmp_path / "models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "models", raising=False)
    return embedded_shell


def test_check_tells_a_line_for_each_check(shell: Shell) -> None:
    answer = shell("model", "check", "models:Iris")
    assert (answer.status, answer.err.split()[0]) == (0, "imported")
    assert [line[:6] for line in answer.lines if line[:1] != " "] == ["ok    "] * 6
    assert "JSON or Avro" in answer.out


def test_check_of_a_class_with_two_methods_checks_both(shell: Shell) -> None:
    answer = shell("model", "check", "models:Two")
    assert answer.status == 1
    assert "models:Two.predict_proba\n" in answer.out
    assert "BROKEN  it answers inputs that fit its schema" in answer.out
    assert "model 'models:Two': 1 checks failed" in answer.err


def test_what_is_no_model_is_refused_in_one_line(shell: Shell) -> None:
    for command in ("check", "describe", "metadata"):
        answer = shell("model", command, "models:Bare")
        assert (answer.status, answer.out) == (2, "")
        assert "display_name expected text, got none" in answer.err
        assert "expected predict(data), got none" in answer.err
        assert "Traceback" not in answer.err


def test_metadata_is_one_json_document_whatever_the_model_prints(shell: Shell) -> None:
    answer = shell("model", "metadata", "models:Iris")
    found = json.loads(answer.out)
    assert (found["qualified_name"], found["version"]) == ("iris", "1.4")
    assert found["input_schema"]["required"] == ["length"]
    assert found["output_avro"]["fields"][0]["type"]["symbols"] == ["setosa", "virginica"]
    assert "methods" not in found
    assert json.loads(shell("model", "metadata", "models:Two").out)["methods"] == [
        "predict",
        "predict_proba",
    ]


def test_describe_is_a_page(shell: Shell) -> None:
    answer = shell("model", "describe", "models:Iris")
    assert answer.status == 0
    assert (
        answer.out
        == """\
Iris (iris 1.4)
===============
Which iris a flower is.

takes
  length  number >= 0: cm
  note    string, may be left out

answers
  species  one of "setosa", "virginica"

inputs as Avro: yes

answers as Avro: yes
"""
    )


def test_our_own_models_have_names(shell: Shell) -> None:
    assert shell("model", "check", "streamrec:propensity").status == 0
    assert "count_view_1h" in shell("model", "describe", "streamrec:propensity").out
