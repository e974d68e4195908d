"""What passes between the two processes."""

import threading
from collections import OrderedDict
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from streamrec.models.serving.apart.wire import Header, packed_answers, plainly_packed, unpacked
from streamrec.models.serving.contract import Fault, Metadata, Raw
from streamrec.schemas.reasons import Reason


class Colour(StrEnum):
    RED = "red"


def test_subclasses_of_plain_values_become_plain() -> None:
    answers: list[Any] = [
        OrderedDict(a=np.float64(1.5), b=Colour.RED, c=np.str_("x")),
        MappingProxyType({"a": True, "b": None, "c": [1, 2.5, "t"]}),
    ]
    found = unpacked(packed_answers(answers))
    assert found == [{"a": 1.5, "b": "red", "c": "x"}, {"a": True, "b": None, "c": [1, 2.5, "t"]}]
    assert [type(value) for value in found[0].values()] == [float, str, str]
    assert [type(each) for each in found] == [dict, dict]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (threading.Lock(), "got _thread.lock"),
        (np.zeros(2), "got numpy.ndarray"),
        ({"a": [print]}, "got builtins.builtin_function_or_method"),
    ],
)
def test_what_is_not_plain_is_its_own_records_fault(answer: Any, message: str) -> None:
    before, fault, after = unpacked(packed_answers([1, answer, 2]))
    assert (before, after) == (1, 2)
    assert fault.reason is Reason.OUTPUT_INVALID
    assert fault.message == (
        "answer expected plain values (dict, list, str, int, float, bool, None), " + message
    )


def test_a_class_that_raises_when_it_is_pickled_is_a_fault() -> None:
    class Hostile(OrderedDict[str, int]):
        def keys(self) -> Any:
            raise RuntimeError("not mine")

    _, fault = unpacked(packed_answers([1, Hostile(a=1)]))
    assert "RuntimeError('not mine')" in fault.message


def test_the_contracts_own_classes_pass() -> None:
    schema = MappingProxyType({"type": "object"})
    metadata = Metadata("iris", "Iris", "", 1, 0, schema, None, ("image/png",))
    fault = Fault(Reason.MODEL_FAILED, "no", "ValueError", "at line 3")
    found = unpacked(plainly_packed([metadata, fault, Raw(b"\x00", "image/png")]))
    assert found == [metadata, fault, Raw(b"\x00", "image/png")]
    assert isinstance(found[2], Raw)
    assert found[1].reason is Reason.MODEL_FAILED


def test_headers_are_read_as_they_were_written() -> None:
    header = Header(number=3, length=1 << 40, took_us=7, resident=1 << 33)
    assert Header.unpacked(header.packed()) == header
