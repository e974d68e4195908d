"""The files that `evaluate` trains on and judges by, as models want them.

Click logs as `import` reads them, where a session is a session, or a user where the log has users
only; and questions, `{"prefix": [ids], "target": id}`. In memory a click takes 24 bytes, and 40
while clicks are put in order; ids are hashed as they are read.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.click_files import questions
from streamrec.connectors.click_files.opening import sources
from streamrec.connectors.click_files.reading import ClickFiles, ReadAs
from streamrec.connectors.click_files.rejecting import ClickFileError, Rejected
from streamrec.models.training.logs import ClickLog, item_key
from streamrec.models.training.packed import Growing
from streamrec.program.rejected_rows import RejectedRows


def read_log(paths: Sequence[Path], asked: ReadAs, rows: RejectedRows) -> ClickLog:
    """The clicks of all files by time, those of a log without times in the order of the files.

    Raises ClickFileError where a column is missing or no row is a click.
    """
    # The session stands for the user: who comes back is judged by each visit.
    files = ClickFiles(paths, asked, times=False, by_session=True)
    for guess in files.guesses:
        rows.say(guess)
    columns = [Growing(), Growing(), Growing()]
    with closing(rows):
        for clicks in files.batches():
            rows.add(clicks.file, clicks.rejected, clicks.unread)
            columns[0].add(_keys(*clicks.numbered("user_id")))
            columns[1].add(_keys(*clicks.numbered("item_id")))
            columns[2].add(clicks.times_ms)
    if not len(columns[2]):
        raise ClickFileError(
            f"{paths[0].name} expected clicks, got "
            + ("none that is good" if rows.count else "none")
        )
    # One column after the other, so that only one is there twice.
    sessions, items, times_ms = (column.whole() for column in columns)
    if (times_ms[1:] < times_ms[:-1]).any():
        order = np.argsort(times_ms, kind="stable")
        sessions = sessions[order]
        items = items[order]
        times_ms = times_ms[order]
    return ClickLog(sessions, items, times_ms)


@dataclass(frozen=True, slots=True)
class Questions:
    """n questions, the items of their prefixes one after another."""

    items: NDArray[np.int64]  # (total,) item keys
    lengths: NDArray[np.int64]  # (n,) of the prefixes
    targets: NDArray[np.int64]  # (n,) item keys


def read_questions(paths: Sequence[Path], rows: RejectedRows) -> Questions:
    """The items before each question, oldest first, and those of the answers."""
    items, lengths, targets = Growing(), Growing(), Growing()
    with closing(rows):
        for source in sources(paths):
            for some in _in_chunks(questions.read_questions(source)):
                good = [each for each in some if not isinstance(each, Rejected)]
                rows.add(source.name, [each for each in some if isinstance(each, Rejected)])
                items.add(item_keys([item for prefix, _ in good for item in prefix]))
                lengths.add(np.array([len(prefix) for prefix, _ in good], np.int64))
                targets.add(item_keys([target for _, target in good]))
    return Questions(items.whole(), lengths.whole(), targets.whole())


def _in_chunks(
    each: Iterator[questions.Question | Rejected], size: int = 10_000
) -> Iterator[list[questions.Question | Rejected]]:
    chunk: list[questions.Question | Rejected] = []
    for one in each:
        chunk.append(one)
        if len(chunk) == size:
            yield chunk
            chunk = []
    yield chunk


def item_keys(ids: Sequence[str]) -> NDArray[np.int64]:
    return np.fromiter(map(item_key, ids), np.int64, len(ids))


def _keys(places: NDArray[np.int64], ids: list[bytes]) -> NDArray[np.int64]:
    return item_keys([each.decode() for each in ids])[places]
