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
from streamrec.connectors.click_files.rejecting import (
    ClickFileError,
    Rejected,
    UnclearError,
    Unread,
)
from streamrec.connectors.click_files.text import encoding_of

_SAMPLE_RECORDS = 200
_OF_KIND: dict[Kind, tuple[Callable[[object], str | None], str]] = {
    "id": (id_text, "a string or a whole number"),
    "text": (text_of, "a string or a number"),
    "time": (text_of, "a string or a number"),
}

Numbered = Iterator[tuple[int, object]]


@dataclass(frozen=True, slots=True)
class _Column:
    """What is looked for in each event, and how it becomes text."""

    path: Path
    to_text: Callable[[object], str | None]
    expected: str
    optional: bool


@dataclass(frozen=True, slots=True)
class JsonFile:
    """A file of JSON records."""

    source: InputFile
    encoding: str
    by_line: bool
    sample: Sample
    empty: bool = False  # no value at all

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
    if first and not good:
        got = first[0] if isinstance(first[0], Bad) else f"the first is {_shown(first[0])}"
        raise ClickFileError(
            f"{source.name} expected JSON objects or lists, got none in the first {len(first)} "
            f"values: {got}"
        )
    return JsonFile(
        source, encoding, by_line, Sample(gather(good), open_ended=True), empty=not first
    )


def cells_of(records: Numbered, wanted: Wanted) -> Iterator[Cells]:
    """Rows of records; a record without an event, or with a value of the wrong kind, is none."""
    columns = [
        _Column(parse_path(text), *_OF_KIND[kind], text in wanted.optional)
        for text, kind in wanted.kinds.items()
    ]
    paths = [column.path for column in columns]
    lists = {path.list_name: path for path in paths if path.list_steps is not None}
    if len(lists) > 1:
        raise UnclearError(f"expected paths into one list of events, got {sorted(lists)}")
    events_at = next(iter(lists.values()), None)
    while True:
        rows: list[int] = []
        rejected: list[Rejected] = []
        unread: list[Unread] = []
        texts: list[list[str | None]] = [[] for _ in paths]
        for number, record in records:
            events = [record] if events_at is None else _events(record, events_at)
            if isinstance(record, Bad) or isinstance(events, Bad):
                rejected.append(Rejected(number, record if isinstance(record, Bad) else events))  # type: ignore[arg-type]  # one of the two is
                continue
            for event in events:
                row = _row(record, event, columns, number, unread)
                if isinstance(row, Bad):
                    rejected.append(Rejected(number, row))
                    continue
                rows.append(number)
                for each, text in zip(texts, row, strict=True):
                    each.append(text)
            if len(rows) + len(rejected) >= ROWS:
                break
        if not rows and not rejected:
            return
        found = {path.text: text_column(each) for path, each in zip(paths, texts, strict=True)}
        yield Cells(found, np.array(rows, np.int64), rejected, unread)


def _events(record: object, path: Path) -> list[object] | Bad:
    if isinstance(record, Bad):
        return record
    assert path.list_steps is not None
    found = follow(record, path.list_steps)
    if isinstance(found, list) and found:
        return found
    return Bad(f"{path.list_name} expected a list of events, got {_shown(found)}")


def _row(
    record: object, event: object, columns: list[_Column], number: int, unread: list[Unread]
) -> list[str | None] | Bad:
    """A text for each column; what a row can do without and cannot be read is noted."""
    row: list[str | None] = []
    for column in columns:
        path = column.path
        if path.text == LINE:
            row.append(str(number))
            continue
        value = path.of(record, event)
        if value is None:
            if not isinstance(record, dict) and path.list_steps is None:
                return Bad(f"expected a JSON object, got {_shown(record)}")
            row.append(None)
            continue
        text = column.to_text(value)
        complaint = None
        if text is None:
            complaint = f"{path.text} expected {column.expected}, got {_shown(value)}"
        elif not text.isascii() and not _is_unicode(text):
            complaint = f"{path.text} expected text, got half a character: {_shown(value)}"
        if complaint is not None:
            if not column.optional:
                return Bad(complaint)
            unread.append(Unread(number, path.text, complaint))
            text = None
        row.append(text)
    return row


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
