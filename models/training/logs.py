"""Click logs in memory: read from files, cut into the sessions that models are asked about."""

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from streamrec.models.sessions.numbered import NumberedSessions

KEPT_ITEMS = 50  # newest clicks of a session that a model is shown
_SESSION_NAMES = ("sessionid", "session_id", "session", "user_id", "userid", "user", "visitorid")
_ITEM_NAMES = ("itemid", "item_id", "item")
_TIME_NAMES = ("time", "timestamp", "timestamp_s", "timestamp_ms", "time_ms", "ts", "eventdate")
_BAD_ROWS_KEPT = 20
_MILLISECONDS_FROM = 100_000_000_000  # as seconds this is the year 5138


class BadLog(ValueError):
    """A file from which no clicks can be read."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns of a session log; None: found by their usual names."""

    session: str | None = None
    item: str | None = None
    time: str | None = None


@dataclass(frozen=True, slots=True)
class ClickLog:
    """n clicks in the order of their times, of equal times in the order of the files."""

    sessions: NDArray[np.int64]  # (n,) equal: the same session (or user)
    items: NDArray[np.int64]  # (n,) item keys
    times_ms: NDArray[np.int64]  # (n,) Unix milliseconds; 0: not known

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, rows: slice) -> "ClickLog":
        return ClickLog(self.sessions[rows], self.items[rows], self.times_ms[rows])


@dataclass(frozen=True, slots=True)
class Judged:
    """n questions with their answers: what was clicked next after each session."""

    sessions: NumberedSessions
    targets: NDArray[np.int32]  # (n,) item numbers; -1: an item that was never seen

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> "Judged":
        return Judged(take(self.sessions, rows), self.targets[rows])


def item_key(text: str) -> int:
    """The 64-bit key of an item id: the number itself where the id is one, else a hash of it.

    >>> item_key("214536502"), item_key("abc") == item_key("abc ")
    (214536502, False)
    """
    if text.isdecimal() and len(text) <= 18 and (text == "0" or text[0] != "0"):
        return int(text)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


class SessionRows:
    """Each click of a log as the session that it makes, on demand and without a Python loop.

    `numbers` (n,) are the item numbers of the log's clicks. `key_base` keeps the keys of two logs
    apart. `user_features` (n, n_user_features) are those of each click's user right after it.
    """

    def __init__(
        self,
        log: ClickLog,
        numbers: NDArray[np.int32],
        key_base: int = 0,
        user_features: NDArray[np.float32] | None = None,
    ) -> None:
        unique, of_click = np.unique(log.sessions, return_inverse=True)
        order = np.argsort(of_click, kind="stable")
        counts = np.bincount(of_click, minlength=len(unique))
        ends = np.cumsum(counts)
        self.numbers = numbers
        self.keys = of_click.astype(np.int64) + key_base
        self.place = np.empty(len(log), np.int64)  # of each click among those sorted by session
        self.place[order] = np.arange(len(log))
        self.row_of_place = order  # the click at each place
        self.first = (ends - counts)[of_click]  # place of its session's first click
        self.last = ends[of_click] - 1  # place of its session's last click
        self._items = numbers[order]
        self._user_features = user_features
        self._times = log.times_ms[order]

    def __len__(self) -> int:
        return len(self.numbers)

    def sessions(self, rows: slice | NDArray[np.int64]) -> NumberedSessions:
        """The sessions as they stand right after these clicks."""
        place = self.place[rows]
        positions = place - self.first[rows] + 1
        lengths = np.minimum(positions, KEPT_ITEMS)
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        index = np.repeat(place + 1 - lengths - bounds[:-1], lengths) + np.arange(bounds[-1])
        return NumberedSessions(
            keys=self.keys[rows],
            items=self._items[index],
            times_ms=self._times[index],
            bounds=bounds,
            positions=positions.astype(np.int32),
            user_features=(
                np.zeros((len(place), 0), np.float32)
                if self._user_features is None
                else np.ascontiguousarray(self._user_features[rows])
            ),
        )

    def judged_rows(self) -> NDArray[np.int64]:
        """Clicks that have a next one in their session."""
        return np.flatnonzero(self.place < self.last)

    def targets(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Numbers of the items clicked next; `rows` as of `judged_rows`."""
        return self._items[self.place[rows] + 1]

    def judged(self, rows: NDArray[np.int64]) -> Judged:
        return Judged(self.sessions(rows), self.targets(rows))


def take(sessions: NumberedSessions, rows: slice | NDArray[np.int64]) -> NumberedSessions:
    """Some of the sessions."""
    begins = sessions.bounds[:-1][rows]
    lengths = sessions.bounds[1:][rows] - begins
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    index = np.repeat(begins - bounds[:-1], lengths) + np.arange(bounds[-1])
    return NumberedSessions(
        keys=sessions.keys[rows],
        items=sessions.items[index],
        times_ms=sessions.times_ms[index],
        bounds=bounds,
        positions=sessions.positions[rows],
        user_features=sessions.user_features[rows],
    )


def is_jsonl(path: Path) -> bool:
    """Whether the file's first character begins a JSON array or object."""
    with open_bytes(path) as file:
        head = file.read(64).lstrip()
    return head[:1] in (b"[", b"{")


def open_bytes(path: Path) -> IO[bytes] | gzip.GzipFile:
    """The file's bytes, unzipped where they are a gzip stream, whatever the name says."""
    file = path.open("rb")
    if file.read(2) == b"\x1f\x8b":
        file.close()
        return gzip.open(path)
    file.seek(0)
    return file


class BadRows:
    """Counts what could not be read and keeps the first few, named by file and line."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, path: Path, line: int, expected: str, got: object) -> None:
        self.count += 1
        if len(self.first) < _BAD_ROWS_KEPT:
            self.first.append(f"{path.name} line {line}: expected {expected}, got {got!r}")


def read_sessions(paths: list[Path], bad: BadRows) -> ClickLog:
    """JSON lines, one array of item ids a session, oldest session first; no times."""
    items: list[int] = []
    lengths: list[int] = []
    for path, line, value in _json_lines(paths, bad):
        if not isinstance(value, list) or not value or not all(map(_is_id, value)):
            bad.add(path, line, "a JSON array of item ids", value)
            continue
        items.extend(map(_key, value))
        lengths.append(len(value))
    keys = np.repeat(np.arange(len(lengths)), lengths)
    return ClickLog(keys, np.array(items, np.int64), np.zeros(len(items), np.int64))


def read_questions(
    paths: list[Path], bad: BadRows
) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """JSON lines `{"prefix": [ids, oldest first], "target": id}`: item keys of both."""
    prefixes: list[NDArray[np.int64]] = []
    targets: list[int] = []
    for path, line, value in _json_lines(paths, bad):
        prefix = value.get("prefix") if isinstance(value, dict) else None
        if (
            not isinstance(prefix, list)
            or not all(map(_is_id, prefix))
            or not _is_id(value.get("target"))
        ):
            bad.add(path, line, '{"prefix": [ids], "target": id}', value)
            continue
        prefixes.append(np.array([_key(each) for each in prefix], np.int64))
        targets.append(_key(value["target"]))
    return prefixes, np.array(targets, np.int64)


def questions(
    prefixes: list[NDArray[np.int64]], numbers: NDArray[np.int32], targets: NDArray[np.int32]
) -> Judged:
    """Prefixes, by the numbers of their items one after another, as sessions of their own."""
    lengths = np.array([len(prefix) for prefix in prefixes], np.int64)
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    kept = np.minimum(lengths, KEPT_ITEMS)
    kept_bounds = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
    index = np.repeat(bounds[1:] - kept - kept_bounds[:-1], kept) + np.arange(kept_bounds[-1])
    sessions = NumberedSessions(
        # Keys that no session of a log has: nothing was learned of these sessions.
        keys=-1 - np.arange(len(prefixes), dtype=np.int64),
        items=numbers[index],
        times_ms=np.zeros(len(index), np.int64),
        bounds=kept_bounds,
        positions=lengths.astype(np.int32),
        user_features=np.zeros((len(prefixes), 0), np.float32),
    )
    return Judged(sessions, targets)


def read_log(paths: list[Path], columns: Columns, bad: BadRows) -> ClickLog:
    """CSV, TSV or Parquet with a column each for session (or user), item and time.

    Times are Unix seconds, Unix milliseconds (told by their size) or ISO 8601.
    Raises BadLog where a column or every row is missing.
    """
    logs = [_read_table(path, columns, bad) for path in paths]
    log = ClickLog(
        np.concatenate([each.sessions for each in logs]),
        np.concatenate([each.items for each in logs]),
        np.concatenate([each.times_ms for each in logs]),
    )
    order = np.argsort(log.times_ms, kind="stable")
    return ClickLog(log.sessions[order], log.items[order], log.times_ms[order])


def _read_table(path: Path, columns: Columns, bad: BadRows) -> ClickLog:
    with open_bytes(path) as file:
        magic = file.read(4)
    if magic == b"PAR1":
        table = pq.read_table(path)
        lines = np.arange(1, table.num_rows + 1)
    else:
        table, lines = _read_csv(path, bad)
    names = table.column_names
    session = _column(path, "session", columns.session, _SESSION_NAMES, names)
    item = _column(path, "item", columns.item, _ITEM_NAMES, names)
    time = _column(path, "time", columns.time, _TIME_NAMES, names)
    times, good = _times_ms(table[time])
    session_keys, has_session = _keys(table[session])
    item_keys, has_item = _keys(table[item])
    for column, valid, expected in (
        (session, has_session, "a session or user id"),
        (item, has_item, "an item id"),
        (time, good, "seconds, milliseconds or an ISO 8601 time"),
    ):
        for row in np.flatnonzero(~valid).tolist():
            value = table[column][row].as_py()
            bad.add(path, int(lines[row]), f"{expected} in column {column!r}", value)
    keep = good & has_session & has_item
    if not keep.any():
        raise BadLog(f"{path.name} expected clicks, got no good row of {table.num_rows}")
    return ClickLog(session_keys[keep], item_keys[keep], times[keep])


def _read_csv(path: Path, bad: BadRows) -> tuple[pa.Table, NDArray[np.int64]]:
    with open_bytes(path) as file:
        header = file.readline().decode("utf-8", "replace")
    delimiter = max("\t,;|", key=header.count)
    if delimiter not in header:
        raise BadLog(f"{path.name} expected a header with columns, got {header.strip()!r}")
    skipped: list[int] = []

    def skip(row: pa_csv.InvalidRow) -> str:
        bad.add(path, row.number or 0, f"{row.expected_columns} columns", row.actual_columns)
        skipped.append(row.number or 0)
        return "skip"

    names = [name.strip().strip('"') for name in header.rstrip("\r\n").split(delimiter)]
    with open_bytes(path) as file:
        table = pa_csv.read_csv(
            file,
            # One thread: only then does a bad row know its number.
            read_options=pa_csv.ReadOptions(use_threads=False),
            parse_options=pa_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=skip),
            convert_options=pa_csv.ConvertOptions(
                column_types={name: pa.string() for name in names}
            ),
        )
    lines = np.arange(2, table.num_rows + len(skipped) + 2)
    return table, lines[~np.isin(lines, skipped)]


def _column(
    path: Path, what: str, given: str | None, usual: tuple[str, ...], names: list[str]
) -> str:
    if given is not None:
        if given not in names:
            raise BadLog(f"{path.name} expected the {what} column {given!r}, got {names!r}")
        return given
    lower = {name.lower(): name for name in names}
    for name in usual:
        if name in lower:
            return lower[name]
    raise BadLog(
        f"{path.name} expected a {what} column ({', '.join(usual)}), got {names!r}; "
        f"name it with --{what}-column"
    )


def _keys(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """64-bit keys of ids that are integers or strings, and which rows have one."""
    encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    words = encoded.dictionary.to_pylist()
    keys = np.array([item_key(word) if word else 0 for word in words], np.int64)
    filled = np.array([bool(word) for word in words], np.bool_)
    index = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    if not words:
        return np.zeros(len(index), np.int64), np.zeros(len(index), np.bool_)
    return keys[index], filled[index] & (index >= 0)


def _times_ms(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    if pa.types.is_timestamp(column.type):
        values = column.cast(pa.timestamp("ms")).cast(pa.int64())
        good = ~values.is_null().to_numpy()
        return values.fill_null(0).to_numpy().astype(np.int64), good
    texts = column.cast(pa.string()).to_pylist()
    seconds = np.array([_seconds(text) for text in texts], np.float64)
    good = np.isfinite(seconds) & (seconds >= 0)
    seconds[~good] = 0.0
    is_ms = seconds >= _MILLISECONDS_FROM
    return np.where(is_ms, seconds, seconds * 1000.0).round().astype(np.int64), good


def _seconds(text: str | None) -> float:
    if not text:
        return np.nan
    try:
        return float(text)
    except ValueError:
        pass  # Not a number: the other form that times come in is tried next.
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return np.nan
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _json_lines(paths: list[Path], bad: BadRows) -> Iterator[tuple[Path, int, Any]]:
    for path in paths:
        with open_bytes(path) as file:
            for line, text in enumerate(file, start=1):
                if not text.strip():
                    continue
                try:
                    value = json.loads(text)
                except ValueError:
                    bad.add(path, line, "one JSON value", text[:80].decode("utf-8", "replace"))
                    continue
                yield path, line, value


def _is_id(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _key(value: int | str) -> int:
    if isinstance(value, str):
        return item_key(value)
    return value if -(2**63) <= value < 2**63 else item_key(str(value))
