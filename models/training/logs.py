"""Click logs in memory, cut into the sessions that models are asked about."""

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamrec.models.sessions.numbered import NumberedSessions

KEPT_ITEMS = 50  # newest clicks of a session that a model is shown


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


class FeatureRows(Protocol):
    """Rows (n, width) of float32: an array, or rows that are packed."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | NDArray[np.int64], /) -> NDArray[np.float32]: ...


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
        user_features: FeatureRows | None = None,
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
