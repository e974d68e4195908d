"""The iris example: its recipe, and what its class answers."""

import json
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris

from tests.examples.pages import EXAMPLES

FOLDER = EXAMPLES / "iris"
FLOWER = {"sepal_length": 1.1, "sepal_width": 1.2, "petal_length": 1.3, "petal_width": 1.4}


def module(path: Path) -> ModuleType:
    """A file as a module; its name is not one by which others find it."""
    found = ModuleType(f"example_{path.stem}")
    found.__dict__.update(runpy.run_path(str(path)))
    return found


def test_the_flower_of_the_page_is_a_setosa() -> None:
    assert module(FOLDER / "iris_model.py").Iris().predict(FLOWER) == {"species": "setosa"}


def test_its_model_knows_nearly_all_flowers() -> None:
    iris, model = load_iris(), module(FOLDER / "iris_model.py").Iris()
    names = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    flowers = [dict(zip(names, row, strict=True)) for row in iris.data.tolist()]
    said = [model.predict(flower)["species"] for flower in flowers]
    right = [iris.target_names[species] for species in iris.target]
    assert np.mean([a == b for a, b in zip(said, right, strict=True)]) > 0.96


def test_the_recipe_makes_the_parameters_that_are_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", str(tmp_path / "iris.json")])
    runpy.run_path(str(FOLDER / "train.py"), run_name="__main__")
    assert capsys.readouterr().out.startswith("accuracy 0.9")
    shipped, made = (
        json.loads((folder / "iris.json").read_text()) for folder in (FOLDER, tmp_path)
    )
    assert numbers(made) == pytest.approx(numbers(shipped), rel=1e-3)
    assert made["species"] == shipped["species"]


def numbers(parameters: dict[str, Any]) -> list[float]:
    names = ("means", "scales", "weights", "intercepts")
    found: list[float] = np.concatenate([np.ravel(parameters[n]) for n in names]).tolist()
    return found
