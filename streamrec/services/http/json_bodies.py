"""Bodies that are JSON, or lines of it, with the place of a mistake."""

import json
from collections.abc import Iterator
from typing import Any

from streamrec.schemas.json_text import parse_record
from streamrec.services.http.problems import Problem


def parse_body(body: bytes, depth: int, first_line: int = 1) -> Any:
    """One JSON value as `parse_record` takes it, at most `depth` levels deep. `first_line` is the
    number of the body's line at which it begins. Raises Problem (400) with the place.

    >>> parse_body(b'{"a": [1]}', 8)
    {'a': [1]}
    """
    try:
        value = parse_record(body)
    except json.JSONDecodeError as error:
        line, column = error.lineno + first_line - 1, error.colno
        expected = error.msg[0].lower() + error.msg[1:].removesuffix(" at")
        raise Problem(
            400,
            f"body expected JSON: {expected} at line {line}, column {column}",
            place=f"line {line}, column {column}",
        ) from None
    except UnicodeDecodeError as error:
        line, column = _place(body, error.start)
        line += first_line - 1
        raise Problem(
            400,
            f"body expected UTF-8, got byte {body[error.start]:#04x} at line {line}, "
            f"column {column}",
            place=f"line {line}, column {column}",
        ) from None
    except ValueError as error:
        raise Problem(400, f"body {error}", place=f"line {first_line}") from None
    # Each level opens with a bracket: with few of them nothing can be too deep.
    if body.count(b"{") + body.count(b"[") > depth and _is_deeper(value, depth):
        raise Problem(400, f"body expected at most {depth} levels, one inside the other, got more")
    return value


def lines_of(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that hold something, with their numbers."""
    for number, line in enumerate(body.split(b"\n"), 1):
        if line.strip():
            yield number, line


def _place(body: bytes, at: int) -> tuple[int, int]:
    line_start = body.rfind(b"\n", 0, at) + 1
    return body.count(b"\n", 0, at) + 1, at - line_start + 1


def _is_deeper(value: Any, depth: int) -> bool:
    """Whether a value has more than so many levels of lists and objects."""
    level: list[Any] = [value]
    for _ in range(depth):
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += [v for v in each.values() if isinstance(v, dict | list)]
            elif isinstance(each, list):
                below += [v for v in each if isinstance(v, dict | list)]
        if not below:
            return False
        level = below
    return True


__all__ = ["lines_of", "parse_body"]
