"""Rules judge a column as they judge its values one by one, and both as a plain reader would."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamrec.connectors.log import NO_TIMESTAMP_MS
from streamrec.dataflows.steps.rules import (
    MAX_TIME_MS,
    SECONDS,
    Between,
    EventTime,
    OneOf,
    Rule,
    TextLength,
    message_of,
    settled,
)
from streamrec.schemas.columns import Column, Numbers, strings

NOW_MS = 1_767_225_600_000
INT64 = st.integers(-(2**63), 2**63 - 1)
SMALL = st.integers(-5, 5)


def texts(values: list[str | None]) -> Column:
    return strings(list(values))


def numbers(values: list[Any], dtype: Any) -> Column:
    mask = np.array([value is not None for value in values])
    array = np.array([0 if value is None else value for value in values], dtype)
    return Numbers(array, None if mask.all() else mask)


def agree(rule: Rule, column: Column, values: list[Any], expected: list[int]) -> None:
    written = np.full(len(values), NO_TIMESTAMP_MS)
    assert rule.broken(column, written).tolist() == expected
    assert [rule.judge(value, NO_TIMESTAMP_MS) for value in values] == expected


@given(st.lists(st.none() | st.text(max_size=6), max_size=12), st.integers(0, 4), st.integers(0, 9))
def test_text_length_counts_bytes_and_null_is_none(
    values: list[str | None], least: int, most: int
) -> None:
    expected = [int(not least <= len((v or "").encode("utf-8")) <= most) for v in values]
    agree(TextLength("f", least, most), texts(values), values, expected)


@given(st.lists(st.none() | INT64 | SMALL, max_size=12), INT64 | SMALL, INT64 | SMALL)
def test_integers_are_compared_exactly(values: list[int | None], low: int, high: int) -> None:
    expected = [int(v is not None and (v < low or v > high)) for v in values]
    agree(Between("f", low, high), numbers(values, np.int64), values, expected)


@pytest.mark.parametrize(
    ("low", "high", "good"),
    [
        (2.5, 4.5, [3, 4]),
        (2**53 + 1, 2**70, [2**53 + 1, 2**63 - 1]),
        (-(2**70), -(2**63), [-(2**63)]),
        (2**63, 2**70, []),
        (-(2**70), -(2**63) - 1, []),
        (-math.inf, 3, [-(2**63), 0, 3]),
        (4, math.inf, [4, 5, 2**53, 2**53 + 1, 2**63 - 1]),
    ],
)
def test_bounds_beyond_what_a_column_holds(low: float, high: float, good: list[int]) -> None:
    values = [-(2**63), 0, 3, 4, 5, 2**53, 2**53 + 1, 2**63 - 1]
    expected = [int(value not in good) for value in values]
    agree(Between("f", low, high), numbers(values, np.int64), values, expected)


DOUBLES = st.floats(allow_nan=False) | st.integers(-20, 20).map(lambda n: n / 4)


@given(st.lists(st.none() | DOUBLES | st.just(math.nan), max_size=12), DOUBLES, DOUBLES)
def test_floats_are_compared_as_doubles_and_nan_is_nowhere(
    values: list[float | None], low: float, high: float
) -> None:
    expected = [int(v is not None and not (v >= low and v <= high)) for v in values]
    agree(Between("f", low, high), numbers(values, np.float64), values, expected)
    narrow: NDArray[Any] = np.array([0.1], np.float32)
    assert Between("f", 0.1, 1.0).broken(Numbers(narrow), np.zeros(1, np.int64)).tolist() == [0]
    assert Between("f", 0.0, 0.1).broken(Numbers(narrow), np.zeros(1, np.int64)).tolist() == [1]


def test_where_both_bounds_are_whole_a_number_must_be() -> None:
    values = [3.0, 3.5, -0.0, 9.0, None]
    agree(Between("f", 0, 5), numbers(values, np.float64), values, [0, 1, 0, 1, 0])
    agree(Between("f", 0.0, 5), numbers(values, np.float64), values, [0, 0, 0, 1, 0])


@given(
    st.lists(st.none() | st.text("abü", max_size=3), max_size=12),
    st.lists(st.none() | st.text("abü", max_size=3), max_size=4),
)
def test_one_of_texts(values: list[str | None], allowed: list[str | None]) -> None:
    expected = [int(v not in allowed) for v in values]
    agree(OneOf("f", tuple(allowed)), texts(values), values, expected)


@given(st.lists(st.none() | SMALL, max_size=12), st.lists(st.none() | SMALL, max_size=4))
def test_one_of_numbers(values: list[int | None], allowed: list[int | None]) -> None:
    expected = [int(v not in allowed) for v in values]
    agree(OneOf("f", (*allowed, "x", True)), numbers(values, np.int64), values, expected)


def test_true_is_no_one_and_one_is_not_true() -> None:
    agree(OneOf("f", (1, 0)), numbers([True, False], np.bool_), [True, False], [1, 1])
    agree(OneOf("f", (True,)), numbers([True, False], np.bool_), [True, False], [0, 1])
    agree(OneOf("f", (True,)), numbers([1, 0], np.int64), [1, 0], [1, 1])


TIMES = (
    INT64
    | st.integers(-2, 2)
    | st.sampled_from(
        [edge + d for edge in (*SECONDS, MAX_TIME_MS, NOW_MS + 300_000) for d in (-1, 0, 1)]
    )
)
WRITTEN = st.sampled_from([NO_TIMESTAMP_MS, NOW_MS, 0, MAX_TIME_MS])


@settings(max_examples=300)
@given(st.lists(st.tuples(st.none() | TIMES, WRITTEN), max_size=12), st.sampled_from([None, 300]))
def test_event_times(pairs: list[tuple[int | None, int]], ahead_s: int | None) -> None:
    def reference(time_ms: int | None, written_ms: int) -> int:
        if time_ms is None or time_ms <= 0:
            return 1
        if 10**8 <= time_ms < 10**11:
            return 2
        known = written_ms != NO_TIMESTAMP_MS
        if ahead_s is not None and known and time_ms > written_ms + ahead_s * 1_000:
            return 3
        return 4 if time_ms > MAX_TIME_MS else 0

    rule = EventTime("at", ahead_s)
    expected = [reference(*pair) for pair in pairs]
    column = numbers([time_ms for time_ms, _ in pairs], np.int64)
    written = np.array([written_ms for _, written_ms in pairs], np.int64)
    assert rule.broken(column, written).tolist() == expected
    assert [rule.judge(*pair) for pair in pairs] == expected


WRONG_KINDS: list[tuple[Rule, list[Any]]] = [
    (TextLength("f", 0, 9), [1, True, 1.5, [], {}]),
    (Between("f", 0, 9), ["1", True, [], {}, 10**400, 1.5]),
    (Between("f", 0.0, 9.0), ["1", True, [], {}, 10**400]),
    (OneOf("f", ("a", 1)), ["b", True, [], {}, None, ["a"]]),
    (EventTime("f"), ["1", True, [], {}, NOW_MS + 0.5, None]),
]


@pytest.mark.parametrize(("rule", "values"), WRONG_KINDS)
def test_a_value_of_another_kind_breaks_a_rule(rule: Rule, values: list[Any]) -> None:
    assert [rule.judge(value, NOW_MS) for value in values] == [1] * len(values)


def test_whole_floats_are_integers_as_in_json() -> None:
    assert Between("f", 0, 9).judge(3.0, 0) == 0
    assert EventTime("f", 300).judge(float(NOW_MS), NOW_MS) == 0


@pytest.mark.parametrize(
    ("rule", "which", "got", "message"),
    [
        (TextLength("f", 1, 3), 1, None, "field f expected a string of 1 to 3 bytes, got null"),
        (Between("f", 0, 9), 1, True, "field f expected an integer from 0 to 9, got true"),
        (Between("f", 0, 0.5), 1, [1], "field f expected a number from 0 to 0.5, got [1]"),
        (
            OneOf("f", ("a", 1, None, True)),
            1,
            "x" * 257,
            f"field f expected one of a, 1, null, true, got '{'x' * 40}...'",
        ),
        (EventTime("at", 7), 1, "now", "field at expected Unix milliseconds > 0, got 'now'"),
        (
            EventTime("at", 7),
            3,
            2 * NOW_MS,
            "field at expected a time at most 7 s ahead of the record's own in the log, "
            f"got {2 * NOW_MS}",
        ),
    ],
)
def test_messages_say_what_was_expected_and_got(
    rule: Rule, which: int, got: Any, message: str
) -> None:
    assert message_of(rule, which, got) == message


def test_what_a_rule_leaves_to_the_settings_is_settled() -> None:
    rules: tuple[Rule, ...] = (EventTime("a"), EventTime("b", 5), Between("c", 0, 1))
    assert settled(rules, 300) == (EventTime("a", 300), EventTime("b", 5), Between("c", 0, 1))
