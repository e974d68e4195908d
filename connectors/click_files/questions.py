"""Questions as JSON lines: `{"prefix": [item ids, oldest first], "target": item id}`."""

from collections.abc import Iterator
from pathlib import Path

from streamrec.connectors.click_files.cells import id_text
from streamrec.connectors.click_files.json_values import Bad, lines
from streamrec.connectors.click_files.opening import InputFile, sources
from streamrec.connectors.click_files.rejecting import Rejected
from streamrec.connectors.click_files.text import encoding_of

Question = tuple[list[str], str]  # what was clicked in a session, and what was clicked next


def are_questions(path: Path) -> bool:
    """Whether the first value that can be read is a question."""
    with sources([path])[0].open() as file:
        for _, value in lines(file, "utf-8-sig"):
            if not isinstance(value, Bad):
                return isinstance(value, dict) and {"prefix", "target"} <= set(value)
    return False


def read_questions(source: InputFile) -> Iterator[Question | Rejected]:
    """Line by line. Raises ClickFileError."""
    encoding = encoding_of(source.head(), None)
    with source.open() as file:
        for number, value in lines(file, encoding):
            yield _question(number, value)


def _question(number: int, value: object) -> Question | Rejected:
    if isinstance(value, Bad):
        return Rejected(number, value)
    match value:
        case {"prefix": list(prefix), "target": target}:
            ids = [id_text(each) for each in (*prefix, target)]
            known = [each for each in ids if each is not None]
            if len(known) == len(ids):
                return known[:-1], known[-1]
    return Rejected(number, f'expected {{"prefix": [ids], "target": id}}, got {value!r:.100}')
