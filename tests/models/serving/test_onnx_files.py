"""ONNX files, by the extra."""

import sys
from pathlib import Path

import numpy as np
import pytest

from streamrec.models.loading import BadModel
from streamrec.models.serving.files import file_predictor
from tests.models.serving.asking import answers
from tests.models.serving.onnx_bytes import onnx_model

_TEXT = """
inputs = [{name = "a", type = "number"}, {name = "b", type = "number", nullable = true}]
[output]
"""
_WEIGHTS = np.array([[1.0, -1.0], [2.0, 0.5]], np.float32)
_OFFSETS = np.array([0.0, 0.25], np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "m.toml").write_text(_TEXT + 'names = ["x", "y"]\n')
    (tmp_path / "m.onnx").write_bytes(onnx_model(_WEIGHTS, _OFFSETS, is_softmax=False))
    return tmp_path / "m.onnx"


def test_numbers_are_answered_as_the_graph_says(path: Path) -> None:
    found = answers(file_predictor(path), [{"a": 1.0, "b": 2.0}, {"a": 3, "b": 0}])
    assert found == [{"x": 5.0, "y": 0.25}, {"x": 3.0, "y": -2.75}]


def test_a_missing_number_that_the_graph_makes_nan_is_a_fault_of_its_own(path: Path) -> None:
    missing, good = answers(file_predictor(path), [{"a": 1.0}, {"a": 3, "b": 0}])
    assert missing.message == "answer $.x expected a finite number, got nan"
    assert good == {"x": 3.0, "y": -2.75}


def test_chances_are_answered_as_labels(path: Path) -> None:
    path.write_bytes(onnx_model(_WEIGHTS, _OFFSETS, is_softmax=True))
    output = 'name = "kind"\nlabels = ["up", "down"]\nprobability = "p"\n'
    path.with_suffix(".toml").write_text(_TEXT + output)
    up, down = answers(file_predictor(path), [{"a": 1.0, "b": 1.0}, {"a": -1.0, "b": 0.0}])
    assert (up["kind"], down["kind"]) == ("up", "down")
    assert up["p"] == pytest.approx(1 / (1 + np.exp(-(3 - -0.25))), rel=1e-5)


def test_what_does_not_fit_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = path.with_suffix(".toml").read_text()
    path.with_suffix(".toml").write_text(text.replace('[{name = "a", type = "number"}, ', "["))
    with pytest.raises(BadModel, match="expected 2 inputs in its description, got 1"):
        file_predictor(path)
    path.with_suffix(".toml").write_text(_TEXT + 'name = "x"\n')
    with pytest.raises(BadModel, match="output expected 1 numbers, got 2"):
        file_predictor(path)
    path.write_bytes(b"no graph")
    with pytest.raises(BadModel, match="expected an ONNX file"):
        file_predictor(path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BadModel, match=r"pip install 'streamrec\[onnx\]'"):
        file_predictor(path)
