"""The methods `rules`, `near` and `two_hop`: what was clicked around the last items."""

import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import helper
from streamrec.models.sessions.candidates.memory import Scratch, meet
from streamrec.models.sessions.candidates.scores import (
    HOPS,
    HOPS_MAX,
    PAIR_QUERY_ITEMS,
    RULE_DECAY,
    WRAP,
    S,
)
from streamrec.models.sessions.index_state import (
    AFTER,
    BEFORE,
    CLICKS,
    COUNT,
    DROPPED,
    FADED,
    FIRST,
    NEXT,
    PAIR_NOW,
    PAIR_START,
    PAIRS,
    State,
)


@helper(inline="always")
def read_pairs(
    state: State,
    scratch: Scratch,
    sizes: NDArray[np.int64],
    weights: NDArray[np.float64],
    query: NDArray[np.int32],
    n_query: int,
    n_union: int,
) -> int:
    clock = state.counters[CLICKS]
    check_born = state.counters[DROPPED] > 0
    fade = np.float32(1.0 / state.growth[PAIR_NOW])
    hop_items = np.empty(HOPS_MAX, np.int32)
    hop_weights = np.empty(HOPS_MAX, np.float32)
    n_hops = 0
    hops = sizes[HOPS]
    decay = np.float32(1.0)
    for asked in range(min(n_query, PAIR_QUERY_ITEMS)):
        block = state.blocks[query[asked]]
        start = block[PAIR_START]
        for place in range(start, start + block[PAIRS]):
            item = state.pair_items[place]
            age = (clock - np.int64(state.pair_seen[place])) & WRAP
            if check_born and clock - age < state.stats[item, FIRST]:
                continue
            slot, n_union = meet(scratch, n_union, item)
            if slot < 0:
                continue
            after = state.pair_values[place, AFTER]
            before = state.pair_values[place, BEFORE]
            row = scratch.rows[slot]
            row[S.rules] += decay * after
            row[S.near] += decay * (after + before)
            if asked == 0:
                row[S.after_last] = after
                row[S.before_last] = before
                row[S.next_last] = state.pair_values[place, NEXT]
                row[S.faded_last] = state.pair_values[place, FADED] * fade
                row[S.seen_last] = np.float32(1.0) / np.float32(1 + age)
                near = after + np.float32(0.5) * before
                if n_hops < hops or (hops > 0 and near > hop_weights[n_hops - 1]):
                    index = n_hops if n_hops < hops else n_hops - 1
                    while index > 0 and hop_weights[index - 1] < near:
                        hop_weights[index] = hop_weights[index - 1]
                        hop_items[index] = hop_items[index - 1]
                        index -= 1
                    hop_weights[index] = near
                    hop_items[index] = item
                    if n_hops < hops:
                        n_hops += 1
            elif asked == 1:
                row[S.after_second] = after
                row[S.before_second] = before
            elif asked == 2:
                row[S.after_third] = after
        decay *= np.float32(weights[RULE_DECAY])
    for hop in range(n_hops):
        middle = hop_items[hop]
        block = state.blocks[middle]
        start = block[PAIR_START]
        scale = hop_weights[hop] / np.float32(state.stats[middle, COUNT])
        for place in range(start, start + block[PAIRS]):
            item = state.pair_items[place]
            if check_born:
                age = (clock - np.int64(state.pair_seen[place])) & WRAP
                if clock - age < state.stats[item, FIRST]:
                    continue
            slot, n_union = meet(scratch, n_union, item)
            if slot >= 0:
                scratch.rows[slot, S.two_hop] += scale * (
                    state.pair_values[place, AFTER]
                    + np.float32(0.5) * state.pair_values[place, BEFORE]
                )
    return n_union
