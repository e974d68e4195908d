"""TOML of plain values: what tomllib reads, which writes nothing itself."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

_WIDTH = 90


def toml_of(content: Mapping[str, Any]) -> str:
    """A document of values, tables, and lists of tables. None is left out. Raises TypeError for
    what TOML cannot say.

    >>> print(toml_of({"inputs": [{"name": "x"}], "model": {"kind": "linear"}}), end="")
    [[inputs]]
    name = "x"
    <BLANKLINE>
    [model]
    kind = "linear"
    """
    return "\n".join(_lines(content, ())).lstrip("\n") + "\n"


def _lines(content: Mapping[str, Any], at: tuple[str, ...]) -> list[str]:
    said = {name: value for name, value in content.items() if value is not None}
    lines = [
        f"{_name(name)} = {_value(value)}"
        for name, value in said.items()
        if not _is_table(value) and not _is_tables(value)
    ]
    for name, value in said.items():
        place = (*at, _name(name))
        if _is_table(value):
            lines += ["", f"[{'.'.join(place)}]", *_lines(value, place)]
        elif _is_tables(value):
            for each in value:
                lines += ["", f"[[{'.'.join(place)}]]", *_lines(each, place)]
    return lines


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) and not isinstance(value, Inline)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_table, value))


class Inline(dict[str, Any]):
    """A table on one line."""


def _name(name: str) -> str:
    bare = name.replace("_", "").replace("-", "")
    return name if bare.isascii() and bare.isalnum() else json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, str):
        # A JSON string is a basic string of TOML, but for one character that JSON lets stand.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_name(n)} = {_value(v)}" for n, v in value.items() if v is not None)
        return "{ " + inside + " }"
    if isinstance(value, Sequence):
        items = [_value(each) for each in value]
        line = f"[{', '.join(items)}]"
        if len(line) <= _WIDTH:
            return line
        return "[\n" + "".join(f"    {item},\n" for item in items) + "]"
    raise TypeError(f"expected what TOML can say, got {value!r}")


__all__ = ["Inline", "toml_of"]
