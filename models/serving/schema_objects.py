"""Values checked by an object of the package `schema`, or by any other that has `validate`.

What such an object is, is told by what it can do; the package is no dependency of this one.
"""

import re
from typing import Any

from streamrec.models.serving.contract import JsonSchema, Raw
from streamrec.models.serving.json_checks import BadSchemaError, JsonChecker
from streamrec.models.serving.misfit import ABSENT, Misfit, path_of, shown, walk
from streamrec.models.serving.plain_checks import REFUSED, compiled, is_type, kind_of

_TYPES = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    list: {"type": "array"},
    dict: {"type": "object"},
    object: {},
    type(None): {"type": "null"},
}
_AN = {"int": "an integer", "float": "a float", "str": "text", "bool": "a boolean"}
_AN |= {"dict": "an object", "list": "a list", "NoneType": "null"}

_KEY = re.compile(r"Key '(.*)' error:", re.DOTALL)
_TYPE = re.compile(r"should be instance of '([^']*)'$")
_MISSING = re.compile(r"Missing keys?: '(.*?)'(, |$)", re.DOTALL)
_WRONG = re.compile(r"Wrong keys? '(.*?)'(, | in )", re.DOTALL)


class SchemaObjectChecker:
    """Hands on what `validate` returns. Without code in it the object is compiled, and is itself
    asked only where that refuses: for what is wrong, and in case it takes the value after all."""

    def __init__(self, node: Any) -> None:
        """Raises BadSchemaError where its `json_schema` cannot be used."""
        self._node = node
        self._fast = compiled(node)
        self.json_schema = json_schema_of(node)

    @property
    def is_compiled(self) -> bool:
        return self._fast is not None

    def check(self, value: Any) -> Any:
        """What the object makes of a value, or a Misfit. Other exceptions than those with which
        such an object refuses pass."""
        if type(value) is Raw:
            return Misfit("$", "JSON", "bytes")
        if self._fast is not None:
            found = self._fast(value)
            if found is not REFUSED:
                return found
        try:
            return self._node.validate(value)
        except Exception as error:
            if isinstance(error, ValueError | TypeError) or hasattr(error, "autos"):
                return _told(error, value)
            raise


def _told(error: Exception, value: Any) -> Misfit:
    """What SchemaError says step by step, as a path; its own `error=` texts before that."""
    steps = [step for step in getattr(error, "autos", []) if step]
    words = [word for word in getattr(error, "errors", []) if word]
    path: list[str | int] = []
    here = value
    last = ""
    for step in steps:
        if key := _KEY.search(step):
            more, here = walk(here, [key[1]])
            path += more
        elif isinstance(here, list) and " did not validate " in step:
            for place, item in enumerate(here):
                if step.endswith(f" did not validate {item!r}"):
                    path, here = [*path, place], item
                    break
            last = step
        else:
            last = step
    if words:
        return Misfit(path_of(path), f"what its schema says ({words[-1]})", shown(here))
    if missing := _MISSING.search(last):
        return Misfit(path_of([*path, missing[1]]), "a value", ABSENT)
    if (wrong := _WRONG.search(last)) and isinstance(here, dict):
        return Misfit(path_of([*path, wrong[1]]), "no such field", shown(here.get(wrong[1])))
    if kind := _TYPE.search(last):
        return Misfit(path_of(path), _AN.get(kind[1], kind[1]), shown(here))
    said = last or str(error) or type(error).__name__
    return Misfit(path_of(path), f"what its schema says ({said})", shown(here))


def json_schema_of(node: Any) -> JsonSchema:
    """What an object of `schema` says, as JSON Schema: exact but for code, which is `{}` with a
    description, and for floats, of which JSON Schema has none: 5 is a number there, and no float.

    Another object that has `json_schema()` is asked for it. Raises BadSchemaError.
    """
    if not kind_of(node):
        method = getattr(node, "json_schema", None)
        if callable(method):
            try:
                return JsonChecker(method()).json_schema
            except Exception as error:
                raise BadSchemaError(f"json_schema() of {shown(node)}: {error!r}") from error
        return {"description": f"checked by {type(node).__name__}"}
    return _schema(node, False)


def _schema(node: Any, ignore_extra: bool) -> dict[str, Any]:
    kind = kind_of(node)
    if kind in ("Schema", "Const"):
        made = _schema(node._schema, node._ignore_extra_keys)
        if node._description:
            made["description"] = str(node._description)
        if node._name:
            made["title"] = str(node._name)
        return made
    if kind == "Literal":
        made = _schema(node._schema, ignore_extra)
        return made | ({"description": str(node.description)} if node.description else {})
    if kind == "Or":
        return _any_of([_schema(each, node._ignore_extra_keys) for each in node._args])
    if kind == "And":
        parts = [_schema(each, node._ignore_extra_keys) for each in node._args]
        said = [part for part in parts if set(part) - {"description"}]
        described = [part["description"] for part in parts if set(part) == {"description"}]
        made = dict(said[0]) if len(said) == 1 else ({"allOf": said} if said else {})
        return made | ({"description": "; ".join(described)} if described else {})
    if kind == "Regex":
        return {"type": "string", "description": f"matches {node.pattern_str!r}"}
    if type(node) is list:
        items = _any_of([_schema(each, ignore_extra) for each in node]) if node else {"not": {}}
        return {"type": "array", "items": items}
    if type(node) is dict:
        return _object(node, ignore_extra)
    if is_type(node):
        return dict(_TYPES[node])
    if node is None:
        return {"type": "null"}
    if type(node) in (str, int, float, bool):
        return {"const": node}
    name = getattr(node, "__name__", None) or kind or type(node).__name__
    return {"description": f"checked by {name}"}


def _any_of(parts: list[dict[str, Any]]) -> dict[str, Any]:
    if len(parts) == 1:
        return parts[0]
    if parts and all(part.keys() == {"const"} or part == {"type": "null"} for part in parts):
        return {"enum": [part.get("const") for part in parts]}
    return {"anyOf": parts} if parts else {"not": {}}


def _object(node: dict[Any, Any], ignore_extra: bool) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    additional: Any = ignore_extra
    for key, inner in node.items():
        is_optional = kind_of(key) == "Optional"
        name = key._schema if is_optional else key
        said = _schema(inner, ignore_extra)
        if kind_of(name) == "Literal":
            if name.description:
                said["description"] = str(name.description)
            name = name._schema
        if isinstance(name, str):
            if is_optional and hasattr(key, "default") and _is_literal(key.default):
                said["default"] = key.default
            properties[name] = said
            if not is_optional:
                required.append(name)
        elif kind_of(key) not in ("Hook", "Forbidden"):
            additional = said if name is str or name is object else True
    made: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        made["required"] = required
    return made | {"additionalProperties": additional}


def _is_literal(value: Any) -> bool:
    return value is None or type(value) in (str, int, float, bool)


__all__ = ["SchemaObjectChecker", "json_schema_of"]
