"""A schema that names types of other schemas, made whole: each is put where it is first named."""

import json
from collections.abc import Iterable
from typing import Any

_NAMED = ("record", "error", "enum", "fixed")


def inlined(schema: str, referenced: Iterable[str]) -> str:
    """The schema with the named types that the referenced ones define. All are JSON texts.

    A name that none of them defines stays. Raises ValueError for what is not JSON.

    >>> item = '{"type": "record", "name": "a.Item", "fields": []}'
    >>> inlined('{"type": "array", "items": "a.Item"}', [item])
    '{"type": "array", "items": {"type": "record", "name": "a.Item", "fields": []}}'
    """
    known: dict[str, dict[str, Any]] = {}
    for text in referenced:
        _collect(json.loads(text), "", known)
    return json.dumps(_Inliner(known).whole(json.loads(schema), ""))


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _name_of(schema: dict[str, Any], namespace: str) -> str:
    return _full_name(schema["name"], schema.get("namespace", namespace))


def _collect(schema: Any, namespace: str, known: dict[str, dict[str, Any]]) -> None:
    """Add each named type of a schema, under its full name."""
    if isinstance(schema, list):
        for branch in schema:
            _collect(branch, namespace, known)
    elif isinstance(schema, dict):
        kind = schema.get("type")
        if kind in _NAMED:
            name = _name_of(schema, namespace)
            known[name] = schema
            for field in schema.get("fields", ()):
                _collect(field["type"], name.rpartition(".")[0], known)
        else:
            for inner in (kind, schema.get("items"), schema.get("values")):
                if isinstance(inner, dict | list):
                    _collect(inner, namespace, known)


class _Inliner:
    def __init__(self, known: dict[str, dict[str, Any]]) -> None:
        self._known = known
        self._defined: set[str] = set()

    def whole(self, schema: Any, namespace: str) -> Any:
        if isinstance(schema, str):
            return self._reference(schema, namespace)
        if isinstance(schema, list):
            return [self.whole(branch, namespace) for branch in schema]
        if not isinstance(schema, dict):
            return schema
        kind = schema.get("type")
        if kind in _NAMED:
            return self._definition(schema, _name_of(schema, namespace))
        changed = {
            key: self.whole(schema[key], namespace)
            for key in ("type", "items", "values")
            if key in schema and not (key == "type" and kind in ("array", "map"))
        }
        return {**schema, **changed}

    def _reference(self, name: str, namespace: str) -> Any:
        for full_name in (_full_name(name, namespace), name):
            if full_name in self._defined:
                return full_name
            if full_name in self._known:
                return self._definition(self._known[full_name], full_name)
        return name

    def _definition(self, schema: dict[str, Any], full_name: str) -> Any:
        if full_name in self._defined:
            return full_name  # it came earlier, inside another one
        self._defined.add(full_name)
        namespace = full_name.rpartition(".")[0]
        # The full name, since it may now stand within another namespace.
        whole = {**schema, "name": full_name}
        whole.pop("namespace", None)
        if not namespace:
            whole["namespace"] = ""
        if "fields" in schema:
            whole["fields"] = [
                {**field, "type": self.whole(field["type"], namespace)}
                for field in schema["fields"]
            ]
        return whole


__all__ = ["inlined"]
