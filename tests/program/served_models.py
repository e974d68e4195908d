"""Models of somebody else's, in a folder of their own, for commands that serve them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PATIENCE_S = 90.0
MODELS = """
class Iris:
    display_name = "Iris"
    qualified_name = "iris"
    description = "Species of a flower."
    major_version, minor_version = 1, 0
    input_schema = {
        "type": "object",
        "properties": {"petal_width": {"type": "number", "description": "cm"}},
        "required": ["petal_width"],
    }
    output_schema = {
        "type": "object",
        "properties": {"species": {"type": "string"}},
        "required": ["species"],
    }
    def predict(self, data):
        print("predicting")
        return {"species": "setosa" if data["petal_width"] < 1.5 else "virginica"}

class Newer(Iris):
    minor_version = 1
    input_schema = {**Iris.input_schema, "required": []}

class Changed(Iris):
    input_schema = {
        "type": "object",
        "properties": {"petal_width": {"type": "string"}},
        "required": ["petal_width"],
    }

class Described(Iris):
    input_schema = {
        "type": "object",
        "properties": {"petal_width": {"type": "number", "description": "centimetres"}},
        "required": ["petal_width"],
    }

class Anything(Iris):
    output_schema = None

class Picture(Iris):
    qualified_name = "picture"
    content_types = ("image/png",)
    input_schema = None
    def predict(self, content, content_type):
        return {"species": content_type}

class Note(Picture):
    content_types = ("text/plain",)

class Nothing:
    qualified_name = "nothing"
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the user's own `flowers.py`, in which commands run."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "flowers.py").write_text(MODELS)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return folder


def run_pipeline(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """`pipeline run` in a process of its own, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "streamrec", "pipeline", "run", *arguments],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
