"""The values of a JSON file one by one: a value a line, or the elements of arrays, or values over
several lines. What is wrong with one is told with its number."""

import codecs
import json
from collections.abc import Iterator
from typing import IO, Any

from streamrec.connectors.click_files.rejecting import ClickFileError
from streamrec.schemas.json_text import JSON, RepeatedFieldError, parse_json

VALUE_BYTES_MAX = 16 << 20  # of one value: a file must not be able to fill the memory
_READ_BYTES = 1 << 18


class Bad(str):
    """What is wrong with a value."""


def parse(line: bytes | str) -> object:
    """A JSON value, or what is wrong with it."""
    try:
        return parse_json(line if isinstance(line, str) else line.decode("utf-8-sig"))
    except RepeatedFieldError as error:
        return Bad(str(error))
    except ValueError as error:
        shown = repr(line[:60])
        return Bad(f"expected one JSON value, got {shown.removeprefix('b')}: {error}")


def lines(file: IO[bytes], encoding: str) -> Iterator[tuple[int, object]]:
    """The value of each line; empty lines have none."""
    if encoding != "utf-8-sig":
        # Characters of two bytes may look like a line end.
        file = _recoded(file, encoding)
    number = 0
    while line := file.readline(VALUE_BYTES_MAX):
        number += 1
        if len(line) >= VALUE_BYTES_MAX and not line.endswith(b"\n"):
            while (rest := file.readline(VALUE_BYTES_MAX)) and not rest.endswith(b"\n"):
                pass
            yield number, Bad(f"expected a line of at most {VALUE_BYTES_MAX >> 20} MB")
            continue
        if line.strip():
            yield number, parse(line)


def _recoded(file: IO[bytes], encoding: str) -> IO[bytes]:
    recoded: Any = codecs.EncodedFile(file, "utf-8", encoding, errors="replace")
    return recoded  # type: ignore[no-any-return]  # a file in all that is used of it


def values(file: IO[bytes], encoding: str, name: str) -> Iterator[tuple[int, object]]:
    """The elements of arrays, and what else stands there, wherever it is broken into lines.

    Where a value cannot be read, nothing says where the next one begins: raises ClickFileError.
    """
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    text, at, ended, number = "", 0, False, 0
    while True:
        while at < len(text) and text[at] in " \t\r\n,[]":
            at += 1
        if at < len(text):
            try:
                value, end = JSON.raw_decode(text, at)
                # Of a number the rest may not have been read yet.
                if end < len(text) or ended:
                    number, at = number + 1, end
                    yield number, value
                    continue
            except RepeatedFieldError as error:
                number, at = number + 1, json.JSONDecoder().raw_decode(text, at)[1]
                yield number, Bad(str(error))
                continue
            except (ValueError, RecursionError) as error:
                if ended or len(text) - at > VALUE_BYTES_MAX:
                    raise ClickFileError(
                        f"{name}: value {number + 1} expected JSON of at most "
                        f"{VALUE_BYTES_MAX >> 20} MB, got {text[at : at + 60]!r}: {error}; what "
                        "follows cannot be read"
                    ) from None
        elif ended:
            return
        # At least as much again, so that a long value is not tried a hundred times.
        content = file.read(max(_READ_BYTES, len(text) - at))
        ended = not content
        text, at = text[at:] + decoder.decode(content, final=ended), 0


def is_lines(head: str) -> bool:
    """Whether each line is a value of its own, by the beginning of a file."""
    first, end, _ = head.lstrip().partition("\n")
    if first[:1] == "[":
        # An array of scalars is a session; one of objects holds records.
        inner = head.lstrip()[1:].lstrip()[:1]
        return inner not in ("{", "]", "") or (first.rstrip() == "[]" and bool(end))
    if not isinstance(parse(first), Bad):
        return True
    try:
        # A value over several lines; else the first line is damaged, or longer than what we have.
        JSON.raw_decode(head.lstrip())
    except (ValueError, RecursionError):
        return _looks_whole(first, bool(end))
    return False


def _looks_whole(first: str, has_more: bool) -> bool:
    return not has_more or len(first.strip()) > 2
