"""Parquet in batches of rows, column by column; what is nested goes the way of JSON."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from numpy.typing import NDArray

from streamrec.connectors.click_files.cells import ROWS, Cells, Kind, Sample, Wanted
from streamrec.connectors.click_files.json_rows import cells_of
from streamrec.connectors.click_files.json_values import Bad
from streamrec.connectors.click_files.opening import InputFile
from streamrec.connectors.click_files.paths import gather, parse_path
from streamrec.connectors.click_files.rejecting import Rejected, UnclearError, Unread

_SAMPLE_ROWS = 200
_BUFFER_BYTES = 1 << 16
_WHOLE_MAX = 2.0**53
_PER_MS = {"s": 1e-3, "ms": 1, "us": 1_000, "ns": 1_000_000}


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """A Parquet file and its columns."""

    source: InputFile
    schema: "pa.Schema"
    sample: Sample
    empty: bool  # no row at all

    def batches(self, wanted: Wanted) -> Iterator[Cells]:
        """Some thousand rows at a time. Raises ClickFileError."""
        tops = [_top(path, self.schema) for path in wanted.kinds]
        if any(_is_nested(self.schema.field(top).type) for top in tops):
            yield from cells_of(self._records(tops), wanted)
            return
        first = 1
        for batch in self._read(tops):
            cells = _Columns(first, len(batch), wanted.optional)
            for (path, kind), top in zip(wanted.kinds.items(), tops, strict=True):
                cells.add(path, kind, batch.column(top))
            first += len(batch)
            yield cells.done()

    def _records(self, tops: list[str]) -> Iterator[tuple[int, object]]:
        number = 0
        for batch in self._read(tops):
            for record in _records(batch):
                number += 1
                yield number, record

    def _read(self, tops: list[str]) -> Iterator["pa.RecordBatch"]:
        with self.source.seekable() as file, _opened(file) as parquet:
            yield from parquet.iter_batches(
                ROWS, columns=list(dict.fromkeys(tops)), use_threads=False
            )


def open_parquet(source: InputFile) -> ParquetFile:
    """The columns of a file. Raises ClickFileError."""
    with source.seekable() as file, _opened(file) as parquet:
        schema, empty = parquet.schema_arrow, not parquet.metadata.num_rows
        first = next(parquet.iter_batches(_SAMPLE_ROWS, use_threads=False), None)
    records = [] if first is None else _records(first)
    values = gather([each for each in records if not isinstance(each, Bad)])
    names = list(schema.names)
    flat = {name: values.pop(name, []) for name in names}
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    nested = any(_is_nested(each.type) for each in schema)
    return ParquetFile(source, schema, Sample({**flat, **values}, repeated, nested), empty)


def _records(batch: "pa.RecordBatch") -> list[object]:
    """Rows as JSON would have them; a row with bytes that are no text is none."""
    try:
        return list(batch.to_pylist())
    except UnicodeDecodeError as error:
        if len(batch) == 1:
            return [Bad(f"expected UTF-8, got {error.object[:60]!r}")]
    half = len(batch) // 2
    return _records(batch.slice(0, half)) + _records(batch.slice(half))


def _opened(file: object) -> "pa.parquet.ParquetFile":
    # Buffered and without looking ahead: a row group may be larger than the memory.
    return pa.parquet.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)


def _top(path: str, schema: "pa.Schema") -> str:
    if path in schema.names:
        return path
    parsed = parse_path(path)
    first = (parsed.list_steps or parsed.steps)[0]
    if not isinstance(first, str) or first not in schema.names:
        raise UnclearError(f"expected a path into one of the columns {schema.names}, got {path!r}")
    return first


def _is_nested(kind: "pa.DataType") -> bool:
    return bool(pa.types.is_nested(kind))


class _Columns:
    """Columns of a batch on their way to cells, and the rows whose values are none."""

    def __init__(self, first: int, rows: int, optional: frozenset[str]) -> None:
        self._optional = optional
        self._rows = np.arange(first, first + rows)
        self._columns: dict[str, pa.Array] = {}
        self._good = np.ones(rows, np.bool_)
        self._rejected: list[Rejected] = []
        self._unread: list[Unread] = []

    def add(self, path: str, kind: Kind, column: "pa.Array") -> None:
        """Raises UnclearError where no value of the column's type can be meant."""
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        of = column.type
        if kind == "time" and (pa.types.is_timestamp(of) or pa.types.is_date(of)):
            self._columns[path] = _milliseconds(column)
        elif pa.types.is_floating(of) and kind == "id":
            self._columns[path] = self._whole(path, column)
        elif pa.types.is_decimal(of) and kind == "id":
            self._columns[path] = self._whole(path, column.cast(pa.float64()))
        elif _is_text(of):
            self._columns[path] = self._text(path, column)
        elif (
            pa.types.is_integer(of)
            or pa.types.is_null(of)
            or (kind != "id" and (pa.types.is_floating(of) or pa.types.is_decimal(of)))
        ):
            self._columns[path] = column.cast(pa.large_string())
        else:
            expected = "strings or whole numbers" if kind == "id" else "strings or numbers"
            raise UnclearError(f"column {path} expected {expected}, got values of type {of}")

    def done(self) -> Cells:
        if self._good.all():
            return Cells(self._columns, self._rows, unread=self._unread)
        good = pa.array(self._good)
        columns = {path: column.filter(good) for path, column in self._columns.items()}
        return Cells(columns, self._rows[self._good], self._rejected, self._unread)

    def _whole(self, path: str, column: "pa.Array") -> "pa.Array":
        values = pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
        is_null = column.is_null().to_numpy(zero_copy_only=False)
        whole = (np.abs(values) < _WHOLE_MAX) & (np.trunc(values) == values)
        self._refuse(
            path,
            ~whole & ~is_null,
            [f"{path} expected a string or a whole number, got {v!r}" for v in values.tolist()]
            if not (whole | is_null).all()
            else [],
        )
        numbers = pa.array(np.where(whole, values, 0).astype(np.int64), mask=~whole)
        return numbers.cast(pa.large_string())

    def _text(self, path: str, column: "pa.Array") -> "pa.Array":
        binary = column.cast(pa.large_binary())
        try:
            return binary.cast(pa.large_string())  # looks whether it is UTF-8
        except pa.ArrowInvalid:
            contents = binary.to_pylist()
        texts = [None if each is None else each.decode(errors="replace") for each in contents]
        bad = np.array(
            [(t or "").encode() != (c or b"") for t, c in zip(texts, contents, strict=True)]
        )
        messages = [f"{path} expected UTF-8, got {each!r:.60}" for each in contents]
        self._refuse(path, bad, messages)
        texts = [None if is_bad else t for t, is_bad in zip(texts, bad.tolist(), strict=True)]
        return pa.array(texts, pa.large_string())

    def _refuse(self, path: str, bad: NDArray[np.bool_], messages: list[str]) -> None:
        for row in np.flatnonzero(bad & self._good).tolist():
            number = int(self._rows[row])
            if path in self._optional:
                self._unread.append(Unread(number, path, messages[row]))
            else:
                self._rejected.append(Rejected(number, messages[row]))
        if path not in self._optional:
            self._good &= ~bad


def _is_text(of: "pa.DataType") -> bool:
    return bool(
        pa.types.is_string(of)
        or pa.types.is_large_string(of)
        or pa.types.is_binary(of)
        or pa.types.is_large_binary(of)
        or pa.types.is_fixed_size_binary(of)
        or str(of) in ("string_view", "binary_view")
    )


def _milliseconds(column: "pa.Array") -> "pa.Array":
    """Times as they are, rounded down; a zone only says how to show them."""
    if pa.types.is_date32(column.type):
        column = column.cast(pa.timestamp("s"))
    elif pa.types.is_date64(column.type):
        column = column.cast(pa.timestamp("ms"))
    per_ms = _PER_MS[column.type.unit]
    is_null = column.is_null().to_numpy(zero_copy_only=False)
    units = pc.fill_null(column.cast(pa.timestamp(column.type.unit)).cast(pa.int64()), 0)
    whole = units.to_numpy(zero_copy_only=False)
    # What a click cannot be is told apart by its size, so it must not overflow here.
    ms = np.clip(whole, -(2**50), 2**50) * 1_000 if per_ms < 1 else whole // int(per_ms)
    return pa.array(ms, pa.int64(), mask=is_null).cast(pa.timestamp("ms"))
