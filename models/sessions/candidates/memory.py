"""Working memory of the kernel, and the items that it has met in a session."""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import helper
from streamrec.models.sessions.candidates.scores import SCORES

UNION_MAX = 4_096
RECENCY_ROWS = 1_024


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


@helper
def meet(scratch: Scratch, n_union: int, item: int) -> tuple[int, int]:
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
