"""The files that `evaluate` trains on and judges by, as models want them.

Two formats, found by content. A session log is a file of clicks as `import` reads it, where a
session is a session, or a user where the log has users only. JSON lines: an array of item ids a
session to train on, and `{"prefix": [ids], "target": id}` to be judged by.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.click_files import sessions
from streamrec.connectors.click_files.clicks import load
from streamrec.connectors.click_files.formats import FileForm, read_names
from streamrec.connectors.click_files.meaning import Meaning
from streamrec.connectors.click_files.names import Names, name_columns
from streamrec.connectors.click_files.rejecting import ClickFileError, Rejected
from streamrec.models.training.logs import ClickLog, item_key
from streamrec.schemas.columns import Numbers

_SKIPPED_KEPT = 20


class Skipped:
    """Counts what could not be read and keeps the first few, named by file and line."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, path: Path, rejected: Sequence[Rejected]) -> None:
        self.count += len(rejected)
        left = rejected[: _SKIPPED_KEPT - len(self.first)]
        self.first += [f"{path.name} line {row}: {message}" for row, message in left]


def read_log(paths: Sequence[Path], given: Names, skipped: Skipped) -> ClickLog:
    """The clicks of all files by time. Raises ClickFileError where a column is missing or no row is
    a click."""
    keys, items, times = [], [], []
    for path in paths:
        form = FileForm()
        names = name_columns(read_names(path, form), given)
        # The session stands for the user: who comes back is judged by each visit.
        names = replace(names, user=names.session or names.user, session=None)
        _, clicks = load(path, form, names, Meaning(), by_time=False)
        skipped.add(path, clicks.rejected)
        if not len(clicks):
            raise ClickFileError(f"{path.name} expected clicks, got none that is good")
        column = clicks.columns["timestamp"]
        assert isinstance(column, Numbers)
        keys.append(_keys(*clicks.numbered("user_id")))
        items.append(_keys(*clicks.numbered("item_id")))
        times.append(column.values.astype(np.int64))
    times_ms = np.concatenate(times)
    order = np.argsort(times_ms, kind="stable")
    return ClickLog(np.concatenate(keys)[order], np.concatenate(items)[order], times_ms[order])


def read_sessions(paths: Sequence[Path], skipped: Skipped) -> ClickLog:
    """Sessions one after another, in the order of the files; no times."""
    lists: list[list[str]] = []
    for path in paths:
        found = sessions.read_sessions(path)
        skipped.add(path, found.rejected)
        lists += found.items
    items = item_keys([item for each in lists for item in each])
    lengths = [len(each) for each in lists]
    return ClickLog(np.repeat(np.arange(len(lists)), lengths), items, np.zeros_like(items))


def read_questions(
    paths: Sequence[Path], skipped: Skipped
) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """The items before each question, oldest first, and those of the answers."""
    prefixes: list[NDArray[np.int64]] = []
    targets: list[str] = []
    for path in paths:
        found = sessions.read_questions(path)
        skipped.add(path, found.rejected)
        prefixes += map(item_keys, found.prefixes)
        targets += found.targets
    return prefixes, item_keys(targets)


def item_keys(ids: Sequence[str]) -> NDArray[np.int64]:
    return np.fromiter(map(item_key, ids), np.int64, len(ids))


def _keys(places: NDArray[np.int64], ids: list[bytes]) -> NDArray[np.int64]:
    return item_keys([each.decode() for each in ids])[places]
