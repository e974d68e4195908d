"""What is wrong with a value: where, what was expected, what arrived."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_-]*")
_SHOWN_MAX = 80  # characters of a value in a message

ABSENT = "nothing"  # what arrived where a field is missing


class Misfit(NamedTuple):
    """A value that a schema refuses.

    >>> str(Misfit("$.items[3].price", "a number", "'free'"))
    "$.items[3].price expected a number, got 'free'"
    """

    path: str  # as `path_of` writes it
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.path} expected {self.expected}, got {self.got}"


def path_of(parts: Iterable[str | int]) -> str:
    """Where in a value, from `$`, the value itself.

    >>> path_of(["items", 3, "unit price"])
    '$.items[3]["unit price"]'
    """
    text = "$"
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN.fullmatch(part):
            text += f".{part}"
        else:
            quoted = part.replace("\\", "\\\\").replace('"', '\\"')
            text += f'["{quoted}"]'
    return text


def shown(value: Any) -> str:
    """A value as it stands in messages.

    >>> shown("x" * 200)[-6:]
    'xxx...'
    """
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # user code may answer with anything
        return f"a {type(value).__name__} that cannot be told as text"
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 3] + "..."


def walk(value: Any, parts: Iterable[str | int]) -> tuple[list[str | int], Any]:
    """As much of a path as there is in the value, and what stands there.

    >>> walk({"a": [1, 2]}, ["a", "function-after", 1])
    (['a', 1], 2)
    """
    found: list[str | int] = []
    for part in parts:
        if not _has(value, part):
            continue
        value = value[part]
        found.append(part)
    return found, value


def _has(value: Any, part: str | int) -> bool:
    if isinstance(value, list | tuple):
        return type(part) is int and 0 <= part < len(value)
    return isinstance(value, Mapping) and part in value
