"""Inputs of the ranker that the session gives: candidates' places in it, its length, its end."""

import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import helper
from streamrec.models.sessions.candidates.inputs import F
from streamrec.models.sessions.candidates.memory import Scratch
from streamrec.models.sessions.candidates.scores import SESSION_ITEMS
from streamrec.models.sessions.index_state import COUNT, FOLLOWED, PAIRS, REPEATS, State


@helper(inline="always")
def describe_places(
    state: State,
    scratch: Scratch,
    items: NDArray[np.int32],
    times_ms: NDArray[np.int64],
    position: int,
    count: int,
    out: NDArray[np.float32],
) -> None:
    """Where in the session its own items are; `union_of` leads to places among the candidates."""
    chosen = scratch.chosen
    fill(out, F.times_in_session, count, np.float32(0.0))
    fill(out, F.last_position, count, np.float32(-1.0))
    fill(out, F.first_position, count, np.float32(-1.0))
    fill(out, F.seconds_since_in_session, count, np.float32(-1.0))
    n_items = len(items)
    now_ms = times_ms[n_items - 1] if n_items > 0 else 0
    for back in range(min(n_items, SESSION_ITEMS)):
        item = items[n_items - 1 - back]
        if item < 0 or item >= len(state.stats):
            continue
        index = int(scratch.union_of[item])
        if index < 0 or index >= count or scratch.union[chosen[index]] != item:
            continue
        if out[F.times_in_session, index] == 0.0:
            out[F.last_position, index] = back
            seen_ms = times_ms[n_items - 1 - back]
            if seen_ms > 0:
                out[F.seconds_since_in_session, index] = np.float32(now_ms - seen_ms) / np.float32(
                    1000.0
                )
        out[F.times_in_session, index] += 1.0
        out[F.first_position, index] = position - 1 - back


@helper(inline="always")
def describe_session(
    state: State,
    scratch: Scratch,
    items: NDArray[np.int32],
    times_ms: NDArray[np.int64],
    position: int,
    n_distinct: int,
    n_found: int,
    last: int,
    count: int,
    out: NDArray[np.float32],
) -> None:
    """What is the same for all candidates; `last` is the session's last item, -1 if unknown."""
    n_items = len(items)
    now_ms = times_ms[n_items - 1] if n_items > 0 else 0
    gap = np.float32(-1.0)
    whole = np.float32(-1.0)
    if n_items > 1 and times_ms[n_items - 2] > 0:
        gap = np.float32(now_ms - times_ms[n_items - 2]) / np.float32(1000.0)
        whole = np.float32(now_ms - times_ms[0]) / np.float32(1000.0)
    best = np.float32(0.0)
    for place in range(n_found):
        best = max(best, scratch.similarity[place])
    last_clicks = repeat_rate = end_rate = n_pairs = repeated = np.float32(0.0)
    if last >= 0:
        clicks = np.float32(max(state.stats[last, COUNT], 1.0))
        last_clicks = np.float32(state.stats[last, COUNT])
        repeat_rate = np.float32(state.stats[last, REPEATS]) / clicks
        end_rate = np.float32(1.0) - np.float32(state.stats[last, FOLLOWED]) / clicks
        n_pairs = np.float32(state.blocks[last, PAIRS])
        for back in range(1, min(n_items, SESSION_ITEMS)):
            if items[n_items - 1 - back] == last:
                repeated += np.float32(1.0)
    fill(out, F.session_clicks, count, np.float32(position))
    fill(out, F.session_distinct, count, np.float32(n_distinct))
    fill(out, F.gap_seconds, count, gap)
    fill(out, F.session_seconds, count, whole)
    fill(out, F.neighbours, count, np.float32(n_found))
    fill(out, F.best_neighbour, count, best)
    fill(out, F.last_item_clicks, count, last_clicks)
    fill(out, F.last_item_repeat_rate, count, repeat_rate)
    fill(out, F.last_item_end_rate, count, end_rate)
    fill(out, F.last_item_pairs, count, n_pairs)
    fill(out, F.last_repeated, count, repeated)


@helper(inline="always")
def fill(out: NDArray[np.float32], row: int, count: int, value: np.float32) -> None:
    for index in range(count):
        out[row, index] = value
