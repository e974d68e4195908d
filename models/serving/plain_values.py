"""What user code answered, as what JSON can say: dicts, lists, strings, finite numbers, null."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from streamrec.models.serving.misfit import Misfit, path_of, shown

_DEPTH_MAX = 200
_ATOMS = frozenset({bool, type(None)})
# Python writes no integer of more than 4,300 digits.
_LARGE, _LEAST = 10**4_000, -(10**4_000)


def plain(value: Any) -> Any:
    """The value as JSON would say it, or the Misfit that says why it cannot. What is plain already
    is handed on as it is.

    NumPy's scalars and arrays, tuples, enums, dataclasses and pydantic's instances are turned into
    what they hold.

    >>> str(plain({"score": [0.5, float("nan")]}))
    '$.score[1] expected a finite number, got nan'
    """
    kind = type(value)
    if kind is dict:  # most answers are flat: seen without a call for each value
        for name, inner in value.items():
            if type(name) is not str:
                break
            inner_kind = type(inner)
            if inner_kind is float:
                if not math.isfinite(inner):
                    break
            elif inner_kind is str:
                if not inner.isascii():
                    break
            elif inner_kind is int:
                if not _LEAST < inner < _LARGE:
                    break
            elif inner_kind not in _ATOMS:
                break
            if not name.isascii():
                break
        else:
            return value
    return _plain(value, [])


def _plain(value: Any, path: list[str | int]) -> Any:
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is int:
        if _LEAST < value < _LARGE:
            return value
        told = f"an integer of {value.bit_length()} bits"
        return Misfit(path_of(path), "an integer of at most 4000 digits", told)
    if kind is str:
        return value if value.isascii() or _is_text(value) else _misfit(path, "text", value)
    if kind is float:
        return value if math.isfinite(value) else _misfit(path, "a finite number", value)
    if len(path) >= _DEPTH_MAX:
        return _misfit(path[:3], f"at most {_DEPTH_MAX} levels, one inside the other", value)
    if kind is dict:
        return _plain_dict(value, path)
    if kind is list or isinstance(value, list | tuple):
        return _plain_list(value, path)
    opened = _opened(value)
    if opened is _CLOSED:
        return _misfit(path, "what JSON can say", value)
    return _plain(opened, path)


def _plain_dict(value: dict[Any, Any], path: list[str | int]) -> Any:
    made = {}
    for name, inner in value.items():
        if not isinstance(name, str):
            return _misfit(path, "names of fields that are text", name)
        if not _is_text(name):
            return _misfit(path, "names of fields that are whole characters", name)
        found = _plain(inner, [*path, name])
        if type(found) is Misfit:
            return found
        made[str.__str__(name)] = found
    return made


def _plain_list(value: Any, path: list[str | int]) -> Any:
    made = []
    for place, inner in enumerate(value):
        found = _plain(inner, [*path, place])
        if type(found) is Misfit:
            return found
        made.append(found)
    return made


_CLOSED = object()


def _opened(value: Any) -> Any:
    """What a value of another type holds, one level of it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, int):  # a subclass, as those below: np.float64 is one
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping):
        return dict(value)
    if callable(getattr(value, "model_dump", None)) and not isinstance(value, type):
        return value.model_dump(mode="json", by_alias=True)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if hasattr(value, "dtype") and callable(getattr(value, "tolist", None)):
        opened = value.tolist()  # of NumPy; what stays as it is (a datetime) is no JSON
        return _CLOSED if type(opened) is type(value) else opened
    return _CLOSED


def _is_text(text: str) -> bool:
    """Whether it has no half of a surrogate pair, which UTF-8 cannot write."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _misfit(path: list[str | int], expected: str, value: Any) -> Misfit:
    return Misfit(path_of(path), expected, shown(value))


__all__ = ["plain"]
