"""Sessions and questions as JSON lines: lists of item ids, without times."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamrec.connectors.click_files.formats import begins_json, open_bytes
from streamrec.connectors.click_files.rejecting import Rejected


@dataclass(slots=True)
class FileSessions:
    """Sessions of a file, each a list of item ids, oldest first."""

    items: list[list[str]] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


@dataclass(slots=True)
class FileQuestions:
    """Questions of a file: what was clicked (`targets`) after each session (`prefixes`)."""

    prefixes: list[list[str]] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


def is_json_lines(path: Path) -> bool:
    """Whether the file's first character begins a JSON array or object."""
    with open_bytes(path) as file:
        return begins_json(file.read(64))


def read_sessions(path: Path) -> FileSessions:
    """An array of item ids a line."""
    found = FileSessions()
    for line, value in _json_lines(path, found.rejected):
        if isinstance(value, list) and value and all(map(_is_id, value)):
            found.items.append(_ids(value))
        else:
            message = f"expected a JSON array of item ids, got {value!r}"
            found.rejected.append(Rejected(line, message))
    return found


def read_questions(path: Path) -> FileQuestions:
    """`{"prefix": [ids, oldest first], "target": id}` a line."""
    found = FileQuestions()
    for line, value in _json_lines(path, found.rejected):
        match value:
            case {"prefix": list(prefix), "target": target} if all(map(_is_id, [*prefix, target])):
                found.prefixes.append(_ids(prefix))
                found.targets.append(str(target))
            case _:
                message = f'expected {{"prefix": [ids], "target": id}}, got {value!r}'
                found.rejected.append(Rejected(line, message))
    return found


def _json_lines(path: Path, rejected: list[Rejected]) -> Iterator[tuple[int, Any]]:
    with open_bytes(path) as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                value = json.loads(text)
            except ValueError:
                shown = text[:80].decode("utf-8", "replace")
                rejected.append(Rejected(line, f"expected one JSON value, got {shown!r}"))
                continue
            yield line, value


def _is_id(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _ids(values: Sequence[int | str]) -> list[str]:
    return [str(value) for value in values]
