"""What the methods remember of the clicks: one set of arrays that all kernels share.

Sessions lie in a ring of 64-byte lines, one cache line each: the 15 newest items and a word with
the line's length and 27 bits of its session's key. A session that outgrows its line goes on in a
new one that begins with its last items. Lines are numbered as they begin (`seq`); line `seq` lies
in place `seq % len(lines)`, and a number older than the ring is stale.

Each item owns two blocks that grow by doubling: the newest lines that hold it ("posts"), and the
items clicked near it ("pairs"). What fades is kept by forward decay: a click adds a weight that
grows with the clock, so that nothing has to be multiplied as time passes (Cormode et al., Forward
decay, ICDE 2009); a rescale before the weights overflow keeps this exact to rounding.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

# Columns of `stats`, float64, one row an item.
COUNT, SHORT, LONG, STARTS, FOLLOWED, REPEATS, LAST, FIRST = range(8)
# Columns of `blocks`, int64, one row an item. BORN: first line that can hold the item.
POST_START, POST_ROOM, POSTS, PAIR_START, PAIR_ROOM, PAIRS, LEADER, BORN = range(8)
# Columns of `pair_values`, float32: sums of 1/distance after and before the owner, times right
# after it, and the faded sum of both directions.
AFTER, BEFORE, NEXT, FADED = range(4)
# Places in `counters`, int64.
CLICKS, LINES, POST_TOP, PAIR_TOP, DROPPED, LEADERS = range(6)
# Places in `growth`, float64: the weight of a click now, by memory, and what it grows by a click.
SHORT_NOW, LONG_NOW, PAIR_NOW, SHORT_STEP, LONG_STEP, PAIR_STEP = range(6)

LINE_ITEMS = 15
LENGTH_BITS = 4  # of the last word of a line; the other 27 are the session's key
CONTEXT = 4  # items that a session's next line repeats from the one before
WAYS = 4  # open sessions that share a place of `open_keys`
FIRST_ROOM = 4  # of a block
N_LEADERS = 64
DISTANCE_MAX = 5  # clicks between two items of a pair


class State(NamedTuple):
    counters: NDArray[np.int64]  # (6,)
    growth: NDArray[np.float64]  # (6,)
    stats: NDArray[np.float64]  # (items, 8)
    blocks: NDArray[np.int64]  # (items, 8)
    lines: NDArray[np.int32]  # (sessions, 16), a power of two
    open_keys: NDArray[np.int64]  # (sets * WAYS,)
    open_lines: NDArray[np.int64]  # (sets * WAYS,), -1: empty
    posts: NDArray[np.uint32]  # lines by number, modulo 2**32
    pair_items: NDArray[np.int32]
    pair_values: NDArray[np.float32]  # (pairs, 4)
    pair_seen: NDArray[np.uint32]  # click that touched the pair last, modulo 2**32
    free_posts: NDArray[np.int64]  # (32,) first free block by size, -1: none
    free_pairs: NDArray[np.int64]  # (32,)
    leaders: NDArray[np.int32]  # (N_LEADERS,) most popular items lately, in no order


STATE_TYPE = numba.types.NamedTuple(  # type: ignore[no-untyped-call]  # numba has no types here
    [
        numba.int64[::1],
        numba.float64[::1],
        numba.float64[:, ::1],
        numba.int64[:, ::1],
        numba.int32[:, ::1],
        numba.int64[::1],
        numba.int64[::1],
        numba.uint32[::1],
        numba.int32[::1],
        numba.float32[:, ::1],
        numba.uint32[::1],
        numba.int64[::1],
        numba.int64[::1],
        numba.int32[::1],
    ],
    State,
)
