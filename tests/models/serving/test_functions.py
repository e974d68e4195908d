"""A function as a model: by the decorator, or by nothing at all."""

import sys
from pathlib import Path

import pytest

from streamrec.models.loading import BadModel
from streamrec.models.serving.contract import Raw
from streamrec.models.serving.loading import load_predictor
from streamrec.schemas.reasons import Reason
from tests.models.serving.asking import answers

FUNCTIONS = '''
from dataclasses import dataclass
from typing_extensions import TypedDict
import numpy as np
import streamrec
from pydantic import BaseModel, Field

def bare(data):
    """Doubles."""
    return {"twice": np.float64(2.0) * data["n"], "list": np.arange(2), "flag": np.bool_(True)}

@streamrec.model(
    name="churn-risk", version="2.1", display_name="Churn",
    input_schema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    output_schema={"type": "number"},
)
def churn(data):
    return data["n"] / 3

class Customer(BaseModel):
    years: int = Field(ge=0)
    tags: list[str] = []

class Risk(BaseModel):
    risk: float

@streamrec.model
def typed(customer: Customer) -> Risk:
    if customer.years == 77:
        return {"risk": "high"}
    if customer.years == 78:
        return Risk.model_construct(risk="high")
    if customer.years == 79:
        return {"risk": float("inf")}
    return Risk(risk=customer.years / 2)

@dataclass
class Point:
    x: float
    y: float = 0.0

class Sum(TypedDict):
    sum: float

def added(point: Point) -> Sum:
    return {"sum": point.x + point.y}

@streamrec.model(content_types="text/plain")
def words(data):
    return {"words": len(data.split())}

@streamrec.model(name="two words", version="new", input_schema=3)
def wrong(): ...
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def test_a_function_without_anything_takes_and_gives_any_object(folder: Path) -> None:
    bare = load_predictor("functions:bare", folder=folder)
    assert (bare.metadata.qualified_name, bare.metadata.version) == ("bare", "1.0")
    assert bare.metadata.description == "Doubles."
    assert answers(bare, [{"n": 1.5}]) == [{"twice": 3.0, "list": [0, 1], "flag": True}]
    (fault,) = answers(bare, [[1]])
    assert (fault.reason, fault.message) == (
        Reason.INVALID_VALUE,
        "$ expected an object, got [1]",
    )


def test_the_decorator_says_what_the_model_is(folder: Path) -> None:
    churn = load_predictor("functions:churn", folder=folder)
    assert (churn.metadata.qualified_name, churn.metadata.version) == ("churn-risk", "2.1")
    assert churn.metadata.display_name == "Churn"
    assert answers(churn, [{"n": 6}]) == [2.0]


def test_type_hints_of_pydantic_are_the_schemas(folder: Path) -> None:
    typed = load_predictor("functions:typed", folder=folder)
    good, wrong, missing, rubbish, built, infinite = answers(
        typed, [{"years": 3}, {"years": -1}, {}, {"years": 77}, {"years": 78}, {"years": 79}]
    )
    assert good == {"risk": 1.5}
    assert wrong.message == "$.years expected greater than or equal to 0, got -1"
    assert missing.message == "$.years expected a value, got nothing"
    assert rubbish.message.startswith("answer $.risk expected a valid number")
    assert built.reason is infinite.reason is Reason.OUTPUT_INVALID
    assert infinite.message == "answer $.risk expected a finite number, got inf"
    assert typed.metadata.input_schema is not None
    assert typed.metadata.input_schema["properties"]["years"]["minimum"] == 0


def test_type_hints_of_dataclasses_and_typed_dicts_are_the_schemas(folder: Path) -> None:
    added = load_predictor("functions:added", folder=folder)
    assert answers(added, [{"x": 1.0, "y": 2.0}, {"x": 1.0}]) == [{"sum": 3.0}, {"sum": 1.0}]
    assert answers(added, [{"y": 2.0}])[0].message == "$.x expected a value, got nothing"


def test_a_function_may_take_bytes(folder: Path) -> None:
    words = load_predictor("functions:words", folder=folder)
    assert answers(words, [Raw(b"two words", "")]) == [{"words": 2}]
    assert words.metadata.content_types == ("text/plain",)


def test_all_that_is_wrong_with_a_function_is_told_at_once(folder: Path) -> None:
    with pytest.raises(BadModel) as told:
        load_predictor("functions:wrong", folder=folder)
    for what in ("expected to be called with one value", "'two words'", "'new'", "input_schema"):
        assert what in str(told.value)
