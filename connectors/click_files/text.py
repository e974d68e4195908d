"""A file's text as UTF-8, in pieces, whatever its encoding.

Bytes that are no text of the encoding become characters of their own (U+F780 to U+F7FF, for private
use), so that a row can be told from its neighbours, and what stood there be shown.
"""

import codecs
import re
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc

_READ_BYTES = 1 << 18
_MARKS = 0xF700
MARKED = "[\uf780-\uf7ff]"  # for regular expressions: a byte that is no text
SEPARATOR = "\x1f"  # stands for a delimiter of several characters


def _marked(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    bad = error.object[error.start : error.end]
    return "".join(chr(_MARKS + byte) if byte > 0x7F else chr(byte) for byte in bad), error.end


codecs.register_error("streamrec-marked", _marked)


def shown(text: str | None) -> str:
    """A cell as a message shows it, with the bytes that were in the file."""
    if not text:
        return "nothing"
    short = text if len(text) <= 40 else text[:40] + "..."
    if re.search(MARKED, short) is None:
        return repr(short)
    return repr(b"".join(_bytes_of(each) for each in short))


def _bytes_of(character: str) -> bytes:
    byte = ord(character) - _MARKS
    return bytes([byte]) if 0x80 <= byte <= 0xFF else character.encode()


def is_marked(column: "pa.LargeStringArray") -> "pa.BooleanArray":
    """Which cells hold bytes that are no text."""
    return pc.match_substring_regex(column, MARKED)


def encoding_of(head: bytes, given: str | None) -> str:
    """By what was given, else by the mark at the beginning, else UTF-8."""
    if given is not None:
        return given
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig"


def one_byte(delimiter: str) -> str:
    """What stands for a delimiter in the text: Arrow takes no longer one."""
    return delimiter if len(delimiter.encode()) <= 1 else SEPARATOR


class TextStream:
    """A readable file of UTF-8 for Arrow's CSV reader, which asks for `read` and `closed`."""

    closed = False

    def __init__(self, file: IO[bytes], encoding: str, delimiter: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)("streamrec-marked")
        self._delimiter = delimiter
        self._kept = ""  # the beginning of a long delimiter, perhaps
        self._ready = b""
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        while not self._ended and (size < 0 or len(self._ready) < size):
            self._ready += self._more()
        if size < 0:
            size = len(self._ready)
        out, self._ready = self._ready[:size], self._ready[size:]
        return out

    def close(self) -> None:
        """The file is its opener's to close."""

    def _more(self) -> bytes:
        content = self._file.read(_READ_BYTES)
        self._ended = not content
        text = self._decoder.decode(content, final=not content)
        if one_byte(self._delimiter) != self._delimiter:
            text = self._kept + text
            keep = 0 if self._ended else self._part_at_end(text)
            text, self._kept = text[: len(text) - keep], text[len(text) - keep :]
            text = text.replace(self._delimiter, SEPARATOR)
        return text.encode(errors="replace")

    def _part_at_end(self, text: str) -> int:
        """How many characters at the end may be the beginning of a delimiter."""
        lengths = range(len(self._delimiter) - 1, 0, -1)
        return next((n for n in lengths if text.endswith(self._delimiter[:n])), 0)
