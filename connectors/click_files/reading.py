"""The one reader of click files, for import, training and evaluation: files in, batches of clicks
out, and what was guessed on the way."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamrec.connectors.click_files.cells import Cells, Kind, Sample, Wanted
from streamrec.connectors.click_files.clicks import SCHEMA, FileClicks
from streamrec.connectors.click_files.csv_rows import CsvFile, open_csv
from streamrec.connectors.click_files.forms import FileForm, format_of
from streamrec.connectors.click_files.ids import IdColumn, looks_like_floats
from streamrec.connectors.click_files.json_rows import JsonFile, open_json
from streamrec.connectors.click_files.layouts import MAY_BE_MISSING, FileLayout, understand
from streamrec.connectors.click_files.meaning import Meaning, event_types, prices
from streamrec.connectors.click_files.names import Names
from streamrec.connectors.click_files.opening import InputFile, sources
from streamrec.connectors.click_files.parquet_rows import ParquetFile, open_parquet
from streamrec.connectors.click_files.paths import LINE
from streamrec.connectors.click_files.rejecting import Checks, UnclearError
from streamrec.connectors.click_files.times import TimeColumn

_KINDS: dict[str, Kind] = {"time": "time", "type": "text", "price": "text"}  # all others are ids
_SECOND_MS = 1_000


@dataclass(frozen=True, slots=True)
class ReadAs:
    """What a user says of files of clicks; the options of `import`, `train` and `evaluate`."""

    names: Names = field(default_factory=Names)
    form: FileForm = field(default_factory=FileForm)
    meaning: Meaning = field(default_factory=Meaning)


class ClickFiles:
    """Files of clicks, opened, each with its layout; `guesses` say how they are understood."""

    def __init__(
        self,
        paths: Sequence[Path],
        asked: ReadAs,
        *,
        times: bool = True,
        by_session: bool = False,
    ) -> None:
        """Without `times` a log may have none: 0 is then the time of each click. With `by_session`
        a session, where there are any, stands for its user.

        Raises ClickFileError; UnclearError where an option has to say more.
        """
        opened = [_opened(source, asked.form) for source in sources(paths)]
        # A part of a log may hold nothing at all, as of an hour without clicks.
        some = [file for file in opened if not file.empty]
        some = some or [file for file in opened if file.sample.values][:1]
        self._by_session = by_session
        self._read = 0  # clicks of a log without times, which get one each
        self._files: list[tuple[CsvFile | JsonFile | ParquetFile, FileLayout]] = []
        self.guesses: list[str] = []
        layouts: list[FileLayout] = []  # those that differ, and what was said of each
        said: list[tuple[str, list[str]]] = []
        for file in some:
            name, gaps = file.source.name, isinstance(file, JsonFile)
            try:
                layout, guesses = understand(
                    file.sample, asked.names, asked.meaning, times, layouts, gaps
                )
            except UnclearError as error:
                raise UnclearError(f"{name}: {error}") from None
            self._files.append((file, layout))
            like = next((n for n, each in enumerate(layouts) if layout.is_like(each)), None)
            if like is None:
                layouts.append(layout)
                said.append((name, guesses))
            else:
                layouts[like] = replace(layout, paths=layout.paths | layouts[like].paths)
        for name, guesses in said:
            self.guesses += guesses if len(said) == 1 else [f"{name}: {each}" for each in guesses]

    @property
    def have_rows(self) -> bool:
        """Whether the first rows of any file can be read; if none can, there may be others yet."""
        return any(any(file.sample.values.values()) for file, _ in self._files)

    @property
    def several(self) -> bool:
        """Whether a row's number alone does not say which row it is."""
        return len(self._files) > 1

    def batches(self) -> Iterator[FileClicks]:
        """The clicks in the order of the files, some thousand at a time. Raises ClickFileError."""
        for place, (file, layout) in enumerate(self._files):
            columns = _Columns(layout, file.sample, self._by_session)
            for cells in file.batches(columns.wanted()):
                if LINE in cells.columns and place:
                    _tell_apart(cells, place)
                yield self._clicks(cells, columns, file.source.name)

    def _clicks(self, cells: Cells, columns: "_Columns", file: str) -> FileClicks:
        """Turn text into clicks; rows that are none are rejected with the reason."""
        names, meaning = columns.names, columns.meaning
        assert names.user is not None and names.item is not None
        checks = Checks(cells.rows, meaning.strict)
        users = columns.ids(names.user).required(cells.columns[names.user], checks)
        items = columns.ids(names.item).required(cells.columns[names.item], checks)
        if columns.time is not None and names.time is not None:
            times = columns.time.times_ms(cells.columns[names.time], checks)
        else:
            times = self._made_times(len(cells.rows), meaning.start_ms)
        if names.price is None:
            cents, priced = np.zeros(len(cells.rows), np.int64), np.zeros(len(cells.rows), np.bool_)
        else:
            cents, priced = prices(cells.columns[names.price], names.price, meaning, checks)
        categories = columns.optional(names.category, cells, checks)
        sessions = columns.optional(names.session, cells, checks)
        if names.type is None:
            types, unknown = np.zeros(len(cells.rows), np.int32), dict[str, int]()
        else:
            types, unknown = event_types(cells.columns[names.type], meaning, checks.good)
        good = pa.array(checks.good)
        batch = pa.RecordBatch.from_arrays(
            [
                users, items, pa.array(types, pa.int32()), pa.array(times, pa.int64()),
                pa.array(cents, pa.int64(), mask=~priced), categories, sessions,
            ],
            schema=SCHEMA,
        ).filter(good)  # fmt: skip
        unread = checks.unread
        if cells.unread:
            good_rows = set(cells.rows[checks.good].tolist())
            unread = sorted(unread + [each for each in cells.unread if each.row in good_rows])
        return FileClicks(batch, file, sorted(cells.rejected + checks.rejected), unread, unknown)

    def _made_times(self, count: int, start_ms: int | None) -> NDArray[np.int64]:
        if start_ms is None:
            return np.zeros(count, np.int64)
        times = start_ms + _SECOND_MS * np.arange(self._read, self._read + count, dtype=np.int64)
        self._read += count
        return times


class _Columns:
    """What the columns of one file mean."""

    def __init__(self, layout: FileLayout, sample: Sample, by_session: bool) -> None:
        names = layout.names
        if by_session:
            names = replace(names, user=names.session or names.user, session=None)
        self.names, self.meaning = names, layout.meaning
        self._ids: dict[str, IdColumn] = {}
        for role in ("user", "item", "category", "session"):
            name = getattr(names, role)
            if name is not None:
                as_float = looks_like_floats(sample.values.get(name, ()), self.meaning.nothing)
                self._ids[name] = IdColumn(name, self.meaning.nothing, as_float)
        self.time = None if names.time is None else TimeColumn(names.time, self.meaning.time)

    def wanted(self) -> Wanted:
        """What is to be read of the file."""
        kinds: dict[str, Kind] = {}
        needed: set[str] = set()
        for role, name in self.names.chosen.items():
            kind = _KINDS.get(role, "id")
            kinds[name] = "id" if kinds.get(name) == "id" else kind
            if role not in MAY_BE_MISSING or self.meaning.strict:
                needed.add(name)
        return Wanted(kinds, frozenset(kinds) - needed)

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
