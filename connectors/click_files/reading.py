"""The one reader of click files, for import, training and evaluation: files in, batches of clicks
out, and what was guessed on the way."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamrec.connectors.click_files.cells import Cells, Kind, Sample, id_text
from streamrec.connectors.click_files.clicks import SCHEMA, FileClicks
from streamrec.connectors.click_files.csv_rows import CsvFile, open_csv
from streamrec.connectors.click_files.forms import FileForm, format_of
from streamrec.connectors.click_files.ids import IdColumn, is_nothing, looks_like_floats
from streamrec.connectors.click_files.json_rows import JsonFile, open_json
from streamrec.connectors.click_files.meaning import (
    Meaning,
    event_types,
    has_event_type,
    has_price,
    prices,
)
from streamrec.connectors.click_files.names import Names, name_columns
from streamrec.connectors.click_files.opening import InputFile, sources
from streamrec.connectors.click_files.parquet_rows import ParquetFile, open_parquet
from streamrec.connectors.click_files.paths import LINE
from streamrec.connectors.click_files.rejecting import Checks, UnclearError
from streamrec.connectors.click_files.text import shown
from streamrec.connectors.click_files.times import TimeColumn, guess_day_first, is_turned

_KINDS: dict[str, Kind] = {"time": "time", "type": "text", "price": "text"}  # all others are ids
_SHOWN_MAX = 20
_SECOND_MS = 1_000


@dataclass(frozen=True, slots=True)
class ReadAs:
    """What a user says of files of clicks; the options of `import`, `train` and `evaluate`."""

    names: Names = field(default_factory=Names)
    form: FileForm = field(default_factory=FileForm)
    meaning: Meaning = field(default_factory=Meaning)


class ClickFiles:
    """Files of clicks, opened: `names` and `guesses` say how they are understood."""

    def __init__(self, paths: Sequence[Path], asked: ReadAs, *, times: bool = True) -> None:
        """Without `times` a log may have none: 0 is then the time of each click.

        Raises ClickFileError; UnclearError where an option has to say more.
        """
        opened = [_opened(source, asked.form) for source in sources(paths)]
        # A part of a log may hold nothing at all, as of an hour without clicks.
        self._files = [file for file in opened if file.sample.values]
        self._meaning = asked.meaning
        self._read = 0  # clicks of a log without times, which get one each
        self.names, self.guesses = Names(), list[str]()
        if not self._files:
            return
        first = self._files[0]
        try:
            self.names, self.guesses = self._understand(first.sample, asked, times)
        except UnclearError as error:
            raise UnclearError(f"{first.source.name}: {error}") from None

    @property
    def have_rows(self) -> bool:
        """Whether the first rows of any file can be read; if none can, there may be others yet."""
        return any(any(file.sample.values.values()) for file in self._files)

    @property
    def several(self) -> bool:
        """Whether a row's number alone does not say which row it is."""
        return len(self._files) > 1

    def batches(self) -> Iterator[FileClicks]:
        """The clicks in the order of the files, some thousand at a time. Raises ClickFileError."""
        wanted: dict[str, Kind] = {}
        for role, name in self.names.chosen.items():
            kind = _KINDS.get(role, "id")
            wanted[name] = "id" if wanted.get(name) == "id" else kind
        for place, file in enumerate(self._files):
            name = file.source.name
            missing = [path for path in wanted if not _has(file, path)]
            if missing:
                raise UnclearError(
                    f"{name} expected the columns of {self._files[0].source.name}, {list(wanted)}, "
                    f"got {file.sample.paths[:40]}"
                )
            columns = _Columns(self.names, self._meaning, file.sample)
            for cells in file.batches(wanted):
                if LINE in wanted and place:
                    _tell_apart(cells, place)
                yield self._clicks(cells, columns, name)

    def _understand(self, sample: Sample, asked: ReadAs, times: bool) -> tuple[Names, list[str]]:
        meaning = asked.meaning
        needs_time = times and meaning.start_ms is None
        names, left_out = name_columns(
            sample, asked.names, partial(_can_be, meaning), times=needs_time
        )
        if meaning.start_ms is not None:
            names = replace(names, time=None)
        guesses = [f"columns: {_with_examples(names, sample, meaning)}", *left_out, *sample.notes]
        if names.time is None:
            guesses.append(
                "no times: in the order of the file"
                if meaning.start_ms is None
                else "no times: one second from a click to the next, in the order of the file"
            )
        elif meaning.time.format is None and meaning.time.day_first is None:
            self._guess_days(names.time, sample, guesses)
        return names, guesses

    def _guess_days(self, name: str, sample: Sample, guesses: list[str]) -> None:
        turned = [value for value in sample.values.get(name, []) if is_turned(value)]
        if not turned:
            return
        day_first = guess_day_first(turned)
        if day_first is None:
            raise UnclearError(
                f"{name} expected times that can be read in one way, got {turned[0]!r}, in which "
                "either number may be the day; say which by --time-format '%d/%m/%Y %H:%M'"
            )
        guesses.append(f"{name}: the {'first' if day_first else 'second'} number is the day")
        self._meaning = replace(
            self._meaning, time=replace(self._meaning.time, day_first=day_first)
        )

    def _clicks(self, cells: Cells, columns: "_Columns", file: str) -> FileClicks:
        """Turn text into clicks; rows that are none are rejected with the reason."""
        names = self.names
        assert names.user is not None and names.item is not None
        checks = Checks(cells.rows)
        users = columns.ids(names.user).required(cells.columns[names.user], checks)
        items = columns.ids(names.item).required(cells.columns[names.item], checks)
        if columns.time is not None and names.time is not None:
            times = columns.time.times_ms(cells.columns[names.time], checks)
        else:
            times = self._made_times(len(cells.rows))
        cents, priced = self._prices(cells, checks)
        categories = columns.optional(names.category, cells, checks)
        sessions = columns.optional(names.session, cells, checks)
        types, unknown = self._types(cells, checks)
        good = pa.array(checks.good)
        batch = pa.RecordBatch.from_arrays(
            [
                users, items, pa.array(types, pa.int32()), pa.array(times, pa.int64()),
                pa.array(cents, pa.int64(), mask=~priced), categories, sessions,
            ],
            schema=SCHEMA,
        ).filter(good)  # fmt: skip
        return FileClicks(batch, file, sorted(cells.rejected + checks.rejected), unknown)

    def _made_times(self, count: int) -> NDArray[np.int64]:
        start_ms = self._meaning.start_ms
        if start_ms is None:
            return np.zeros(count, np.int64)
        times = start_ms + _SECOND_MS * np.arange(self._read, self._read + count, dtype=np.int64)
        self._read += count
        return times

    def _prices(self, cells: Cells, checks: Checks) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        name, n = self.names.price, len(cells.rows)
        if name is None:
            return np.zeros(n, np.int64), np.zeros(n, np.bool_)
        return prices(cells.columns[name], name, self._meaning, checks)

    def _types(self, cells: Cells, checks: Checks) -> tuple[NDArray[np.int32], dict[str, int]]:
        if self.names.type is None:
            return np.zeros(len(cells.rows), np.int32), {}
        return event_types(cells.columns[self.names.type], self._meaning, checks.good)


class _Columns:
    """What the columns of one file mean."""

    def __init__(self, names: Names, meaning: Meaning, sample: Sample) -> None:
        self._meaning = meaning
        self._ids: dict[str, IdColumn] = {}
        for role in ("user", "item", "category", "session"):
            name = getattr(names, role)
            if name is not None:
                as_float = looks_like_floats(sample.values.get(name, ()), meaning.nothing)
                self._ids[name] = IdColumn(name, meaning.nothing, as_float)
        self.time = None if names.time is None else TimeColumn(names.time, meaning.time)

    def ids(self, name: str) -> IdColumn:
        return self._ids[name]

    def optional(self, name: str | None, cells: Cells, checks: Checks) -> "pa.LargeStringArray":
        if name is None:
            return pa.nulls(len(cells.rows), pa.large_string())
        return self._ids[name].optional(cells.columns[name], checks)


def _opened(source: InputFile, form: FileForm) -> CsvFile | JsonFile | ParquetFile:
    match format_of(source, form):
        case "csv":
            return open_csv(source, form)
        case "jsonl":
            return open_json(source, form)
        case "parquet":
            return open_parquet(source)


def _tell_apart(cells: Cells, place: int) -> None:
    """Sessions that have nothing but their line, from those of the files before."""
    of_file = pa.scalar(f"{place + 1}-", pa.large_string())
    empty = pa.scalar("", pa.large_string())
    cells.columns[LINE] = pc.binary_join_element_wise(of_file, cells.columns[LINE], empty)


def _has(file: CsvFile | JsonFile | ParquetFile, path: str) -> bool:
    if path in file.sample.values or path == LINE:
        return True
    return file.sample.open_ended


def _can_be(meaning: Meaning, role: str, name: str, values: Sequence[object]) -> int:
    """As CanBe: without a sample the name alone decides."""
    if not values:
        return 2
    if role == "time":
        times = TimeColumn(name, meaning.time)
        return int(any(is_turned(v) or not np.isnan(times.time_ms(v)) for v in values[:50])) * 2
    if role == "type":
        return int(has_event_type(values, meaning)) * 2
    if role == "price":
        return int(has_price(values, meaning)) * 2
    given = [value for value in values if not is_nothing(value, meaning.nothing)]
    ids = [value for value in given if id_text(value) is not None]
    if role in ("category", "session") and len(ids) < len(given):
        return 0
    return 0 if not ids else 1 + (2 * len(ids) >= len(values))


def _with_examples(names: Names, sample: Sample, meaning: Meaning) -> str:
    """The columns, and how the first time and price were understood."""
    said = []
    for role, name in names.chosen.items():
        text = f"{role} from {name}"
        for value in sample.values.get(name, ()):
            if example := _example(role, name, value, meaning):
                text += f" ({value if not isinstance(value, str) else shown(value)} is {example})"
                break
        said.append(text)
    return ", ".join(said)


def _example(role: str, name: str, value: object, meaning: Meaning) -> str | None:
    if role == "time":
        time = TimeColumn(name, meaning.time).time_ms(value)
        if not np.isnan(time):
            moment = datetime.fromtimestamp(time / 1_000, UTC)
            return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if role == "price" and has_price([value], meaning):
        return f"{float(str(value)) * meaning.cents_of(name):.0f} cents"
    if role in ("user", "item") and looks_like_floats([value], meaning.nothing):
        return str(value).partition(".")[0]
    return None
