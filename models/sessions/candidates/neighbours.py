"""The methods `knn` and `suffix`: sessions that share items with this one vote for theirs."""

import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import helper
from streamrec.models.sessions.candidates.cut import largest
from streamrec.models.sessions.candidates.memory import RECENCY_ROWS, Scratch, Tables, meet
from streamrec.models.sessions.candidates.scores import (
    IDF_POWER,
    NEIGHBOURS,
    RECENCY_STEP,
    SAMPLED,
    SUFFIX_BONUS,
    WRAP,
    S,
)
from streamrec.models.sessions.index_state import (
    BORN,
    DROPPED,
    LENGTH_BITS,
    LINE_ITEMS,
    LINES,
    POST_ROOM,
    POST_START,
    POSTS,
    State,
)


@helper(inline="always")
def walk_lines(
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
            age = (lines - post) & WRAP
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


@helper(inline="always")
def vote(
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
        for place in range(n_found):
            scratch.spare[place] = scratch.faded[place]
        cut = largest(scratch.spare, n_found, sizes[NEIGHBOURS])
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
            slot, n_union = meet(scratch, n_union, item)
            if slot < 0:
                continue
            scratch.rows[slot, S.knn] += faded * weight
            scratch.rows[slot, S.knn_plain] += similarity * weight
            if asked == 0 and index > 0 and line[index - 1] == query[0]:
                bonus = np.float32(1.0)
                if before_last >= 0 and index > 1 and line[index - 2] == before_last:
                    bonus += np.float32(weights[SUFFIX_BONUS])
                scratch.rows[slot, S.suffix] += bonus * faded / similarity
    return n_union
