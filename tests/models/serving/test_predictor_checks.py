"""The public battery: a model that keeps the contract passes, and each way to break it is told."""

from collections.abc import Callable
from typing import Any

import pytest
from schema import And, Schema, Use

from streamrec import check_predictor
from streamrec.models.loading import BadModel
from streamrec.models.serving.checks import BrokenPredictorError
from streamrec.models.serving.classes import class_predictor
from streamrec.models.serving.contract import Predictor
from streamrec.models.serving.examples import examples_of
from streamrec.models.serving.functions import function_predictor

NUMBER = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}


class Doubles:
    """Twice a number."""

    display_name, qualified_name = "Doubles", "doubles"
    major_version, minor_version = 1, 0
    input_schema: Any = NUMBER
    output_schema: Any = NUMBER

    def predict(self, data: Any) -> Any:
        return {"n": 2 * data["n"]}


class Counts(Doubles):
    """Learns as it answers."""

    def __init__(self) -> None:
        self.seen = 0

    def predict(self, data: Any) -> Any:
        self.seen += 1
        return {"n": self.seen}


class Fails(Doubles):
    def predict(self, data: Any) -> Any:
        raise LookupError("no such number")


class Rubbish(Doubles):
    def predict(self, data: Any) -> Any:
        return {"m": 1}


class OtherInBatches(Doubles):
    def predict_batch(self, rows: list[Any]) -> list[Any]:
        return [{"n": 0.0} for _ in rows]


def _loaded(kind: type) -> Callable[[], Predictor]:
    return lambda: class_predictor("here:Kind", kind, None)


@pytest.mark.parametrize("kind", [Doubles, Counts])
def test_a_model_that_keeps_the_contract_passes(kind: type) -> None:
    check_predictor(_loaded(kind))


@pytest.mark.parametrize("name", ["streamrec:propensity", "streamrec:recommender"])
def test_our_own_models_pass(name: str) -> None:
    check_predictor(name)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Fails, "expected an answer to {'n': 0.5}, got model_failed: model doubles raised Lookup"),
        (Rubbish, "got output_invalid: answer $.n expected a value, got nothing"),
        (OtherInBatches, "expected {'n': 1.0} for {'n': 0.5} as by itself, got {'n': 0.0}"),
    ],
)
def test_what_a_model_gets_wrong_is_told(kind: type, said: str) -> None:
    with pytest.raises(BrokenPredictorError) as told:
        check_predictor(_loaded(kind))
    assert said in str(told.value)


def test_what_was_made_up_is_not_held_against_a_model() -> None:
    """Its check may say more than JSON Schema can; a function without one takes what it takes."""

    class Even(Doubles):
        input_schema = Schema({"n": And(Use(int), lambda n: n % 2 == 0)})

    def double(order: dict[str, Any]) -> dict[str, Any]:
        return {"twice": 2 * order["n"]}

    check_predictor(_loaded(Even))
    check_predictor(lambda: function_predictor("double", double))


def test_what_cannot_be_loaded_is_told() -> None:
    def make() -> Predictor:
        raise BadModel("model 'here' expected more")

    with pytest.raises(BrokenPredictorError, match="it can be loaded: model 'here' expected more"):
        check_predictor(make)


@pytest.mark.parametrize(
    ("schema", "examples"),
    [
        (None, [{}]),
        ({"examples": [{"n": 7}, "no object"], **NUMBER}, [{"n": 7}]),
        ({"type": "string", "minLength": 3}, ["aaa"]),
        ({"enum": ["b", "a"]}, ["b"]),
        ({"type": "integer", "exclusiveMinimum": 4}, [5]),
        ({"type": "number", "maximum": -2}, [-2.0]),
        ({"type": "string", "pattern": "^z+$"}, []),
        (
            {"type": "array", "items": {"$ref": "#/$defs/x"}, "$defs": {"x": {"const": 3}}},
            [[3], []],
        ),
    ],
)
def test_examples_fit_their_schema_or_there_are_none(schema: Any, examples: list[Any]) -> None:
    assert examples_of(schema) == examples
