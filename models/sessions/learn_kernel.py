"""The compiled loop that learns a batch of clicks into `models.sessions.index_state`, in place."""

import numba
import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import helper, kernel
from streamrec.models.sessions.index_state import (
    AFTER,
    BEFORE,
    BORN,
    CLICKS,
    CONTEXT,
    COUNT,
    DISTANCE_MAX,
    DROPPED,
    FADED,
    FIRST,
    FIRST_ROOM,
    FOLLOWED,
    LAST,
    LEADER,
    LEADERS,
    LENGTH_BITS,
    LINE_ITEMS,
    LINES,
    LONG,
    LONG_NOW,
    N_LEADERS,
    NEXT,
    PAIR_NOW,
    PAIR_ROOM,
    PAIR_START,
    PAIR_TOP,
    PAIRS,
    POST_ROOM,
    POST_START,
    POST_TOP,
    POSTS,
    REPEATS,
    SHORT,
    SHORT_NOW,
    STARTS,
    STATE_TYPE,
    WAYS,
    State,
)

_WRAP = 0xFFFFFFFF
_RESCALE_AT = 1e15  # far below float32's 3e38, so that sums of weights cannot overflow


@kernel(numba.int64(numba.int64))
def key_hash(key: int) -> int:
    """Spreads a session's key; never negative."""
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return int(mixed >> np.uint64(8))


@helper
def _size_class(room: int) -> int:
    size = 0
    while FIRST_ROOM << size < room:
        size += 1
    return size


@helper
def _add_post(state: State, item: int, seq: int, posts_max: int) -> None:
    """Note that line `seq` holds the item: the newest `posts_max` are kept, in a ring."""
    block = state.blocks[item]
    room = block[POST_ROOM]
    count = block[POSTS]
    if count >= room and room < posts_max:
        size = 0 if room == 0 else _size_class(room) + 1
        start = state.free_posts[size]
        if start >= 0:
            state.free_posts[size] = np.int64(state.posts[start]) - 1
        else:
            start = state.counters[POST_TOP]
            state.counters[POST_TOP] += FIRST_ROOM << size
        for place in range(count):
            state.posts[start + place] = state.posts[block[POST_START] + place]
        if room > 0:
            _free_posts(state, block[POST_START], room)
        block[POST_START] = start
        room = FIRST_ROOM << size
        block[POST_ROOM] = room
    state.posts[block[POST_START] + (count & (room - 1))] = seq & _WRAP
    block[POSTS] = count + 1


@helper
def _free_posts(state: State, start: int, room: int) -> None:
    size = _size_class(room)
    state.posts[start] = state.free_posts[size] + 1
    state.free_posts[size] = start


@helper
def _free_pairs(state: State, start: int, room: int) -> None:
    size = _size_class(room)
    state.pair_items[start] = state.free_pairs[size]
    state.free_pairs[size] = start


@helper
def _add_pair(
    state: State, owner: int, item: int, side: int, weight: float, pairs_max: int
) -> None:
    """Note that `item` was clicked after or before `owner`; a full block gives up its faintest."""
    block = state.blocks[owner]
    start = block[PAIR_START]
    count = block[PAIRS]
    place = -1
    for other in range(start, start + count):
        if state.pair_items[other] == item:
            place = other
            break
    fresh = place < 0
    if fresh and count < pairs_max:
        room = block[PAIR_ROOM]
        if count >= room:
            size = 0 if room == 0 else _size_class(room) + 1
            moved = state.free_pairs[size]
            if moved >= 0:
                state.free_pairs[size] = state.pair_items[moved]
            else:
                moved = state.counters[PAIR_TOP]
                state.counters[PAIR_TOP] += FIRST_ROOM << size
            for index in range(count):
                state.pair_items[moved + index] = state.pair_items[start + index]
                state.pair_seen[moved + index] = state.pair_seen[start + index]
                for column in range(4):
                    state.pair_values[moved + index, column] = state.pair_values[
                        start + index, column
                    ]
            if room > 0:
                _free_pairs(state, start, room)
            start = moved
            block[PAIR_START] = start
            block[PAIR_ROOM] = FIRST_ROOM << size
        place = start + count
        block[PAIRS] = count + 1
    elif fresh:
        place = start
        faintest = state.pair_values[start, FADED]
        for other in range(start + 1, start + count):
            if state.pair_values[other, FADED] < faintest:
                faintest = state.pair_values[other, FADED]
                place = other
    elif state.counters[DROPPED] > 0:
        # The number may have belonged to another item when the pair was noted.
        age = (state.counters[CLICKS] - np.int64(state.pair_seen[place])) & _WRAP
        fresh = state.counters[CLICKS] - age < state.stats[item, FIRST]
    if fresh:
        state.pair_items[place] = item
        for column in range(4):
            state.pair_values[place, column] = 0.0
    state.pair_values[place, side] += weight
    if side == AFTER and weight == 1.0:
        state.pair_values[place, NEXT] += 1.0
    state.pair_values[place, FADED] += weight * state.growth[PAIR_NOW]
    state.pair_seen[place] = state.counters[CLICKS] & _WRAP


@helper
def _lead(state: State, item: int) -> None:
    """Keep the N_LEADERS items with the largest SHORT: only the item just clicked can enter."""
    if state.blocks[item, LEADER] > 0:
        return
    count = state.counters[LEADERS]
    place = count
    if count < N_LEADERS:
        state.counters[LEADERS] = count + 1
    else:
        place = 0
        for other in range(1, N_LEADERS):
            if state.stats[state.leaders[other], SHORT] < state.stats[state.leaders[place], SHORT]:
                place = other
        if state.stats[state.leaders[place], SHORT] >= state.stats[item, SHORT]:
            return
        state.blocks[state.leaders[place], LEADER] = 0
    state.leaders[place] = item
    state.blocks[item, LEADER] = place + 1


@helper
def find_line(state: State, key: int) -> int:
    """The line of an open session, by number; -1 when it is not open or its line is gone."""
    home = (key_hash(key) & (len(state.open_keys) // WAYS - 1)) * WAYS
    for way in range(home, home + WAYS):
        if state.open_keys[way] == key and state.open_lines[way] >= 0:
            seq = int(state.open_lines[way])
            if state.counters[LINES] - seq <= len(state.lines):
                return seq
    return -1


@helper
def _open_line(state: State, key: int) -> int:
    """Begin a line for the session; the session of its set that began longest ago is closed."""
    seq = int(state.counters[LINES])
    state.counters[LINES] = seq + 1
    spread = key_hash(key)
    home = (spread & (len(state.open_keys) // WAYS - 1)) * WAYS
    chosen = home
    for way in range(home, home + WAYS):
        if state.open_keys[way] == key and state.open_lines[way] >= 0:
            chosen = way
            break
        if state.open_lines[way] < state.open_lines[chosen]:
            chosen = way
    state.open_keys[chosen] = key
    state.open_lines[chosen] = seq
    line = state.lines[seq & (len(state.lines) - 1)]
    line[LINE_ITEMS] = tag_of(spread)
    return seq


@helper
def tag_of(spread: int) -> int:
    """27 bits of a session's hashed key, above the place of a line's length."""
    return ((spread >> 20) & 0x7FFFFFF) << LENGTH_BITS


@helper
def _append(state: State, seq: int, item: int, posts_max: int) -> None:
    line = state.lines[seq & (len(state.lines) - 1)]
    length = line[LINE_ITEMS] & LINE_ITEMS
    known = False
    for place in range(length):
        if line[place] == item:
            known = True
    line[length] = item
    line[LINE_ITEMS] += 1
    if not known:
        _add_post(state, item, seq, posts_max)


@helper
def _rescale(state: State, now: int, column: int) -> None:
    factor = 1.0 / state.growth[now]
    for item in range(len(state.stats)):
        state.stats[item, column] *= factor
    state.growth[now] = 1.0


@kernel(
    numba.int64(
        STATE_TYPE,
        numba.int64[::1],
        numba.int32[::1],
        numba.int64[::1],
        numba.int32[::1],
        numba.int64,
        numba.int64,
        numba.int64,
        numba.int64,
    ),
)
def learn_clicks(
    state: State,
    keys: NDArray[np.int64],
    items: NDArray[np.int32],
    bounds: NDArray[np.int64],
    positions: NDArray[np.int32],
    first: int,
    posts_max: int,
    pairs_max: int,
    pause_clicks: int,
) -> int:
    """Learn the last click of sessions `first` and on; returns the first that is not learned.

    Stops after each `pause_clicks`-th click learned in all, and where room is lacking. Room in
    `posts` and the pair arrays is checked click by click against the most that one click can take,
    so the caller grows them and calls again.
    """
    for row in range(first, len(keys)):
        begin = bounds[row]
        end = bounds[row + 1]
        if end == begin or items[end - 1] < 0:
            continue
        if state.counters[POST_TOP] + (CONTEXT + 1) * posts_max > len(
            state.posts
        ) or state.counters[PAIR_TOP] + 2 * DISTANCE_MAX * pairs_max > len(state.pair_items):
            return row
        item = items[end - 1]
        state.counters[CLICKS] += 1
        clock = state.counters[CLICKS]
        for now in range(3):
            state.growth[now] *= state.growth[now + 3]
        if state.growth[SHORT_NOW] > _RESCALE_AT:
            _rescale(state, SHORT_NOW, SHORT)
        if state.growth[LONG_NOW] > _RESCALE_AT:
            _rescale(state, LONG_NOW, LONG)
        if state.growth[PAIR_NOW] > _RESCALE_AT:
            factor = np.float32(1.0 / state.growth[PAIR_NOW])
            for place in range(state.counters[PAIR_TOP]):
                state.pair_values[place, FADED] *= factor
            state.growth[PAIR_NOW] = 1.0

        stats = state.stats[item]
        if stats[COUNT] == 0:
            stats[FIRST] = clock
        stats[COUNT] += 1
        stats[SHORT] += state.growth[SHORT_NOW]
        stats[LONG] += state.growth[LONG_NOW]
        stats[LAST] = clock
        _lead(state, item)
        if positions[row] <= 1:
            stats[STARTS] += 1
        if end - begin > 1 and items[end - 2] >= 0:
            state.stats[items[end - 2], FOLLOWED] += 1
        for place in range(begin, end - 1):
            if items[place] == item:
                stats[REPEATS] += 1
                break

        for distance in range(1, DISTANCE_MAX + 1):
            place = end - 1 - distance
            if place < begin:
                break
            other = items[place]
            if other < 0:
                continue
            nearer = False
            for between in range(place + 1, end - 1):
                if items[between] == other:
                    nearer = True
            if nearer:
                continue
            weight = 1.0 / distance
            _add_pair(state, other, item, AFTER, weight, pairs_max)
            if other != item:
                _add_pair(state, item, other, BEFORE, weight, pairs_max)

        key = keys[row]
        seq = -1
        if positions[row] > 1:
            seq = find_line(state, key)
            if (
                seq >= 0
                and state.lines[seq & (len(state.lines) - 1), LINE_ITEMS] & LINE_ITEMS == LINE_ITEMS
            ):
                seq = -1
        if seq < 0:
            seq = _open_line(state, key)
            if positions[row] > 1:
                for place in range(max(begin, end - 1 - CONTEXT), end - 1):
                    if items[place] >= 0:
                        _append(state, seq, items[place], posts_max)
        _append(state, seq, item, posts_max)
        if clock % pause_clicks == 0:
            return row + 1
    return len(keys)


@kernel(numba.void(STATE_TYPE, numba.int32[::1]))
def forget_items(state: State, numbers: NDArray[np.int32]) -> None:
    """Free what the items hold; what others noted of them is told by its age from then on."""
    for item in numbers:
        block = state.blocks[item]
        if block[POST_ROOM] > 0:
            _free_posts(state, block[POST_START], block[POST_ROOM])
        if block[PAIR_ROOM] > 0:
            _free_pairs(state, block[PAIR_START], block[PAIR_ROOM])
        if block[LEADER] > 0:
            last = state.leaders[state.counters[LEADERS] - 1]
            state.leaders[block[LEADER] - 1] = last
            state.blocks[last, LEADER] = block[LEADER]
            state.counters[LEADERS] -= 1
        block[:] = 0
        block[BORN] = state.counters[LINES]
        state.stats[item, :] = 0.0
        # Until the number's next item is clicked, every pair that names it is older than that.
        state.stats[item, FIRST] = state.counters[CLICKS] + 1
        state.counters[DROPPED] += 1
