"""The formats of files: columns of text, from CSV, JSON lines or Parquet, zipped or not.

A file is read whole, so that a row that makes no sense can be named by its number and left out
while the rest goes on.
"""

import csv
import gzip
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from streamrec.connectors.click_files.rejecting import ClickFileError, Rejected

Format = Literal["csv", "jsonl", "parquet"]

_DELIMITERS = ",;\t|"
_ENDINGS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".dat": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


@dataclass(frozen=True, slots=True)
class FileForm:
    """How a file is laid out, where its name does not say."""

    format: Format | None = None  # None: by its content, else by the file's ending
    delimiter: str | None = None  # None: tab for .tsv, else the likeliest of , ; tab |
    columns: Sequence[str] | None = None  # names; None: the first line holds them


@dataclass(slots=True)
class Cells:
    """A file as it stands: columns of bytes, not yet understood."""

    columns: dict[str, "pa.LargeBinaryArray"]
    rows: NDArray[np.int64]  # (n,) the number of each row in the file, for messages
    rejected: list[Rejected] = field(default_factory=list)


def read_names(path: Path, form: FileForm) -> list[str]:
    """The names of a file's columns. Raises ClickFileError."""
    if form.columns is not None:
        return list(form.columns)
    match format_of(path, form):
        case "parquet":
            return list(pa.parquet.read_schema(path).names)
        case "csv":
            with open_bytes(path) as file:
                line = file.readline().decode("utf-8-sig", errors="replace")
            return next(csv.reader([line], delimiter=_delimiter(path, form, line)), [])
        case "jsonl":
            # Of the first lines, because a record need not have every field.
            with open_bytes(path) as file:
                records = [json_object(line) for line in islice(file, 100)]
            found = dict.fromkeys(name for r in records if isinstance(r, dict) for name in r)
            return list(found)


def format_of(path: Path, form: FileForm) -> Format:
    """By what the form says, else by what the file begins with, else by its ending."""
    if form.format is not None:
        return form.format
    with open_bytes(path) as file:
        head = file.read(64)
    if head.startswith(b"PAR1"):
        return "parquet"
    if begins_json(head):
        return "jsonl"
    endings = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    ending = endings[-1] if endings else ""
    if ending in _ENDINGS:
        return _ENDINGS[ending]
    if not ending and any(mark in head for mark in _DELIMITERS.encode()):
        return "csv"
    raise ClickFileError(
        f"{path.name} expected an ending of {', '.join(_ENDINGS)} (and .gz); "
        "say what it is by --format"
    )


def begins_json(head: bytes) -> bool:
    """Whether the first character begins a JSON array or object."""
    return head.lstrip()[:1] in (b"[", b"{")


def read_cells(path: Path, form: FileForm, wanted: Sequence[str]) -> Cells:
    """Read the wanted columns. Raises ClickFileError."""
    match format_of(path, form):
        case "parquet":
            return _read_parquet(path, wanted)
        case "csv":
            return _read_csv(path, form, wanted)
        case "jsonl":
            return _read_jsonl(path, wanted)


def open_bytes(path: Path) -> io.BufferedIOBase:
    """The file's bytes, unzipped where its name or its content says that they are zipped."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped or path.suffix.lower() == ".gz" else path.open("rb")


def _delimiter(path: Path, form: FileForm, first_line: str) -> str:
    if form.delimiter is not None:
        return form.delimiter
    if ".tsv" in (suffix.lower() for suffix in path.suffixes):
        return "\t"
    return max(_DELIMITERS, key=first_line.count)


def _read_csv(path: Path, form: FileForm, wanted: Sequence[str]) -> Cells:
    rejected: list[Rejected] = []

    def reject(row: "pa.csv.InvalidRow") -> str:
        message = f"expected {row.expected_columns} columns, got {row.actual_columns}"
        rejected.append(Rejected(row.number, f"{message}: {row.text[:60]!r}"))
        return "skip"

    with open_bytes(path) as file:
        first_line = file.readline().decode("utf-8-sig", errors="replace")
    names = read_names(path, form)
    # One thread, because only then does Arrow know the number of a row that it rejects; bytes and
    # not text, because one row that is not UTF-8 would otherwise fail the file.
    with open_bytes(path) as stream:
        table = pa.csv.read_csv(
            stream,
            read_options=pa.csv.ReadOptions(
                use_threads=False, column_names=form.columns, encoding="utf8"
            ),
            parse_options=pa.csv.ParseOptions(
                delimiter=_delimiter(path, form, first_line),
                invalid_row_handler=reject,
                ignore_empty_lines=False,
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.large_binary()),
                include_columns=list(dict.fromkeys(wanted)),
                check_utf8=False,
            ),
        )
    first_row = 1 if form.columns is not None else 2
    lines = np.arange(first_row, first_row + len(table) + len(rejected))
    lines = np.setdiff1d(lines, [row for row, _ in rejected], assume_unique=True)
    return Cells({name: _as_binary(table[name]) for name in wanted}, lines, rejected)


def _read_parquet(path: Path, wanted: Sequence[str]) -> Cells:
    table = pa.parquet.read_table(path, columns=list(dict.fromkeys(wanted)))
    return Cells(
        {name: _as_binary(table[name]) for name in wanted}, np.arange(1, len(table) + 1), []
    )


def _read_jsonl(path: Path, wanted: Sequence[str]) -> Cells:
    rejected, rows = [], []
    cells: dict[str, list[bytes | None]] = {name: [] for name in wanted}
    with open_bytes(path) as file:
        for number, line in enumerate(file, start=1):
            record = json_object(line)
            if isinstance(record, str):
                rejected.append(Rejected(number, record))
                continue
            rows.append(number)
            for name, column in cells.items():
                value = record.get(name)
                column.append(None if value is None else str(value).encode(errors="replace"))
    columns = {name: pa.array(column, pa.large_binary()) for name, column in cells.items()}
    return Cells(columns, np.array(rows, dtype=np.int64), rejected)


def json_object(line: bytes) -> dict[str, object] | str:
    """The object, or what is wrong with the line."""
    try:
        record = json.loads(line)
    except ValueError as error:
        return f"expected a JSON object, got {line[:60]!r}: {error}"
    return record if isinstance(record, dict) else f"expected a JSON object, got {line[:60]!r}"


def _as_binary(column: "pa.ChunkedArray") -> "pa.LargeBinaryArray":
    kind = column.type
    if pa.types.is_timestamp(kind):
        # As the number of milliseconds; a zone only says how to show it.
        column = pc.cast(column, pa.timestamp("ms", kind.tz), safe=False).cast(pa.int64())
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if not pa.types.is_large_binary(column.type):
        column = column.cast(pa.large_string()).cast(pa.large_binary())
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
