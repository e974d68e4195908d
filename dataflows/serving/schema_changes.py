"""Where two JSON Schemas differ in what they admit."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

_SAID_ONLY = frozenset({"title", "description", "examples", "$comment"})  # they admit nothing
# Keywords whose own keys are names, of fields or of schemas, which may be called as the above.
_OF_NAMES = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
)
_VALUES = frozenset({"const", "enum", "default"})  # compared as they stand
_SHOWN_MAX = 200  # characters


class Change(NamedTuple):
    """The first place at which two schemas differ, and what stands there."""

    path: str  # `properties.petal_width.type`; empty: the whole
    before: str  # JSON, cut where it is long; `nothing` where there is none
    after: str


def first_change(before: Any, after: Any) -> Change | None:
    """None: they admit the same. What only describes is not compared.

    >>> first_change({"type": "string", "title": "A"}, {"type": "string"}) is None
    True
    >>> first_change({"type": "string"}, {"type": ["string", "null"]})
    Change(path='type', before='"string"', after='["string","null"]')
    """
    return _change(before, after, "", of_names=False)


def without_words(schema: Any, of_names: bool = False) -> Any:
    """A schema without what only describes.

    >>> without_words({"type": "object", "title": "A", "properties": {"title": {"type": "string"}}})
    {'type': 'object', 'properties': {'title': {'type': 'string'}}}
    """
    if isinstance(schema, Mapping):
        return {
            key: inner
            if key in _VALUES and not of_names
            else without_words(inner, not of_names and key in _OF_NAMES)
            for key, inner in schema.items()
            if of_names or key not in _SAID_ONLY
        }
    return [without_words(each) for each in schema] if isinstance(schema, list) else schema


_NOTHING: Any = object()


def _change(before: Any, after: Any, path: str, of_names: bool) -> Change | None:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*before, *after]):
            if key in _SAID_ONLY and not of_names:
                continue
            old, new = before.get(key, _NOTHING), after.get(key, _NOTHING)
            inner = f"{path}.{key}" if path else str(key)
            if key in _VALUES and not of_names:
                if not _equal(old, new):
                    return Change(inner, _shown(old), _shown(new))
                continue
            inside = not of_names and key in _OF_NAMES
            if (found := _change(old, new, inner, inside)) is not None:
                return found
        return None
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for at, (old, new) in enumerate(zip(before, after, strict=True)):
            if (found := _change(old, new, f"{path}[{at}]", of_names=False)) is not None:
                return found
        return None
    return None if _equal(before, after) else Change(path, _shown(before), _shown(after))


def _equal(before: Any, after: Any) -> bool:
    """As JSON: 1 is not true, and the order of keys does not matter."""
    if before is _NOTHING or after is _NOTHING:
        return before is after
    return _text(before) == _text(after)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=dict)  # some are read-only mappings


def _shown(value: Any) -> str:
    if value is _NOTHING:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=dict, separators=(",", ":"))
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."


__all__ = ["Change", "first_change", "without_words"]
