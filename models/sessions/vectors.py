"""Item vectors learned from the stream: whose neighbours are whose, in 32 numbers an item.

The vectors are the leading eigenvectors, each times its eigenvalue, of the matrix of positive
pointwise mutual information (Levy and Goldberg, NIPS 2014) over the pairs that the index keeps:

    a_ij = max(0, log(s_ij * n / (c_i * c_j)))

with s the pair's sum of 1/distance in both directions, c clicks of an item and n of all. Subspace
iteration finds them without ever holding the matrix: a sweep multiplies the vectors of the last
sweep, made orthonormal, by its rows, a few with every click, so the work is even and what is new
is in the vectors one sweep later. An item has none before the sweep after its first pair. Until
then it stands for a small random vector: that is what the iteration begins with, and what brings it
a part of the shop that nothing joins to the rest.

Only angles between vectors of one sweep mean something: the next may turn them all.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import kernel
from streamrec.models.sessions.index_state import (
    AFTER,
    BEFORE,
    CLICKS,
    COUNT,
    DROPPED,
    FIRST,
    PAIR_START,
    PAIRS,
    STATE_TYPE,
    State,
)
from streamrec.models.sessions.items import grown
from streamrec.models.sessions.learn_kernel import key_hash

DIMENSIONS = 32  # on validation data of two shops as good as 48 and 64
STEP_CLICKS = 128  # clicks from one step to the next
# So many pairs are read for each click, and a row counts for 8 more. Items that are new wait a
# sweep for their vectors, so this is accuracy too: half as many cost half of what vectors bring.
PAIRS_A_CLICK = 256
_ROW_COSTS = 8

_WRAP = 0xFFFFFFFF
_RIDGE = 1e-6  # of the mean square, so that fewer items than dimensions do no harm

_STRANGER = 0.1  # length of a vector that is not known yet, against the mean of those that are
_BLOCK = 64  # rows that are multiplied by a small matrix together
_CHUNK = 32  # pairs whose weights are worked out together
# log2(x) for 1 <= x < 2 by powers of x, least squares, exact at 1 and 2; off by 1e-04 at most.
_LOG = tuple(np.float32(value) for value in (-2.510148, 4.059838, -2.107613, 0.6382299, -0.0803073))
_LN_2 = np.float32(np.log(2.0))

# Places in `progress`, int64.
AT, END, SWEEPS = range(3)


class Vectors(NamedTuple):
    progress: NDArray[np.int64]  # (3,) next row of the sweep, its end, sweeps done
    current: NDArray[np.float32]  # (items, DIMENSIONS) of the last whole sweep
    scale: NDArray[np.float32]  # (items,) 1 / length of each; 0: the item has no vector
    following: NDArray[np.float32]  # (items, DIMENSIONS) of the sweep at work
    following_scale: NDArray[np.float32]  # (items,)
    turn: NDArray[np.float32]  # (DIMENSIONS, DIMENSIONS): `current @ turn` is orthonormal
    gram: NDArray[np.float64]  # (DIMENSIONS, DIMENSIONS) of `following` so far


VECTORS_TYPE = numba.types.NamedTuple(  # type: ignore[no-untyped-call]  # numba has no types here
    [
        numba.int64[::1],
        numba.float32[:, ::1],
        numba.float32[::1],
        numba.float32[:, ::1],
        numba.float32[::1],
        numba.float32[:, ::1],
        numba.float64[:, ::1],
    ],
    Vectors,
)


def empty_vectors(items: int) -> Vectors:
    return Vectors(
        progress=np.zeros(3, np.int64),
        current=np.zeros((items, DIMENSIONS), np.float32),
        scale=np.zeros(items, np.float32),
        following=np.zeros((items, DIMENSIONS), np.float32),
        following_scale=np.zeros(items, np.float32),
        turn=np.eye(DIMENSIONS, dtype=np.float32),
        gram=np.zeros((DIMENSIONS, DIMENSIONS)),
    )


def step(state: State, vectors: Vectors) -> Vectors:
    """The sweep goes on by as much as STEP_CLICKS clicks pay for; ends it when it is through."""
    progress = vectors.progress
    if progress[AT] == 0:
        # Up to the last item clicked: those that are only numbered are not known of yet.
        progress[END] = np.flatnonzero(state.stats[:, COUNT])[-1] + 1
        vectors.gram[:] = 0.0
    _multiply(state, vectors, PAIRS_A_CLICK * STEP_CLICKS)
    if progress[AT] < progress[END]:
        return vectors
    progress[AT] = 0
    progress[SWEEPS] += 1
    # Cholesky QR: from now on `current` is `following`, and `turn` makes it orthonormal.
    gram = vectors.gram
    ridge = _RIDGE * np.trace(gram) / DIMENSIONS + 1e-12
    root = np.linalg.cholesky(gram + ridge * np.eye(DIMENSIONS))
    return vectors._replace(
        current=vectors.following,
        scale=vectors.following_scale,
        following=vectors.current,
        following_scale=vectors.scale,
        turn=np.ascontiguousarray(np.linalg.inv(root).T, np.float32),
    )


def with_room(vectors: Vectors, items: int) -> Vectors:
    """A copy for more items, which have no vectors yet."""
    return vectors._replace(
        current=grown(vectors.current, items),
        scale=grown(vectors.scale, items),
        following=grown(vectors.following, items),
        following_scale=grown(vectors.following_scale, items),
    )


def forget(vectors: Vectors, numbers: NDArray[np.int32]) -> None:
    """Drop the vectors of items whose numbers will stand for others."""
    for array in (
        vectors.current,
        vectors.scale,
        vectors.following,
        vectors.following_scale,
    ):
        array[numbers] = 0.0


@kernel(numba.void(STATE_TYPE, VECTORS_TYPE, numba.int64))
def _multiply(state: State, vectors: Vectors, budget: int) -> None:
    """The next rows of the matrix times the orthonormal vectors, into `following`."""
    clock = state.counters[CLICKS]
    check_born = state.counters[DROPPED] > 0
    n = np.float32(max(clock, 1))
    totals = np.zeros((_BLOCK, DIMENSIONS), np.float32)
    strangers = np.zeros((_BLOCK, DIMENSIONS), np.float32)  # what items without a vector add
    small = np.float32(_STRANGER / np.sqrt(max(vectors.progress[END], 1)))
    weights = np.empty(_CHUNK, np.float32)
    bits = weights.view(np.int32)
    exponents = np.empty(_CHUNK, np.float32)
    owner = vectors.progress[AT]
    begin = owner
    while owner < vectors.progress[END] and budget > 0:
        total = totals[owner - begin]
        total[:] = 0.0
        strange = strangers[owner - begin]
        strange[:] = 0.0
        block = state.blocks[owner]
        clicks = np.float32(state.stats[owner, COUNT])
        n_pairs = block[PAIRS] if clicks > 0 else 0
        budget -= n_pairs + _ROW_COSTS
        for first in range(block[PAIR_START], block[PAIR_START] + n_pairs, _CHUNK):
            count = min(_CHUNK, block[PAIR_START] + n_pairs - first)
            for index in range(count):
                place = first + index
                item = state.pair_items[place]
                near = state.pair_values[place, AFTER] + state.pair_values[place, BEFORE]
                others = np.float32(state.stats[item, COUNT])
                weights[index] = near * n / (clicks * others) if others > 0 else np.float32(1.0)
                if check_born:
                    age = (clock - np.int64(state.pair_seen[place])) & _WRAP
                    if clock - age < state.stats[item, FIRST]:
                        weights[index] = 1.0
            # The logarithm, taken apart by hand so that it is vectorised: 2 ns instead of 15.
            for index in range(count):
                exponents[index] = np.float32((bits[index] >> 23) - 127)
                bits[index] = (bits[index] & 0x7FFFFF) | 0x3F800000
            for index in range(count):
                x = weights[index]
                of_mantissa = _LOG[3] + x * _LOG[4]
                of_mantissa = _LOG[2] + x * of_mantissa
                of_mantissa = _LOG[1] + x * of_mantissa
                of_mantissa = _LOG[0] + x * of_mantissa
                weights[index] = _LN_2 * (exponents[index] + of_mantissa)
            for index in range(count):
                weight = weights[index]
                item = state.pair_items[first + index]
                if weight <= 0 or item == owner:
                    continue
                if vectors.scale[item] > 0:
                    vector = vectors.current[item]
                    for dimension in range(DIMENSIONS):
                        total[dimension] += weight * vector[dimension]
                else:
                    signs = key_hash(item + 1)
                    for dimension in range(DIMENSIONS):
                        sign = np.float32(1 - 2 * ((signs >> (8 + dimension)) & 1))
                        strange[dimension] += weight * small * sign
        owner += 1
        if owner - begin == _BLOCK or owner == vectors.progress[END] or budget <= 0:
            # Small enough for BLAS to stay on this thread.
            rows = np.dot(totals[: owner - begin], vectors.turn) + strangers[: owner - begin]
            products = np.dot(rows.T, rows)
            # Loops, since to assign an array to a slice costs a second of compiling each time.
            for one in range(DIMENSIONS):
                for other in range(DIMENSIONS):
                    vectors.gram[one, other] += products[one, other]
            for row in range(owner - begin):
                square = np.float32(0.0)
                for dimension in range(DIMENSIONS):
                    vectors.following[begin + row, dimension] = rows[row, dimension]
                    square += rows[row, dimension] * rows[row, dimension]
                vectors.following_scale[begin + row] = (
                    np.float32(1.0) / np.sqrt(square) if square > 0 else np.float32(0.0)
                )
            begin = owner
    vectors.progress[AT] = owner
