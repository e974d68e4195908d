"""JSON as text: one value, in which no field may stand twice."""

import json
from typing import Any


class RepeatedFieldError(ValueError):
    """An object names a field twice, and either value could be meant."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RepeatedFieldError(f"expected each field once, got {twice!r} again")
    return found


JSON = json.JSONDecoder(object_pairs_hook=_unique)


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
