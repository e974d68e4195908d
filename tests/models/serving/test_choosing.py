"""Variants chosen by hand: by header, by field, and what names none."""

from typing import Any

import numpy as np
import pytest

from streamrec.models.serving.choosing import choose_by_hand, chosen_by_field, chosen_by_header
from streamrec.models.serving.contract import Fault
from streamrec.models.serving.split import Assigned
from streamrec.schemas.reasons import Reason

NAMES = ("a", "b")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (None, None),
        ([], None),
        ([("other", b"a")], None),
        ([("variant", b"a")], 0),
        ([("variant", b"a"), ("variant", b"b")], 1),
        ([("variant", b"c")], "header 'variant' expected a variant of a, b, got 'c'"),
        ([("variant", b"\xff")], "header 'variant' expected a variant of a, b, got '\ufffd'"),
        ([("variant", None)], "header 'variant' expected a variant of a, b, got None"),
    ],
)
def test_header_chooses_by_name(headers: Any, expected: int | str | None) -> None:
    found = chosen_by_header("variant", headers, NAMES)
    if isinstance(expected, str):
        assert found == Fault(Reason.INVALID_VALUE, expected)
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"to": {"variant": "b"}}, 1),
        ({"to": {}}, None),
        ({"to": None}, None),
        ({"to": "a"}, None),
        ({"to": {"variant": None}}, None),
        (["to"], None),
        ({"to": {"variant": 1}}, "field to.variant expected a variant of a, b, got 1"),
        ({"to": {"variant": ["a"]}}, "field to.variant expected a variant of a, b, got ['a']"),
    ],
)
def test_field_chooses_by_path(value: Any, expected: int | str | None) -> None:
    found = chosen_by_field("to.variant", value, NAMES)
    if isinstance(expected, str):
        assert found == Fault(Reason.INVALID_VALUE, expected)
    else:
        assert found == expected


def test_what_is_chosen_by_hand_has_no_propensity_and_changes_nobody_elses() -> None:
    assigned = Assigned(np.array([0, 0, 1, 1], np.int32), np.array([0.9, 0.9, 0.1, 0.1]))
    fault = Fault(Reason.INVALID_VALUE, "no such variant")

    found, faults = choose_by_hand(assigned, [None, 1, fault, None])

    assert found.variants.tolist() == [0, 1, 1, 1]
    assert found.propensities[[0, 2, 3]].tolist() == [0.9, 0.1, 0.1]
    assert np.isnan(found.propensities[1])
    assert faults == {2: fault}
    assert assigned.variants.tolist() == [0, 0, 1, 1]
