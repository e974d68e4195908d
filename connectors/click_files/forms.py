"""What a user may say of a file's form, and what the file says of itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from streamrec.connectors.click_files.opening import PACKED, InputFile
from streamrec.connectors.click_files.rejecting import UnclearError

Format = Literal["csv", "jsonl", "parquet"]

_DELIMITERS = ",;\t|"
_ENDINGS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".dat": "csv",
    ".data": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


@dataclass(frozen=True, slots=True)
class FileForm:
    """How a file is laid out, where it does not say."""

    format: Format | None = None  # None: by its content, else by the file's ending
    delimiter: str | None = None  # None: tab for .tsv, else the likeliest of , ; tab | ::
    columns: Sequence[str] | None = None  # names; None: the first line holds them
    encoding: str | None = None  # None: UTF-8, or UTF-16 where its mark stands first

    def __post_init__(self) -> None:
        if self.delimiter is not None and (
            not self.delimiter or set(self.delimiter) & set('"\r\n')
        ):
            raise UnclearError(
                f"--delimiter expected characters other than quotes and line ends, got "
                f"{self.delimiter!r}"
            )
        if self.encoding is not None:
            try:
                "".encode(self.encoding)
            except (LookupError, ValueError):
                raise UnclearError(
                    f"--encoding expected a name such as latin-1, got {self.encoding!r}"
                ) from None


def format_of(source: InputFile, form: FileForm) -> Format:
    """By what the form says, else by what the file begins with, else by its ending."""
    if form.format is not None:
        return form.format
    head = source.head()[:1024]
    if head.startswith(b"PAR1"):
        return "parquet"
    if begins_json(head):
        return "jsonl"
    if form.delimiter is not None or form.columns is not None:
        return "csv"
    ending = source.endings[-1] if source.endings else ""
    if ending in _ENDINGS:
        return _ENDINGS[ending]
    if not ending and any(mark in head for mark in _DELIMITERS.encode()):
        return "csv"
    raise UnclearError(
        f"{source.name} expected an ending of {', '.join(_ENDINGS)} (and {', '.join(PACKED)}); "
        "say what it is by --format"
    )


def begins_json(head: bytes) -> bool:
    """Whether the first character begins a JSON array or object."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"[", b"{")
