"""CSV in batches of rows, by Arrow's reader, with the number of each row that is none."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from streamrec.connectors.click_files.cells import Cells, Sample, Wanted
from streamrec.connectors.click_files.forms import FileForm
from streamrec.connectors.click_files.opening import HEAD_BYTES, InputFile
from streamrec.connectors.click_files.rejecting import ClickFileError, Rejected, UnclearError
from streamrec.connectors.click_files.text import (
    SEPARATOR,
    TextStream,
    encoding_of,
    one_byte,
    shown,
)

_DELIMITERS = (",", ";", "\t", "|", "::")
_BLOCK_BYTES = 1 << 19  # of which the reader takes up to 32 ahead
_SAMPLE_ROWS = 200
_REJECTED_MAX = 200_000  # one after the other


@dataclass(slots=True)
class CsvFile:
    """A CSV file and how it is laid out."""

    source: InputFile
    encoding: str
    delimiter: str
    names: list[str]
    skipped: int  # lines before the first row: the header, and empty ones before it
    surplus: bool  # every row ends with a delimiter, and so has an empty field at its end
    sample: Sample
    empty: bool  # no row at all

    def batches(self, wanted: Wanted) -> Iterator[Cells]:
        """The rows, half a megabyte at a time. Raises ClickFileError."""
        if self.empty:
            return
        columns = [str(place) for place in range(len(self.names) + self.surplus)]
        places = {path: str(self.names.index(path)) for path in wanted.kinds}
        kept = list(dict.fromkeys(places.values())) + columns[-1:] * self.surplus
        rejected: list[Rejected] = []

        def reject(row: "pa.csv.InvalidRow") -> str:
            expected = len(self.names)
            got = row.actual_columns - (self.surplus and row.actual_columns > expected)
            text = row.text.replace(SEPARATOR, self.delimiter)
            rejected.append(
                Rejected(row.number, f"expected {expected} columns, got {got}: {shown(text)}")
            )
            # Arrow gives us no batch without a good row, and so no time to hand these over.
            return "skip" if len(rejected) < _REJECTED_MAX else "error"

        number = 1 + self.skipped
        with self.source.open() as file:
            try:
                for block in self._blocks(file, columns, kept, reject):
                    rows = _numbers(number, block.num_rows, rejected)
                    number = int(rows[-1]) + 1 if len(rows) else number
                    yield self._cells(block, places, rows, _until(rejected, number))
            except pa.ArrowInvalid as error:
                raise ClickFileError(self._explained(error, number, rejected)) from error
        yield Cells(
            {path: pa.array([], pa.large_string()) for path in wanted.kinds},
            np.zeros(0, np.int64),
            rejected,
        )

    def _blocks(
        self,
        file: IO[bytes],
        columns: list[str],
        kept: list[str],
        reject: Callable[["pa.csv.InvalidRow"], str],
    ) -> Iterator["pa.RecordBatch"]:
        # One thread, because only then does Arrow know the number of a row that it rejects.
        yield from pa.csv.open_csv(
            TextStream(file, self.encoding, self.delimiter),
            read_options=pa.csv.ReadOptions(
                use_threads=False,
                column_names=columns,
                skip_rows=self.skipped,
                block_size=_BLOCK_BYTES,
            ),
            parse_options=pa.csv.ParseOptions(
                delimiter=one_byte(self.delimiter),
                invalid_row_handler=reject,
                ignore_empty_lines=False,
                newlines_in_values=True,
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.large_string()),
                include_columns=list(dict.fromkeys(kept)),
                check_utf8=False,  # TextStream gives nothing else
            ),
        )

    def _cells(
        self,
        block: "pa.RecordBatch",
        places: dict[str, str],
        rows: NDArray[np.int64],
        rejected: list[Rejected],
    ) -> Cells:
        if self.surplus:
            last = block.column(block.schema.names[-1])
            good = pc.equal(pc.binary_length(last), 0)
            for place in np.flatnonzero(~good.to_numpy(zero_copy_only=False)).tolist():
                said = f"expected nothing behind the last column, got {shown(last[place].as_py())}"
                rejected.append(Rejected(int(rows[place]), said))
            block, rows = block.filter(good), rows[good.to_numpy(zero_copy_only=False)]
        return Cells({path: block.column(name) for path, name in places.items()}, rows, rejected)

    def _explained(self, error: Exception, number: int, rejected: list[Rejected]) -> str:
        name = self.source.name
        if len(rejected) >= _REJECTED_MAX:
            return (
                f"{name} expected rows of {len(self.names)} columns, got {_REJECTED_MAX:,} others "
                f"behind line {number - 1}, the first: {rejected[0].message}; is the delimiter "
                f"{self.delimiter!r}?"
            )
        if "straddling" in str(error):
            return (
                f"{name} expected rows of less than 512 kB, got a longer one behind line "
                f"{number - 1}; is a quote not closed?"
            )
        return f"{name}: {error}"


def open_csv(source: InputFile, form: FileForm) -> CsvFile:
    """Find out how a CSV file is laid out. Raises ClickFileError."""
    head = source.head()
    encoding = encoding_of(head, form.encoding)
    text = TextStream(io.BytesIO(head), encoding, "").read().decode()
    # Whole lines only, unless there is but one.
    lines = list(io.StringIO(text, newline=""))
    if len(head) >= HEAD_BYTES and len(lines) > 1:
        lines.pop()
    blank = next((n for n, line in enumerate(lines) if line.strip()), len(lines))
    delimiter = form.delimiter or _likeliest(source, lines[blank] if blank < len(lines) else "")
    reader = csv.reader(
        (line.replace(delimiter, one_byte(delimiter)) for line in lines[blank:]),
        delimiter=one_byte(delimiter),
    )
    try:
        rows = list(islice(reader, _SAMPLE_ROWS + 1))
    except csv.Error as error:
        raise ClickFileError(f"{source.name}: {error}") from error
    skipped = blank
    if form.columns is not None:
        names = list(form.columns)
    else:
        names = [name.strip() for name in rows.pop(0)] if rows else []
        skipped += 1
    full = [row for row in rows if row]
    surplus = bool(full) and all(len(r) == len(names) + 1 and r[-1] == "" for r in full)
    widths = sorted({len(row) for row in full})
    if form.columns is not None and full and not surplus and len(names) not in widths:
        raise UnclearError(
            f"--columns expected {widths[-1]} names, as many as {source.name} has columns, "
            f"got {len(names)}: {names}"
        )
    good = [row for row in full if len(row) == len(names) + surplus]
    sample = Sample(
        {name: [row[place] for row in good] for place, name in enumerate(names)},
        [name for name in dict.fromkeys(names) if names.count(name) > 1],
    )
    if surplus:
        sample.notes.append("every row ends with a delimiter: the empty last field is left out")
    return CsvFile(source, encoding, delimiter, names, skipped, surplus, sample, not rows)


def _likeliest(source: InputFile, first_line: str) -> str:
    if ".tsv" in source.endings:
        return "\t"
    return max(_DELIMITERS, key=first_line.count)


def _numbers(first: int, count: int, rejected: list[Rejected]) -> NDArray[np.int64]:
    """The next `count` numbers that no rejected row has."""
    gone = [each.row for each in rejected if each.row >= first]
    numbers = np.arange(first, first + count + len(gone))
    return np.setdiff1d(numbers, gone, assume_unique=True)[:count]


def _until(rejected: list[Rejected], number: int) -> list[Rejected]:
    """Take out those before a row."""
    mine = [each for each in rejected if each.row < number]
    rejected[:] = [each for each in rejected if each.row >= number]
    return mine
