"""JSON as text: one value, in which no field may stand twice.

`parse_json` takes what people type, `parse_record` only what every other reader of JSON takes too.
"""

import json
import math
import sys
from typing import Any

import orjson

_SHOWN_BYTES = 60
_LARGE = 9e18  # from here on a float may be an integer that lost digits, or none at all
_ODD = -(1 << 40)


class RepeatedFieldError(ValueError):
    """An object names a field twice, and either value could be meant."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()  # of a hundred thousand fields too, which a stranger may send
        for name, _ in pairs:
            if name in seen:
                raise RepeatedFieldError(f"expected each field once, got {name!r} again")
            seen.add(name)
    return found


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        digits = len(text.lstrip("-"))
        raise ValueError(
            f"expected at most {sys.get_int_max_str_digits()} digits, got {digits}"
        ) from None


JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_integer)


def parse_json(text: str) -> Any:
    """Raises ValueError.

    >>> parse_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    streamrec.schemas.json_text.RepeatedFieldError: expected each field once, got 'a' again
    """
    try:
        return JSON.decode(text)
    except RecursionError:
        raise ValueError("expected fewer levels, one inside the other") from None


def parse_record(content: bytes) -> Any:
    """One JSON value as RFC 8259 has it: what is read here can be written again, and read anywhere.

    Refused are NaN and infinities, numbers that no double holds (1e999), half a surrogate pair, a
    field that stands twice, and what is no UTF-8. Integers keep all their digits.
    Raises ValueError.

    >>> parse_record(b'{"a": [1, 2.5, null]}')
    {'a': [1, 2.5, None]}
    >>> parse_record(b"1e999")
    Traceback (most recent call last):
    ValueError: expected a number that a double holds, got 1e999
    """
    try:
        value = orjson.loads(content)
    except ValueError:
        return _parse_slowly(content)  # which says where, and takes what is only too deep
    # Each string has two quotes, but for escapes: if there are more than the strings of the value
    # have, a field stood twice and is there once.
    if b"\\" in content or content.count(b'"') != 2 * _strings_in(value):
        return _parse_slowly(content)
    return value


def _strings_in(value: Any) -> int:
    """How many strings it is made of, names of fields included; `_ODD` or so with large numbers."""
    kind = type(value)
    if kind is dict:
        count, values = len(value), value.values()
    elif kind is list:
        count, values = 0, value
    elif kind is float:
        return 0 if -_LARGE < value < _LARGE else _ODD
    else:
        return int(kind is str)
    for each in values:
        kind = type(each)
        if kind is str:
            count += 1
        elif kind is float:
            if not -_LARGE < each < _LARGE:
                return _ODD
        elif kind is dict or kind is list:
            count += _strings_in(each)
    return count


def _parse_slowly(content: bytes) -> Any:
    try:
        value = _STRICT.decode(content.decode())
        # Escapes are the only way to half a pair: as UTF-8 it would not have been decoded.
        if b"\\ud" in content or b"\\uD" in content:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("expected fewer levels, one inside the other") from None
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise ValueError(f"expected whole characters, got {half!r}") from None
    return value


def shown_bytes(content: bytes) -> str:
    """The beginning of what was no JSON, for messages.

    >>> shown_bytes(b"{nope")
    "'{nope'"
    """
    return repr(content[:_SHOWN_BYTES])[1:] + ("..." if len(content) > _SHOWN_BYTES else "")


def _no_number(text: str) -> Any:
    raise ValueError(f"expected a number, got {text}")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"expected a number that a double holds, got {text}")
    return number


_STRICT = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_constant=_no_number,
    parse_float=_finite,
    parse_int=_integer,
)
