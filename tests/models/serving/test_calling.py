"""A batch is answered as each by itself is, whatever the model does; answers become plain."""

import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.models.serving.calling import CallPredictor
from streamrec.models.serving.checking import checker_of
from streamrec.models.serving.contract import Fault, Metadata
from streamrec.models.serving.misfit import Misfit
from streamrec.models.serving.plain_values import plain
from streamrec.schemas.reasons import Reason
from tests.models.serving.asking import answers

_SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
_METADATA = Metadata("m", "M", "", 1, 0, _SCHEMA, _SCHEMA)


class _Odd(BaseException):
    """Not even an Exception."""


def _one(value: dict[str, Any]) -> Any:
    number = value.pop("n")  # what it is given may be changed
    match number % 7:
        case 0:
            raise ValueError(number)
        case 1:
            return {"n": "rubbish"}
        case 2:
            raise _Odd(number)
        case 3:
            return {"n": float("nan")}
    return {"n": number * 2}


def _many(values: list[dict[str, Any]]) -> list[Any]:
    return [_one(value) for value in values]


def _many_but_one(values: list[dict[str, Any]]) -> list[Any]:
    return [{"n": 4} for _ in values][1:] if any(v["n"] % 3 == 0 for v in values) else _many(values)


def _comparable(answers: list[Any]) -> list[Any]:
    """Without where in our code a call came from."""
    return [(a.reason, a.message, a.exception) if isinstance(a, Fault) else a for a in answers]


_inputs: st.SearchStrategy[list[Any]] = st.lists(
    st.one_of(
        st.integers(4, 6).map(lambda n: {"n": n}),
        st.integers(0, 50).map(lambda n: {"n": n}),
        st.sampled_from([{}, {"n": "x"}, None, [], {"n": 5, "more": [1]}]),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(_inputs, st.sampled_from([_many, _many_but_one]))
def test_a_batch_is_answered_as_each_by_itself(inputs: list[Any], many: Any) -> None:
    checker = checker_of(_SCHEMA)
    batched = CallPredictor(_METADATA, _one, many, inputs=checker, outputs=checker)
    alone = CallPredictor(_METADATA, _one, inputs=checker, outputs=checker)
    copies = [dict(each) if isinstance(each, dict) else each for each in inputs]
    one_by_one = [answers(alone, [each])[0] for each in copies]
    assert _comparable(answers(batched, inputs)) == _comparable(one_by_one)


def test_a_fault_has_the_class_and_the_traceback_of_what_was_raised() -> None:
    checker = checker_of(_SCHEMA)
    model = CallPredictor(_METADATA, _one, inputs=checker, outputs=checker)
    raised, odd = answers(model, [{"n": 7}, {"n": 9}])
    assert (raised.reason, raised.exception) == (Reason.MODEL_FAILED, "ValueError")
    assert raised.message.startswith("model m raised ValueError(7) at ")
    assert raised.stacktrace.endswith("ValueError: 7\n")
    assert odd.exception == "_Odd"


def test_what_ends_a_process_passes() -> None:
    def interrupted(value: Any) -> Any:
        raise KeyboardInterrupt

    checker = checker_of(None)
    for many in (None, interrupted):
        model = CallPredictor(_METADATA, interrupted, many, inputs=checker, outputs=checker)
        with pytest.raises(KeyboardInterrupt):
            answers(model, [1, 2])


def test_an_error_that_cannot_be_told_is_a_fault_all_the_same() -> None:
    class Mute(Exception):
        def __repr__(self) -> str:
            raise RuntimeError

        __str__ = __repr__

    def fails(value: Any) -> Any:
        raise Mute

    model = CallPredictor(_METADATA, fails, inputs=checker_of(None), outputs=checker_of(None))
    (fault,) = answers(model, [1])
    assert fault.message == "model m raised a Mute that cannot be told as text"


class _Color(enum.Enum):
    RED = "red"


@dataclass
class _Point:
    x: float


@pytest.mark.parametrize(
    ("value", "made"),
    [
        (np.float64(1.5), 1.5),
        (np.int32(3), 3),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        ({"a": (1, _Color.RED), "b": _Point(2.0)}, {"a": [1, "red"], "b": {"x": 2.0}}),
        (np.str_("text"), "text"),
        ({np.str_("a"): None}, {"a": None}),
    ],
)
def test_an_answer_becomes_what_json_says(value: Any, made: Any) -> None:
    found = plain(value)
    assert repr(found) == repr(made)  # equal with the types


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": [1, float("inf")]}, "$.a[1] expected a finite number, got inf"),
        (np.array([np.nan]), "$[0] expected a finite number, got nan"),
        ({1: 2}, "$ expected names of fields that are text, got 1"),
        ({"a": b"b"}, "$.a expected what JSON can say, got b'b'"),
        ({"a": {1}}, "$.a expected what JSON can say, got {1}"),
        (datetime(2026, 1, 1, tzinfo=UTC), "$ expected what JSON can say, got datetime"),
        ("\ud800", "$ expected text, got '\\ud800'"),
        ({"\ud800": 1}, "$ expected names of fields that are whole characters"),
    ],
)
def test_what_json_cannot_say_is_named_by_its_path(value: Any, said: str) -> None:
    found = plain(value)
    assert type(found) is Misfit
    assert str(found).startswith(said)


def test_an_answer_within_itself_is_no_json() -> None:
    value: list[Any] = []
    value.append(value)
    assert "levels, one inside the other" in str(plain(value))
