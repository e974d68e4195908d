"""The compiled loop that proposes candidates for sessions and fills in the ranker's inputs.

For each session: walk the newest lines of its items (session kNN and suffix match), the pairs of
its last items (rules, co-occurrence, two hops), the leaders and its own items; gather one row of
scores for every item met; keep the best by a weighted sum of scores, each divided by its maximum in
the session; write features of those kept. Nothing of the state is changed.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import helper, kernel
from streamrec.models.sessions.index_state import (
    AFTER,
    BEFORE,
    BORN,
    CLICKS,
    COUNT,
    DROPPED,
    FADED,
    FIRST,
    FOLLOWED,
    LAST,
    LEADERS,
    LENGTH_BITS,
    LINE_ITEMS,
    LINES,
    LONG,
    LONG_NOW,
    NEXT,
    PAIR_NOW,
    PAIR_START,
    PAIRS,
    POST_ROOM,
    POST_START,
    POSTS,
    REPEATS,
    SHORT,
    SHORT_NOW,
    STARTS,
    STATE_TYPE,
    State,
)
from streamrec.models.sessions.vectors import DIMENSIONS

# Scores of an item met, columns of `rows`, float32; one row is one cache line.
# The first eight make up the blend.
KNN_RECENT, KNN_PLAIN, SUFFIX, RULES, NEAR, TWO_HOP, REPEAT, POPULAR = range(8)
AFTER_LAST, BEFORE_LAST, NEXT_LAST, FADED_LAST, SEEN_LAST = range(8, 13)
AFTER_SECOND, BEFORE_SECOND, AFTER_THIRD = range(13, 16)
BLENDED = 8
SCORES = 16

METHODS = ("repeat", "knn", "suffix", "rules", "near", "two_hop", "popular")

# Places in `sizes`, int64.
SAMPLED, NEIGHBOURS, HOPS, METHOD_BITS = range(4)
# Places in `weights`, float64; then BLENDED weights of the blend follow.
RECENCY_STEP, IDF_POWER, REPEAT_DECAY, RULE_DECAY, SUFFIX_BONUS = range(5)
BLEND = 5

QUERY_ITEMS = 8  # newest distinct items of a session that kNN looks at
VECTOR_ITEMS = 8  # newest clicks of a session whose vectors are averaged
VECTOR_DECAY = 0.7  # factor for each step back
PAIR_QUERY_ITEMS = 5  # newest distinct items whose pairs are read
SESSION_ITEMS = 50  # newest clicks of a session that repeats and features look at
UNION_MAX = 4_096
HOPS_MAX = 16

FEATURES = (
    # scores, divided by their maximum in the session
    "knn_recent",
    "knn_plain",
    "suffix",
    "rules",
    "near",
    "two_hop",
    "blend",
    # scores as they are
    "knn_recent_raw",
    "knn_plain_raw",
    "suffix_raw",
    "after_last",
    "before_last",
    "next_last",
    "faded_last",
    "clicks_since_pair",
    "after_second",
    "before_second",
    "after_third",
    "rules_raw",
    "near_raw",
    "two_hop_raw",
    # ranks among the candidates, 0 best
    "knn_recent_rank",
    "suffix_rank",
    "rules_rank",
    "near_rank",
    "two_hop_rank",
    "blend_rank",
    # shares
    "knn_recent_share",
    "next_share",
    "after_share",
    "near_per_click",
    "knn_recency",
    # the item
    "clicks",
    "short_popularity",
    "long_popularity",
    "popularity_trend",
    "end_rate",
    "start_rate",
    "repeat_rate",
    "clicks_since_item",
    "clicks_since_first",
    # the item in the session
    "times_in_session",
    "last_position",
    "first_position",
    "seconds_since_in_session",
    # the session
    "session_clicks",
    "session_distinct",
    "gap_seconds",
    "session_seconds",
    "neighbours",
    "best_neighbour",
    "last_item_clicks",
    "last_item_repeat_rate",
    "last_item_end_rate",
    "last_item_pairs",
    "last_repeated",
    # cosines of angles between item vectors, 0 where there is none
    "vector_last",
    "vector_session",
)
_N_FEATURES = len(FEATURES)  # the user's follow
_VECTORS = FEATURES.index("vector_last")


class Scratch(NamedTuple):
    """Working memory; what it holds between calls means nothing."""

    union_of: NDArray[np.int32]  # (items,) place of an item in the union, if it is there
    union: NDArray[np.int32]  # (UNION_MAX,)
    rows: NDArray[np.float32]  # (UNION_MAX, SCORES)
    line_of: NDArray[np.int32]  # (lines,) place of a line among those found, if it is there
    found: NDArray[np.int64]  # (found_max,) numbers of the lines found
    similarity: NDArray[np.float32]  # (found_max,)
    faded: NDArray[np.float32]  # (found_max,) similarity times recency
    found_by: NDArray[np.int32]  # (found_max,) newest item of the query that found it
    voters: NDArray[np.int32]  # (found_max,) the neighbours, as places among the lines found
    words: NDArray[np.int32]  # (found_max,) the last word of each neighbour's line
    blend: NDArray[np.float32]  # (UNION_MAX,)
    spare: NDArray[np.float32]  # (UNION_MAX,)
    chosen: NDArray[np.int32]  # (UNION_MAX,)


class Tables(NamedTuple):
    """Weights by distance, worked out once."""

    query: NDArray[np.float32]  # (QUERY_ITEMS,) by distance of the query's item from its end
    after: NDArray[np.float32]  # (LINE_ITEMS,) by distance after the matched item
    before: NDArray[np.float32]  # (LINE_ITEMS,) by distance before it, 0: the item itself
    recency: NDArray[np.float32]  # (RECENCY_ROWS,) by age of a line, in steps


RECENCY_ROWS = 1_024

SCRATCH_TYPE = numba.types.NamedTuple(  # type: ignore[no-untyped-call]  # numba has no types here
    [
        numba.int32[::1],
        numba.int32[::1],
        numba.float32[:, ::1],
        numba.int32[::1],
        numba.int64[::1],
        numba.float32[::1],
        numba.float32[::1],
        numba.int32[::1],
        numba.int32[::1],
        numba.int32[::1],
        numba.float32[::1],
        numba.float32[::1],
        numba.int32[::1],
    ],
    Scratch,
)
TABLES_TYPE = numba.types.NamedUniTuple(  # type: ignore[no-untyped-call]  # numba has no types here
    numba.float32[::1], 4, Tables
)

_WRAP = 0xFFFFFFFF


@helper
def _spread(key: int) -> int:
    """As `learn_kernel.key_hash`: kept here too, because a cached kernel does not notice changes
    in another file; a test compares the two."""
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return int(mixed >> np.uint64(8))


@helper
def _meet(scratch: Scratch, n_union: int, item: int) -> tuple[int, int]:
    """Place of the item in the union and the union's size: a sparse set, never cleared."""
    place = int(scratch.union_of[item])
    if 0 <= place < n_union and scratch.union[place] == item:
        return place, n_union
    if n_union == UNION_MAX:
        return -1, n_union
    scratch.union_of[item] = n_union
    scratch.union[n_union] = item
    for column in range(SCORES):
        scratch.rows[n_union, column] = 0.0
    return n_union, n_union + 1


@helper
def _largest(values: NDArray[np.float32], count: int, wanted: int) -> float:
    """The `wanted`-th largest of the first `count` values, which it reorders (quickselect)."""
    left = 0
    right = count - 1
    target = wanted - 1
    while left < right:
        pivot = values[(left + right) >> 1]
        low = left
        high = right
        while low <= high:
            while values[low] > pivot:
                low += 1
            while values[high] < pivot:
                high -= 1
            if low <= high:
                values[low], values[high] = values[high], values[low]
                low += 1
                high -= 1
        if target <= high:
            right = high
        elif target >= low:
            left = low
        else:
            break
    return float(values[target])


@helper
def _walk_lines(
    state: State,
    scratch: Scratch,
    tables: Tables,
    sizes: NDArray[np.int64],
    weights: NDArray[np.float64],
    query: NDArray[np.int32],
    n_query: int,
) -> int:
    """Find lines that share items with the query; similarity is the sum over shared items of
    position weight times idf ** IDF_POWER (VMIS-kNN, Kersbergen et al., SIGMOD 2022, eq. 2)."""
    lines = state.counters[LINES]
    ring = len(state.lines)
    found_max = len(scratch.found)
    n_found = 0
    for asked in range(n_query):
        block = state.blocks[query[asked]]
        count = block[POSTS]
        if count == 0:
            continue
        weight = np.float32(tables.query[asked] * np.log(1.0 + lines / count) ** weights[IDF_POWER])
        room = block[POST_ROOM]
        start = block[POST_START]
        limit = min(min(count, room), sizes[SAMPLED] >> min(asked, 3))
        for back in range(limit):
            post = int(state.posts[start + ((count - 1 - back) & (room - 1))])
            age = (lines - post) & _WRAP
            if age > ring:
                break
            seq = lines - age
            place = int(scratch.line_of[seq & (ring - 1)])
            if 0 <= place < n_found and scratch.found[place] == seq:
                scratch.similarity[place] += weight
            elif n_found < found_max:
                scratch.line_of[seq & (ring - 1)] = n_found
                scratch.found[n_found] = seq
                scratch.similarity[n_found] = weight
                scratch.found_by[n_found] = asked
                n_found += 1
    step = weights[RECENCY_STEP]
    for place in range(n_found):
        age_row = min(int((lines - scratch.found[place]) * step), RECENCY_ROWS - 1)
        scratch.faded[place] = scratch.similarity[place] * tables.recency[age_row]
    return n_found


@helper
def _vote(
    state: State,
    scratch: Scratch,
    tables: Tables,
    sizes: NDArray[np.int64],
    weights: NDArray[np.float64],
    query: NDArray[np.int32],
    before_last: int,
    tag: int,
    n_found: int,
    n_union: int,
) -> int:
    """Let the best neighbours vote for their items, by distance to the newest shared item.

    VSTAN's weights (Ludewig et al., UMUAI 2021) with distances before and after told apart; what
    directly follows the query's last item also counts for the suffix match.
    """
    cut = 0.0
    if n_found > sizes[NEIGHBOURS]:
        scratch.spare[:n_found] = scratch.faded[:n_found]
        cut = _largest(scratch.spare, n_found, sizes[NEIGHBOURS])
    ring = len(state.lines)
    check_born = state.counters[DROPPED] > 0
    # A pass that only fetches the lines: its loads do not wait for each other, where the voting
    # below would wait some 80 ns for each line that is in no cache.
    n_voters = 0
    for place in range(n_found):
        if scratch.faded[place] >= cut:
            scratch.voters[n_voters] = place
            scratch.words[n_voters] = state.lines[scratch.found[place] & (ring - 1), LINE_ITEMS]
            n_voters += 1
    for voter in range(n_voters):
        place = scratch.voters[voter]
        word = scratch.words[voter]
        if word >> LENGTH_BITS == tag:
            continue
        faded = scratch.faded[place]
        seq = scratch.found[place]
        line = state.lines[seq & (ring - 1)]
        length = word & LINE_ITEMS
        similarity = scratch.similarity[place]
        asked = scratch.found_by[place]
        matched = -1
        for index in range(length - 1, -1, -1):
            if line[index] == query[asked]:
                matched = index
                break
        if matched < 0:
            continue
        for index in range(length):
            item = line[index]
            if check_born and state.blocks[item, BORN] > seq:
                continue
            if index > matched:
                weight = tables.after[index - matched]
            else:
                weight = tables.before[matched - index]
            slot, n_union = _meet(scratch, n_union, item)
            if slot < 0:
                continue
            scratch.rows[slot, KNN_RECENT] += faded * weight
            scratch.rows[slot, KNN_PLAIN] += similarity * weight
            if asked == 0 and index > 0 and line[index - 1] == query[0]:
                bonus = np.float32(1.0)
                if before_last >= 0 and index > 1 and line[index - 2] == before_last:
                    bonus += np.float32(weights[SUFFIX_BONUS])
                scratch.rows[slot, SUFFIX] += bonus * faded / similarity
    return n_union


@helper
def _read_pairs(
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
            age = (clock - np.int64(state.pair_seen[place])) & _WRAP
            if check_born and clock - age < state.stats[item, FIRST]:
                continue
            slot, n_union = _meet(scratch, n_union, item)
            if slot < 0:
                continue
            after = state.pair_values[place, AFTER]
            before = state.pair_values[place, BEFORE]
            row = scratch.rows[slot]
            row[RULES] += decay * after
            row[NEAR] += decay * (after + before)
            if asked == 0:
                row[AFTER_LAST] = after
                row[BEFORE_LAST] = before
                row[NEXT_LAST] = state.pair_values[place, NEXT]
                row[FADED_LAST] = state.pair_values[place, FADED] * fade
                row[SEEN_LAST] = np.float32(1.0) / np.float32(1 + age)
                near = after + np.float32(0.5) * before
                if n_hops < hops or near > hop_weights[n_hops - 1]:
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
                row[AFTER_SECOND] = after
                row[BEFORE_SECOND] = before
            elif asked == 2:
                row[AFTER_THIRD] = after
        decay *= np.float32(weights[RULE_DECAY])
    for hop in range(n_hops):
        middle = hop_items[hop]
        block = state.blocks[middle]
        start = block[PAIR_START]
        scale = hop_weights[hop] / np.float32(state.stats[middle, COUNT])
        for place in range(start, start + block[PAIRS]):
            item = state.pair_items[place]
            if check_born:
                age = (clock - np.int64(state.pair_seen[place])) & _WRAP
                if clock - age < state.stats[item, FIRST]:
                    continue
            slot, n_union = _meet(scratch, n_union, item)
            if slot >= 0:
                scratch.rows[slot, TWO_HOP] += scale * (
                    state.pair_values[place, AFTER]
                    + np.float32(0.5) * state.pair_values[place, BEFORE]
                )
    return n_union


@helper
def _cut(
    scratch: Scratch,
    weights: NDArray[np.float64],
    n_union: int,
    n_kept: int,
    maxima: NDArray[np.float32],
) -> int:
    """Keep the best `n_kept` of the union by the blend, best first, in `chosen`; their number.

    The session's own items (REPEAT > 0) are always kept. Ties go to the item met first.
    """
    rows = scratch.rows
    blend = scratch.blend
    # Unrolled by hand, maxima in registers: as loops over columns these two cost 20 microseconds.
    m0 = m1 = m2 = m3 = m4 = m5 = m6 = m7 = np.float32(0.0)
    for place in range(n_union):
        m0 = max(m0, rows[place, 0])
        m1 = max(m1, rows[place, 1])
        m2 = max(m2, rows[place, 2])
        m3 = max(m3, rows[place, 3])
        m4 = max(m4, rows[place, 4])
        m5 = max(m5, rows[place, 5])
        m6 = max(m6, rows[place, 6])
        m7 = max(m7, rows[place, 7])
    maxima[0] = m0
    maxima[1] = m1
    maxima[2] = m2
    maxima[3] = m3
    maxima[4] = m4
    maxima[5] = m5
    maxima[6] = m6
    maxima[7] = m7
    scale = np.zeros(BLENDED, np.float32)
    for column in range(BLENDED):
        if maxima[column] > 0:
            scale[column] = weights[BLEND + column] / maxima[column]
    s0, s1, s2, s3 = scale[0], scale[1], scale[2], scale[3]
    s4, s5, s6, s7 = scale[4], scale[5], scale[6], scale[7]
    n_positive = 0
    for place in range(n_union):
        total = (
            (rows[place, 0] * s0 + rows[place, 1] * s1)
            + (rows[place, 2] * s2 + rows[place, 3] * s3)
        ) + (
            (rows[place, 4] * s4 + rows[place, 5] * s5)
            + (rows[place, 6] * s6 + rows[place, 7] * s7)
        )
        blend[place] = total
        n_positive += total > 0
        own = total > 0 and rows[place, REPEAT] > 0
        scratch.spare[place] = np.float32(3e38) if own else total
    kept = min(n_kept, n_positive)
    if kept == 0:
        return 0
    cut = 0.0
    ties = kept
    if n_positive > kept:
        cut = _largest(scratch.spare, n_union, kept)
        # `spare` is in another order now: count again how many lie above the cut.
        ties = kept
        for place in range(n_union):
            forced = np.float32(3e38) if rows[place, REPEAT] > 0 else blend[place]
            if blend[place] > 0 and forced > cut:
                ties -= 1
    count = 0
    for place in range(n_union):
        value = blend[place]
        if value <= 0:
            continue
        forced = np.float32(3e38) if rows[place, REPEAT] > 0 else value
        if forced > cut:
            pass
        elif forced == cut and ties > 0:
            ties -= 1
        else:
            continue
        scratch.chosen[count] = place
        scratch.spare[count] = value
        count += 1
    order = np.empty(count, np.int32)
    for index in range(count):
        mine = scratch.spare[index]
        rank = 0
        for other in range(count):
            rank += scratch.spare[other] > mine
        for other in range(index):
            rank += scratch.spare[other] == mine
        order[rank] = scratch.chosen[index]
    scratch.chosen[:count] = order
    return count


@helper
def _ranks(values: NDArray[np.float32], count: int, out: NDArray[np.float32]) -> None:
    """How many of the first `count` values are larger than each."""
    for index in range(count):
        mine = values[index]
        rank = np.int32(0)
        for other in range(count):
            rank += np.int32(values[other] > mine)
        out[index] = rank


@helper(fastmath=True)  # or the sum is not vectorised
def _dot(one: NDArray[np.float32], other: NDArray[np.float32]) -> np.float32:
    total = np.float32(0.0)
    for dimension in range(DIMENSIONS):
        total += one[dimension] * other[dimension]
    return total


@helper
def _compare_vectors(
    scratch: Scratch,
    vectors: NDArray[np.float32],
    scale: NDArray[np.float32],
    items: NDArray[np.int32],
    count: int,
    out: NDArray[np.float32],
) -> None:
    """Cosines of candidates with the session's last item and with the faded mean of its newest."""
    last = np.zeros(DIMENSIONS, np.float32)
    mean = np.zeros(DIMENSIONS, np.float32)
    n_items = len(items)
    weight = np.float32(1.0)
    for back in range(min(n_items, VECTOR_ITEMS)):
        item = items[n_items - 1 - back]
        if item < 0 or item >= len(scale) or scale[item] == 0:
            continue
        for dimension in range(DIMENSIONS):
            value = vectors[item, dimension] * scale[item]
            mean[dimension] += weight * value
            if back == 0:
                last[dimension] = value
        weight *= np.float32(VECTOR_DECAY)
    length = np.sqrt(_dot(mean, mean))
    shrink = np.float32(1.0) / length if length > 0 else np.float32(0.0)
    for index in range(count):
        item = scratch.union[scratch.chosen[index]]
        vector = vectors[item]
        out[_VECTORS, index] = _dot(last, vector) * scale[item]
        out[_VECTORS + 1, index] = _dot(mean, vector) * scale[item] * shrink


@helper
def _describe(
    state: State,
    scratch: Scratch,
    maxima: NDArray[np.float32],
    items: NDArray[np.int32],
    times_ms: NDArray[np.int64],
    position: int,
    n_distinct: int,
    n_found: int,
    n_union: int,
    count: int,
    user: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Fill in `out`, (n_features + n_user_features, slots), for the `count` candidates chosen."""
    rows = scratch.rows
    blend = scratch.blend
    chosen = scratch.chosen
    inverse = np.empty(BLENDED, np.float32)
    for column in range(BLENDED):
        top = maxima[column]
        inverse[column] = np.float32(1.0) / top if top > 0 else np.float32(0.0)
    best_blend = blend[chosen[0]]
    clock = state.counters[CLICKS]
    short_now = np.float32(1.0 / state.growth[SHORT_NOW])
    long_now = np.float32(1.0 / state.growth[LONG_NOW])
    last = -1
    if len(items) > 0 and items[len(items) - 1] < len(state.stats):
        last = items[len(items) - 1]
    last_followed = np.float32(1.0)
    last_after = np.float32(1e-6)
    all_recent = np.float32(1e-9)
    for index in range(count):
        last_after += rows[chosen[index], AFTER_LAST]
        all_recent += rows[chosen[index], KNN_RECENT]
    if last >= 0:
        last_followed = np.float32(max(state.stats[last, FOLLOWED], 1.0))
    for index in range(count):
        place = chosen[index]
        row = rows[place]
        item = scratch.union[place]
        stats = state.stats[item]
        out[0, index] = row[KNN_RECENT] * inverse[KNN_RECENT]
        out[1, index] = row[KNN_PLAIN] * inverse[KNN_PLAIN]
        out[2, index] = row[SUFFIX] * inverse[SUFFIX]
        out[3, index] = row[RULES] * inverse[RULES]
        out[4, index] = row[NEAR] * inverse[NEAR]
        out[5, index] = row[TWO_HOP] * inverse[TWO_HOP]
        out[6, index] = blend[place] / best_blend
        out[7, index] = row[KNN_RECENT]
        out[8, index] = row[KNN_PLAIN]
        out[9, index] = row[SUFFIX]
        out[10, index] = row[AFTER_LAST]
        out[11, index] = row[BEFORE_LAST]
        out[12, index] = row[NEXT_LAST]
        out[13, index] = row[FADED_LAST]
        out[14, index] = np.float32(1.0) / row[SEEN_LAST] if row[SEEN_LAST] > 0 else -1.0
        out[15, index] = row[AFTER_SECOND]
        out[16, index] = row[BEFORE_SECOND]
        out[17, index] = row[AFTER_THIRD]
        out[18, index] = row[RULES]
        out[19, index] = row[NEAR]
        out[20, index] = row[TWO_HOP]
        # 21 to 26 are ranks, below.
        clicks = np.float32(max(stats[COUNT], 1.0))
        out[27, index] = row[KNN_RECENT] / all_recent
        out[28, index] = row[NEXT_LAST] / last_followed
        out[29, index] = row[AFTER_LAST] / last_after
        out[30, index] = row[NEAR] / clicks
        out[31, index] = row[KNN_RECENT] / (row[KNN_PLAIN] + np.float32(1e-9))
        out[32, index] = clicks
        short = np.float32(stats[SHORT]) * short_now
        long = np.float32(stats[LONG]) * long_now
        out[33, index] = short
        out[34, index] = long
        out[35, index] = short / (long + np.float32(1e-6))
        out[36, index] = np.float32(1.0) - np.float32(stats[FOLLOWED]) / clicks
        out[37, index] = np.float32(stats[STARTS]) / clicks
        out[38, index] = np.float32(stats[REPEATS]) / clicks
        out[39, index] = np.float32(clock - stats[LAST])
        out[40, index] = np.float32(clock - stats[FIRST])
        for feature in range(41, 45):
            out[feature, index] = -1.0
        out[41, index] = 0.0
        # From here on the item's place in the union leads to its place among the candidates.
        scratch.union_of[item] = index
    spare = scratch.spare
    for rank, source in ((21, 0), (22, 2), (23, 3), (24, 4), (25, 5)):
        for index in range(count):
            spare[index] = out[source, index]
        _ranks(spare, count, out[rank])
    n_items = len(items)
    now_ms = times_ms[n_items - 1] if n_items > 0 else 0
    for back in range(min(n_items, SESSION_ITEMS)):
        item = items[n_items - 1 - back]
        if item < 0 or item >= len(state.stats):
            continue
        index = int(scratch.union_of[item])
        if index < 0 or index >= count or scratch.union[chosen[index]] != item:
            continue
        if out[41, index] == 0.0:
            out[42, index] = back
            seen_ms = times_ms[n_items - 1 - back]
            if seen_ms > 0:
                out[44, index] = np.float32(now_ms - seen_ms) / np.float32(1000.0)
        out[41, index] += 1.0
        out[43, index] = position - 1 - back
    gap = np.float32(-1.0)
    whole = np.float32(-1.0)
    if n_items > 1 and times_ms[n_items - 2] > 0:
        gap = np.float32(now_ms - times_ms[n_items - 2]) / np.float32(1000.0)
        whole = np.float32(now_ms - times_ms[0]) / np.float32(1000.0)
    best = np.float32(0.0)
    for place in range(n_found):
        best = max(best, scratch.similarity[place])
    session = np.zeros(11, np.float32)
    session[0] = position
    session[1] = n_distinct
    session[2] = gap
    session[3] = whole
    session[4] = n_found
    session[5] = best
    if last >= 0:
        clicks = np.float32(max(state.stats[last, COUNT], 1.0))
        session[6] = state.stats[last, COUNT]
        session[7] = np.float32(state.stats[last, REPEATS]) / clicks
        session[8] = np.float32(1.0) - np.float32(state.stats[last, FOLLOWED]) / clicks
        session[9] = state.blocks[last, PAIRS]
        for back in range(1, min(n_items, SESSION_ITEMS)):
            if items[n_items - 1 - back] == last:
                session[10] += 1.0
    for feature in range(11):
        for index in range(count):
            out[45 + feature, index] = session[feature]
    for index in range(count):
        out[26, index] = index
    for feature in range(len(user)):
        for index in range(count):
            out[_N_FEATURES + feature, index] = user[feature]


@kernel(
    numba.void(
        STATE_TYPE,
        numba.float32[:, ::1],
        numba.float32[::1],
        SCRATCH_TYPE,
        TABLES_TYPE,
        numba.int64[::1],
        numba.float64[::1],
        numba.int64[::1],
        numba.int32[::1],
        numba.int64[::1],
        numba.int64[::1],
        numba.int32[::1],
        numba.float32[:, ::1],
        numba.int32[:, ::1],
        numba.int32[:, ::1],
        numba.float32[:, :, ::1],
        numba.float32[:, ::1],
    ),
)
def propose(
    state: State,
    vectors: NDArray[np.float32],
    vector_scale: NDArray[np.float32],
    scratch: Scratch,
    tables: Tables,
    sizes: NDArray[np.int64],
    weights: NDArray[np.float64],
    keys: NDArray[np.int64],
    items: NDArray[np.int32],
    times_ms: NDArray[np.int64],
    bounds: NDArray[np.int64],
    positions: NDArray[np.int32],
    user_features: NDArray[np.float32],
    out_items: NDArray[np.int32],
    out_methods: NDArray[np.int32],
    out_features: NDArray[np.float32],
    out_blend: NDArray[np.float32],
) -> None:
    """Candidates of n sessions into (n, slots) and (n, features, slots).

    With `out_features` of no features, only items, methods and the blend are filled in.
    """
    slots = out_items.shape[1]
    query = np.empty(QUERY_ITEMS, np.int32)
    maxima = np.empty(BLENDED, np.float32)
    method_bits = sizes[METHOD_BITS]
    short_now = np.float32(1.0 / state.growth[SHORT_NOW])
    for row in range(len(keys)):
        begin = bounds[row]
        end = bounds[row + 1]
        n_query = 0
        place = end - 1
        while place >= begin and place >= end - SESSION_ITEMS and n_query < QUERY_ITEMS:
            item = items[place]
            place -= 1
            if item < 0 or item >= len(state.stats):
                continue
            known = False
            for index in range(n_query):
                if query[index] == item:
                    known = True
            if not known:
                query[n_query] = item
                n_query += 1
        before_last = -1
        if end - begin > 1:
            before_last = items[end - 2]

        n_union = 0
        n_found = 0
        if method_bits & 1:
            weight = np.float32(1.0)
            for back in range(min(end - begin, SESSION_ITEMS)):
                item = items[end - 1 - back]
                if 0 <= item < len(state.stats) and state.stats[item, COUNT] > 0:
                    slot, n_union = _meet(scratch, n_union, item)
                    if scratch.rows[slot, REPEAT] == 0:
                        scratch.rows[slot, REPEAT] = weight
                weight *= np.float32(weights[REPEAT_DECAY])
        if method_bits & 0b111000:
            n_union = _read_pairs(state, scratch, sizes, weights, query, n_query, n_union)
        if method_bits & 0b110:
            n_found = _walk_lines(state, scratch, tables, sizes, weights, query, n_query)
            tag = (_spread(keys[row]) >> 20) & 0x7FFFFFF
            n_union = _vote(
                state,
                scratch,
                tables,
                sizes,
                weights,
                query,
                before_last,
                tag,
                n_found,
                n_union,
            )
        if method_bits & 64:
            for index in range(state.counters[LEADERS]):
                item = state.leaders[index]
                slot, n_union = _meet(scratch, n_union, item)
                if slot >= 0:
                    scratch.rows[slot, POPULAR] = np.float32(state.stats[item, SHORT]) * short_now
        count = _cut(scratch, weights, n_union, slots, maxima)
        for index in range(count):
            place = scratch.chosen[index]
            out_items[row, index] = scratch.union[place]
            out_blend[row, index] = scratch.blend[place]
            values = scratch.rows[place]
            out_methods[row, index] = (
                (1 if values[REPEAT] > 0 else 0)
                | (2 if values[KNN_PLAIN] > 0 else 0)
                | (4 if values[SUFFIX] > 0 else 0)
                | (8 if values[RULES] > 0 else 0)
                | (16 if values[NEAR] > 0 else 0)
                | (32 if values[TWO_HOP] > 0 else 0)
                | (64 if values[POPULAR] > 0 else 0)
            ) & method_bits
        for index in range(count, slots):
            out_items[row, index] = -1
            out_methods[row, index] = 0
            out_blend[row, index] = -np.inf
        if out_features.shape[1] > 0:
            out_features[row, :, count:] = 0.0
            if count > 0:
                _describe(
                    state,
                    scratch,
                    maxima,
                    items[begin:end],
                    times_ms[begin:end],
                    positions[row],
                    n_query,
                    n_found,
                    n_union,
                    count,
                    user_features[row],
                    out_features[row],
                )
                _compare_vectors(
                    scratch, vectors, vector_scale, items[begin:end], count, out_features[row]
                )


@kernel(
    "void(int32[:, ::1], int32[:, ::1], float32[:, ::1], int32[:, ::1], int32[:, ::1],"
    " float32[:, ::1])",
)
def best_of(
    items: NDArray[np.int32],
    methods: NDArray[np.int32],
    scores: NDArray[np.float32],
    out_items: NDArray[np.int32],
    out_methods: NDArray[np.int32],
    out_scores: NDArray[np.float32],
) -> None:
    """The k best of each row's candidates, best first; ties go to the better place of the blend."""
    k = out_items.shape[1]
    for row in range(len(items)):
        count = 0
        while count < items.shape[1] and items[row, count] >= 0:
            count += 1
        mine = scores[row]
        for index in range(count):
            score = mine[index]
            rank = 0
            for other in range(count):
                rank += mine[other] > score
            for other in range(index):
                rank += mine[other] == score
            if rank < k:
                out_items[row, rank] = items[row, index]
                out_methods[row, rank] = methods[row, index]
                out_scores[row, rank] = score
        for rank in range(count, k):
            out_items[row, rank] = -1
            out_methods[row, rank] = 0
            out_scores[row, rank] = -np.inf
