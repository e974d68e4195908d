"""JSON in batches of rows: by paths, and an event of its own for each element of a list."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import numpy as np

from streamrec.connectors.click_files.cells import (
    ROWS,
    Cells,
    Kind,
    Sample,
    Wanted,
    id_text,
    text_column,
    text_of,
)
from streamrec.connectors.click_files.forms import FileForm
from streamrec.connectors.click_files.json_values import Bad, is_lines, lines, values
from streamrec.connectors.click_files.opening import InputFile
from streamrec.connectors.click_files.paths import LINE, Path, follow, gather, parse_path
from streamrec.connectors.click_files.rejecting import Rejected, UnclearError
from streamrec.connectors.click_files.text import encoding_of

_SAMPLE_RECORDS = 200
_OF_KIND: dict[Kind, tuple[Callable[[object], str | None], str]] = {
    "id": (id_text, "a string or a whole number"),
    "text": (text_of, "a string or a number"),
    "time": (text_of, "a string or a number"),
}

Numbered = Iterator[tuple[int, object]]


@dataclass(frozen=True, slots=True)
class JsonFile:
    """A file of JSON records."""

    source: InputFile
    encoding: str
    by_line: bool
    sample: Sample

    def batches(self, wanted: Wanted) -> Iterator[Cells]:
        """Some thousand rows at a time. Raises ClickFileError."""
        with self._records() as records:
            yield from cells_of(records, wanted)

    @contextmanager
    def _records(self) -> Iterator[Numbered]:
        with self.source.open() as file:
            yield (
                lines(file, self.encoding)
                if self.by_line
                else values(file, self.encoding, self.source.name)
            )


def open_json(source: InputFile, form: FileForm) -> JsonFile:
    """Find out how a JSON file is laid out. Raises ClickFileError."""
    head = source.head()
    encoding = encoding_of(head, form.encoding)
    by_line = is_lines(head.decode(encoding, errors="replace"))
    found = JsonFile(source, encoding, by_line, Sample({}, open_ended=True))
    with found._records() as records:
        first = [value for _, value in islice(records, _SAMPLE_RECORDS)]
    good = [each for each in first if isinstance(each, dict | list)]
    return JsonFile(source, encoding, by_line, Sample(gather(good), open_ended=True))


def cells_of(records: Numbered, wanted: Wanted) -> Iterator[Cells]:
    """Rows of records; a record without an event, or with a value of the wrong kind, is none."""
    paths = [(parse_path(text), *_OF_KIND[kind]) for text, kind in wanted.items()]
    lists = {path.list_name: path for path, _, _ in paths if path.list_steps is not None}
    if len(lists) > 1:
        raise UnclearError(f"expected paths into one list of events, got {sorted(lists)}")
    events_at = next(iter(lists.values()), None)
    while True:
        rows: list[int] = []
        rejected: list[Rejected] = []
        texts: list[list[str | None]] = [[] for _ in paths]
        for number, record in records:
            events = [record] if events_at is None else _events(record, events_at)
            if isinstance(record, Bad) or isinstance(events, Bad):
                rejected.append(Rejected(number, record if isinstance(record, Bad) else events))  # type: ignore[arg-type]  # one of the two is
                continue
            for event in events:
                row, complaint = _row(record, event, paths, number)
                if complaint is not None:
                    rejected.append(Rejected(number, complaint))
                    continue
                rows.append(number)
                for column, text in zip(texts, row, strict=True):
                    column.append(text)
            if len(rows) + len(rejected) >= ROWS:
                break
        if not rows and not rejected:
            return
        columns = {path: text_column(column) for path, column in zip(wanted, texts, strict=True)}
        yield Cells(columns, np.array(rows, np.int64), rejected)


def _events(record: object, path: Path) -> list[object] | Bad:
    if isinstance(record, Bad):
        return record
    assert path.list_steps is not None
    found = follow(record, path.list_steps)
    if isinstance(found, list) and found:
        return found
    return Bad(f"{path.list_name} expected a list of events, got {_shown(found)}")


def _row(
    record: object,
    event: object,
    paths: list[tuple[Path, Callable[[object], str | None], str]],
    number: int,
) -> tuple[list[str | None], str | None]:
    row: list[str | None] = []
    for path, to_text, expected in paths:
        if path.text == LINE:
            row.append(str(number))
            continue
        value = path.of(record, event)
        if value is None:
            if not isinstance(record, dict) and path.list_steps is None:
                return row, f"expected a JSON object, got {_shown(record)}"
            row.append(None)
            continue
        text = to_text(value)
        if text is None:
            return row, f"{path.text} expected {expected}, got {_shown(value)}"
        if not text.isascii() and not _is_unicode(text):
            return row, f"{path.text} expected text, got half a character: {_shown(value)}"
        row.append(text)
    return row, None


def _is_unicode(text: str) -> bool:
    """Half of a surrogate pair can be written in JSON, and is no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:60] + "..."
