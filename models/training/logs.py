"""Click logs in memory, cut into the sessions that models are asked about."""

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streamrec.models.sessions.items import ItemTable
from streamrec.models.sessions.numbered import NumberedSessions
from streamrec.schemas.columns import Bytes
from streamrec.schemas.columns import take as take_bytes

_CHUNK = 1 << 18
KEPT_ITEMS = 50  # newest clicks of a session that a model is shown


@dataclass(frozen=True, slots=True)
class ClickLog:
    """n clicks in the order of their times, of equal times in the order of the files."""

    sessions: NDArray[np.int64]  # (n,) equal: the same session (or user)
    items: NDArray[Any]  # (n,) int64: item keys, or int32: places among `DistinctItems`
    times_ms: NDArray[np.int64]  # (n,) Unix milliseconds; 0: not known

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, rows: slice) -> "ClickLog":
        return ClickLog(self.sessions[rows], self.items[rows], self.times_ms[rows])


@dataclass(frozen=True, slots=True)
class DistinctItems:
    """The items of a log, each once. The log's own `items` are places among them, of 4 bytes."""

    keys: NDArray[np.int64]  # (k,)
    ids: Bytes  # (k,)


def number_items(
    table: ItemTable, items: NDArray[Any], distinct: DistinctItems | None, *, add: bool
) -> NDArray[np.int32]:
    """The numbers of all clicks' items, (n,), as `table.numbers` has them. Part by part, since the
    table makes room for all ids that it is given at once."""
    numbers = np.empty(len(items), np.int32)
    for first in range(0, len(items), _CHUNK):
        part = items[first : first + _CHUNK]
        if distinct is None:
            numbers[first : first + _CHUNK] = table.numbers(part, None, add)
        else:
            ids = take_bytes(distinct.ids, part) if add else None
            numbers[first : first + _CHUNK] = table.numbers(distinct.keys[part], ids, add)
    return numbers


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


class FeatureRows(Protocol):
    """Rows (n, width) of float32: an array, or rows that are packed."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | NDArray[np.int64], /) -> NDArray[np.float32]: ...


class SessionRows:
    """Each click of a log as the session that it makes, on demand and without a Python loop; 12
    bytes a click beside the log.

    `numbers` (n,) are the item numbers of the log's clicks. `key_base` keeps the keys of two logs
    apart. `user_features` (n, n_user_features) are those of each click's user right after it.
    """

    def __init__(
        self,
        log: ClickLog,
        numbers: NDArray[np.int32],
        key_base: int = 0,
        user_features: FeatureRows | None = None,
    ) -> None:
        n = len(log)
        self._key_base = key_base
        # The click at each place among those sorted by session.
        self._row_of_place = np.argsort(log.sessions, kind="stable").astype(np.int32)
        self._place = np.empty(n, np.int32)  # of each click
        self._items = np.empty(n, np.int32)  # by place
        starts = [np.zeros(0, np.int32)]
        last_key = None
        for first in range(0, n, _CHUNK):  # part by part, since what is in between is large
            part = slice(first, min(first + _CHUNK, n))
            rows = self._row_of_place[part]
            keys = log.sessions[rows]
            begins = np.append(keys[:1] != last_key, keys[1:] != keys[:-1])
            starts.append((first + np.flatnonzero(begins)).astype(np.int32))
            self._place[rows] = np.arange(part.start, part.stop)
            self._items[part] = numbers[rows]
            last_key = keys[-1]
        # Place of each session's first click, and the end of all.
        self._starts = np.append(np.concatenate(starts), np.int32(n)).astype(np.int32)
        self._user_features = user_features
        self._times_ms = log.times_ms

    def __len__(self) -> int:
        return len(self._place)

    def sessions(self, rows: slice | NDArray[np.int64]) -> NumberedSessions:
        """The sessions as they stand right after these clicks."""
        session = self._session(rows)
        place = self._place[rows].astype(np.int64)
        positions = place - self._starts[session] + 1
        lengths = np.minimum(positions, KEPT_ITEMS)
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        index = np.repeat(place + 1 - lengths - bounds[:-1], lengths) + np.arange(bounds[-1])
        return NumberedSessions(
            keys=session + np.int64(self._key_base),
            items=self._items[index],
            times_ms=self._times_ms[self._row_of_place[index]],
            bounds=bounds,
            positions=positions.astype(np.int32),
            user_features=(
                np.zeros((len(place), 0), np.float32)
                if self._user_features is None
                else np.ascontiguousarray(self._user_features[rows])
            ),
        )

    def have_next(self, rows: slice) -> NDArray[np.bool_]:
        """Which of these clicks have a next one in their session."""
        return np.asarray(self._place[rows] + 1 < self._starts[self._session(rows) + 1])

    def began(self, rows: slice) -> NDArray[np.int32]:
        """The first click of each one's session."""
        return np.asarray(self._row_of_place[self._starts[self._session(rows)]])

    def _session(self, rows: slice | NDArray[np.int64]) -> NDArray[np.int64]:
        """Of each of these clicks, by the order of their keys: looked up, not kept."""
        return np.searchsorted(self._starts, self._place[rows], "right") - 1

    def judged_rows(self) -> NDArray[np.int64]:
        """Clicks that have a next one in their session."""
        return np.flatnonzero(self.have_next(slice(None)))

    def targets(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Numbers of the items clicked next; `rows` as of `judged_rows`."""
        return self._items[self._place[rows] + 1]

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


def questions(
    lengths: NDArray[np.int64], numbers: NDArray[np.int32], targets: NDArray[np.int32]
) -> Judged:
    """Prefixes, by the numbers of their items one after another, as sessions of their own."""
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    kept = np.minimum(lengths, KEPT_ITEMS)
    kept_bounds = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
    index = np.repeat(bounds[1:] - kept - kept_bounds[:-1], kept) + np.arange(kept_bounds[-1])
    sessions = NumberedSessions(
        # Keys that no session of a log has: nothing was learned of these sessions.
        keys=-1 - np.arange(len(lengths), dtype=np.int64),
        items=numbers[index],
        times_ms=np.zeros(len(index), np.int64),
        bounds=kept_bounds,
        positions=lengths.astype(np.int32),
        user_features=np.zeros((len(lengths), 0), np.float32),
    )
    return Judged(sessions, targets)
