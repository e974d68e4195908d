"""Objects of the package `schema` that hold no code, compiled: 10 to 50 times as fast.

`compiled(node)` is a function that gives for a value what `node.validate` would return, or
`REFUSED`. It is made only where the whole of an object is of what stands below, and only for the
versions of the package with which it was proven equal on generated data
(`tests/models/serving/test_plain_checks.py`):

- the types `str`, `int`, `float`, `bool`, `list`, `dict`, `object` and that of None;
- literals: text, numbers, booleans, None, `Literal`;
- lists with any number of alternatives;
- dicts by names of fields, `Optional` with and without a default that is a literal, one more key
  that is `str` or `object`, and `ignore_extra_keys`;
- `Schema`, `Const`, `Or` and `And` of these.

`Use`, `Regex`, functions, hooks, `only_one`, other types and whatever has a `validate` of its own
are code: their whole object runs as it is. Values are what JSON has; others are refused here, and
the original decides.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

PROVEN = frozenset({"0.7.8"})  # versions of the package `schema`
REFUSED: Final = object()

Check = Callable[[Any], Any]  # the value that is handed on, or REFUSED

_TYPES = (str, int, float, bool, list, dict, object, type(None))
_LITERALS = (str, int, float, bool, type(None))


class _HasCodeError(Exception):
    """Something of the object is no data."""


def compiled(node: Any) -> Check | None:
    """The check of a `Schema` object, None where it has code or its package is another."""
    package = sys.modules.get("schema")
    if getattr(package, "__version__", None) not in PROVEN:
        return None
    try:
        return _object(node)
    except (_HasCodeError, RecursionError):
        return None


def kind_of(node: Any) -> str:
    """The class of the package `schema` that an object is of, not of a subclass; else empty."""
    kind = type(node)
    return kind.__name__ if kind.__module__ == "schema" else ""


def is_type(node: Any) -> bool:
    return any(node is each for each in _TYPES)


def _object(node: Any) -> Check:
    kind = kind_of(node)
    if kind == "Schema":
        return _check(node._schema, node._ignore_extra_keys)
    if kind == "Const":
        inner = _check(node._schema, node._ignore_extra_keys)
        return lambda value: REFUSED if inner(value) is REFUSED else value
    if kind == "Or" and not node.only_one:
        return _either([_check(each, node._ignore_extra_keys) for each in node._args])
    if kind == "And":
        return _all([_check(each, node._ignore_extra_keys) for each in node._args])
    raise _HasCodeError


def _check(node: Any, ignore_extra: bool) -> Check:
    """As `Schema(node, ignore_extra_keys=ignore_extra).validate`."""
    if kind_of(node) == "Literal":
        return _literal(node._schema)
    if type(node) is list:
        return _list(_either([_check(each, ignore_extra) for each in node]))
    if type(node) is dict:
        return _dict(node, ignore_extra)
    if is_type(node):
        return _type(node)
    if kind_of(node):
        return _object(node)
    return _literal(node)


def _type(kind: type) -> Check:
    if kind is object:
        return lambda value: value
    # What JSON has is of these very classes; of a subclass the original decides. `int` does not
    # take True, since True's class is another.
    return lambda value: value if type(value) is kind else REFUSED


def _literal(wanted: Any) -> Check:
    if type(wanted) not in _LITERALS:
        raise _HasCodeError  # its == may be code
    return lambda value: value if wanted == value else REFUSED


def _either(checks: list[Check]) -> Check:
    if len(checks) == 1:
        return checks[0]

    def either(value: Any) -> Any:
        for check in checks:
            found = check(value)
            if found is not REFUSED:
                return found
        return REFUSED

    return either


def _all(checks: list[Check]) -> Check:
    def every(value: Any) -> Any:
        for check in checks:
            value = check(value)
            if value is REFUSED:
                return REFUSED
        return value

    return every


def _list(check: Check) -> Check:
    def items(value: Any) -> Any:
        if type(value) is not list:
            return REFUSED
        made = [check(each) for each in value]
        return REFUSED if REFUSED in made else made

    return items


def _dict(node: Mapping[Any, Any], ignore_extra: bool) -> Check:
    """Names of fields go before the one key that is a type; a field that a name takes is that
    name's, whatever the type would say to it."""
    by_name: dict[str, Check] = {}
    required: set[str] = set()
    defaults: dict[str, Any] = {}
    others: Check | None = None  # of fields without a name here
    others_required = False
    for key, inner in node.items():
        is_optional = kind_of(key) == "Optional"
        name = key._schema if is_optional else key
        if is_optional and hasattr(key, "default"):
            defaults[key.key] = _default(key.default)
        if kind_of(name) == "Literal":
            name = name._schema
        if name is str or name is object:
            if others is not None:
                raise _HasCodeError
            others, others_required = _check(inner, ignore_extra), not is_optional
            continue
        if type(name) is not str or name in by_name:
            raise _HasCodeError
        by_name[name] = _check(inner, ignore_extra)
        if not is_optional:
            required.add(name)
    return _fields(by_name, required, defaults, others, others_required, ignore_extra)


def _default(value: Any) -> Any:
    if callable(value):
        raise _HasCodeError
    return value


def _is_dict(pair: tuple[Any, Any]) -> bool:
    return type(pair[1]) is dict


def _fields(
    by_name: dict[str, Check],
    required: set[str],
    defaults: dict[str, Any],
    others: Check | None,
    others_required: bool,
    ignore_extra: bool,
) -> Check:
    check_of = by_name.get

    def fields(value: Any) -> Any:
        if type(value) is not dict:
            return REFUSED
        made: dict[str, Any] = {}
        other_seen = False
        pairs: Iterable[tuple[Any, Any]] = value.items()
        if dict in set(map(type, value.values())):  # the original goes through them last
            pairs = sorted(pairs, key=_is_dict)
        for name, inner in pairs:
            check = check_of(name)
            if check is None:
                if type(name) is not str:
                    return REFUSED
                if others is None:
                    continue
                check, other_seen = others, True
            found = check(inner)
            if found is REFUSED:
                return REFUSED
            made[name] = found
        if not required <= made.keys() or (others_required and not other_seen):
            return REFUSED
        if len(made) != len(value) and not ignore_extra:
            return REFUSED
        for name, default in defaults.items():
            if name not in made:
                made[name] = default
        return made

    return fields


__all__ = ["PROVEN", "REFUSED", "Check", "compiled", "is_type", "kind_of"]
