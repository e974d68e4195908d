"""The methods `repeat` and `popular`: the session's own items, and those that all click."""

import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import helper
from streamrec.models.sessions.candidates.memory import Scratch, meet
from streamrec.models.sessions.candidates.scores import REPEAT_DECAY, SESSION_ITEMS, S
from streamrec.models.sessions.index_state import COUNT, LEADERS, SHORT, SHORT_NOW, State


@helper(inline="always")
def add_own(
    state: State,
    scratch: Scratch,
    weights: NDArray[np.float64],
    items: NDArray[np.int32],
    n_union: int,
) -> int:
    n_items = len(items)
    weight = np.float32(1.0)
    for back in range(min(n_items, SESSION_ITEMS)):
        item = items[n_items - 1 - back]
        if 0 <= item < len(state.stats) and state.stats[item, COUNT] > 0:
            slot, n_union = meet(scratch, n_union, item)
            if scratch.rows[slot, S.repeat] == 0:
                scratch.rows[slot, S.repeat] = weight
        weight *= np.float32(weights[REPEAT_DECAY])
    return n_union


@helper(inline="always")
def add_popular(state: State, scratch: Scratch, n_union: int) -> int:
    short_now = np.float32(1.0 / state.growth[SHORT_NOW])
    for index in range(state.counters[LEADERS]):
        item = state.leaders[index]
        slot, n_union = meet(scratch, n_union, item)
        if slot >= 0:
            scratch.rows[slot, S.popular] = np.float32(state.stats[item, SHORT]) * short_now
    return n_union
