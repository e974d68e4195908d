"""JSON of records: what every reader of JSON takes, and nothing else."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.schemas.json_text import _parse_slowly, parse_record

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(value=JSON, ascii_only=st.booleans())
def test_what_json_can_say_comes_back(value: Any, ascii_only: bool) -> None:
    content = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert parse_record(content) == value


NUMBERS = st.sampled_from(
    ["0", "-0", "-0.0", "1e400", "9e18", "1e-400", "18446744073709551616", "-9223372036854775809"]
) | st.sampled_from(
    ["9223372036854775807", "1.7976931348623159e308", "123456789012345678", "2.5", "NaN", "01"]
)
TOKENS = st.lists(
    st.sampled_from(['"a"', '"b"', "{", "}", "[", "]", ":", ",", " ", "\n", '"', "\\", "null"])
    | NUMBERS,
    max_size=14,
).map("".join)
# Objects in which fields may stand twice, with or without white space.
OBJECTS = st.recursive(
    NUMBERS | st.sampled_from(['"a"', '"a\\":"', '"\\u0061"', "true"]),
    lambda inner: st.lists(
        st.tuples(st.sampled_from(['"a"', '"b" ', '"\\u0061"', '""', '"a:"']), inner), max_size=4
    ).map(lambda pairs: "{" + ", ".join(f"{name}: {value}" for name, value in pairs) + "}"),
)


@settings(max_examples=500)
@given(text=TOKENS | OBJECTS)
def test_the_fast_way_takes_and_says_what_the_strict_one_does(text: str) -> None:
    def outcome(parse: Callable[[bytes], Any]) -> str:
        try:
            return repr(parse(text.encode()))
        except ValueError as error:
            return f"refused: {error}"

    assert outcome(parse_record) == outcome(_parse_slowly)


@given(content=st.binary(max_size=40) | JSON.map(lambda v: json.dumps(v).encode()[:-1]))
def test_whatever_comes_is_a_value_that_can_be_written_or_a_value_error(content: bytes) -> None:
    try:
        value = parse_record(content)
    except ValueError:
        return
    written = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    assert parse_record(written) == value


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "Expecting value"),
        (b"{nope", "Expecting property name"),
        (b"1 2", "Extra data"),
        (b"\xef\xbb\xbf1", "Expecting value"),  # a byte order mark is no JSON
        (b"\xff", "invalid start byte"),
        (b"\xed\xa0\x80", "invalid continuation byte"),
        (b'"\xed\xa0\x80"', "invalid continuation byte"),  # half a pair, as no UTF-8 has it
        (b"NaN", "expected a number, got NaN"),
        (b"[Infinity]", "expected a number, got Infinity"),
        (b'{"a": -Infinity}', "expected a number, got -Infinity"),
        (b"1e999", "expected a number that a double holds, got 1e999"),
        (b"-1e999", "expected a number that a double holds, got -1e999"),
        (b'{"a": 1, "a": 2}', "expected each field once, got 'a' again"),
        (b'[{"a": {"b": 1, "b": 1}}]', "expected each field once, got 'b' again"),
        (rb'"\ud800"', r"expected whole characters, got '\ud800'"),
        (rb'{"\uDc00x": 1}', r"expected whole characters, got '\udc00'"),
        (rb'["\udc00\ud800"]', r"expected whole characters, got '\udc00'"),
        (b"[-" + b"1" * 5_000 + b"]", "expected at most 4300 digits, got 5000"),
        (b"[" * 100_000, "expected fewer levels, one inside the other"),
    ],
)
def test_what_is_no_json_is_told(content: bytes, told: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_record(content)
    assert told in str(raised.value)


def test_a_field_that_stands_twice_among_many_is_found_in_a_moment() -> None:
    fields = ",".join(f'"field{number}":1' for number in range(30_000))
    began_s = time.process_time()
    with pytest.raises(ValueError, match="got 'twice' again"):
        parse_record(f'{{{fields},"twice":1,"twice":2}}'.encode())
    assert time.process_time() - began_s < 2.0  # to look through all for each took 20 s


@pytest.mark.parametrize("opening, closing", [("[", "]"), ('{"a":', "}")])
def test_at_no_depth_anything_but_a_value_error_is_raised(opening: str, closing: str) -> None:
    told = set()
    for depth in range(1, sys.getrecursionlimit() + 100):
        try:
            parse_record((opening * depth + r'"\ud83d\ude00"' + closing * depth).encode())
        except ValueError as error:
            told.add(str(error))
    assert told == {"expected fewer levels, one inside the other"}


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (rb'"\ud83d\ude00"', "😀"),
        (rb'"\\ud800"', r"\ud800"),  # a backslash, and no character
        (b"9007199254740993", 2**53 + 1),
        (b"1e308", 1e308),
        (b"1e-999", 0.0),
        (b" null\n", None),
    ],
)
def test_what_looks_odd_and_is_json_is_taken(content: bytes, value: Any) -> None:
    assert parse_record(content) == value
