"""Small made click logs and sessions for the tests of models."""

import numpy as np
from numpy.typing import NDArray

from streamrec.models.sessions.numbered import NumberedSessions
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.training.logs import ClickLog, SessionRows


def made_log(n_sessions: int, n_items: int, seed: int) -> ClickLog:
    """Sessions that walk from item to item: mostly to a follower, sometimes back or anywhere."""
    rng = np.random.default_rng(seed)
    followers = rng.integers(0, n_items, (n_items, 4))
    sessions: list[int] = []
    items: list[int] = []
    for session in range(n_sessions):
        item = int(n_items * rng.random() ** 2)
        seen = [item]
        for _ in range(int(rng.integers(1, 7))):
            chance = rng.random()
            if chance < 0.75:
                item = int(followers[item, int(4 * rng.random() ** 2)])
            elif chance < 0.9:
                item = seen[int(rng.integers(len(seen)))]
            else:
                item = int(rng.integers(n_items))
            seen.append(item)
        sessions += [session] * len(seen)
        items += seen
    times = 1_700_000_000_000 + 1_000 * np.arange(len(items), dtype=np.int64)
    return ClickLog(np.array(sessions), np.array(items), times)


def sessions_of(
    lists: list[list[int]], keys: list[int] | None = None, times: bool = True
) -> NumberedSessions:
    """Sessions by their items' numbers, oldest first, one click a minute."""
    lengths = [len(each) for each in lists]
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    flat = [item for each in lists for item in each]
    minutes = [60_000 * (place + 1) for each in lists for place in range(len(each))]
    return NumberedSessions(
        keys=np.array(keys if keys is not None else range(-len(lists), 0), np.int64),
        items=np.array(flat, np.int32),
        times_ms=np.array(minutes if times else [0] * len(flat), np.int64),
        bounds=bounds,
        positions=np.array(lengths, np.int32),
        user_features=np.zeros((len(lists), 0), np.float32),
    )


def learn_log(model: SessionRecommender, log: ClickLog) -> SessionRows:
    """Number the log's items and learn all its clicks."""
    rows = SessionRows(log, model.items.numbers(log.items, None, add=True))
    model.learn(rows.sessions(slice(0, len(rows))))
    return rows


def learn_lists(model: SessionRecommender, lists: list[list[int]]) -> None:
    """Learn whole sessions, one after another, item by item; items are keys and numbers at once."""
    highest = max(max(each) for each in lists if each)
    model.items.numbers(np.arange(highest + 1, dtype=np.int64), None, add=True)
    for key, items in enumerate(lists):
        for end in range(1, len(items) + 1):
            model.learn(sessions_of([items[:end]], [key]))


def item_lists(log: ClickLog) -> list[list[int]]:
    """The log's sessions as lists of item keys."""
    starts = np.flatnonzero(np.diff(log.sessions)) + 1
    parts: list[NDArray[np.int64]] = np.split(log.items, starts)
    return [part.tolist() for part in parts]
