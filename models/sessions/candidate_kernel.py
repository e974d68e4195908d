"""The compiled loop that proposes candidates for sessions and fills in the ranker's inputs.

For each session: walk the newest lines of its items (session kNN and suffix match), the pairs of
its last items (rules, co-occurrence, two hops), the leaders and its own items; gather one row of
scores for every item met; keep the best by a weighted sum of scores, each divided by its maximum in
the session; write features of those kept. Nothing of the state is changed. The steps are the files
of `candidates`.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import kernel
from streamrec.models.sessions.candidates.cosines import compare_vectors
from streamrec.models.sessions.candidates.cut import keep_best
from streamrec.models.sessions.candidates.describe import describe
from streamrec.models.sessions.candidates.given import add_own, add_popular
from streamrec.models.sessions.candidates.inputs import FEATURES
from streamrec.models.sessions.candidates.memory import SCRATCH_TYPE, TABLES_TYPE, Scratch, Tables
from streamrec.models.sessions.candidates.neighbours import vote, walk_lines
from streamrec.models.sessions.candidates.pairs import read_pairs
from streamrec.models.sessions.candidates.scores import (
    BIT,
    BLENDED,
    METHOD_BITS,
    METHODS,
    QUERY_ITEMS,
    SESSION_ITEMS,
    VECTOR_DECAY,
    S,
)
from streamrec.models.sessions.index_state import LENGTH_BITS, STATE_TYPE, State
from streamrec.models.sessions.learn_kernel import key_hash, tag_of

__all__ = ["FEATURES", "METHODS", "VECTOR_DECAY", "best_of", "propose"]


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
        if method_bits & BIT.repeat:
            n_union = add_own(state, scratch, weights, items[begin:end], n_union)
        if method_bits & (BIT.rules | BIT.near | BIT.two_hop):
            n_union = read_pairs(state, scratch, sizes, weights, query, n_query, n_union)
        if method_bits & (BIT.knn | BIT.suffix):
            n_found = walk_lines(state, scratch, tables, sizes, weights, query, n_query)
            tag = tag_of(key_hash(keys[row])) >> LENGTH_BITS
            n_union = vote(
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
        if method_bits & BIT.popular:
            n_union = add_popular(state, scratch, n_union)
        count = keep_best(scratch, weights, n_union, slots, maxima)
        for index in range(count):
            place = scratch.chosen[index]
            out_items[row, index] = scratch.union[place]
            out_blend[row, index] = scratch.blend[place]
            values = scratch.rows[place]
            out_methods[row, index] = (
                (BIT.repeat if values[S.repeat] > 0 else 0)
                | (BIT.knn if values[S.knn_plain] > 0 else 0)
                | (BIT.suffix if values[S.suffix] > 0 else 0)
                | (BIT.rules if values[S.rules] > 0 else 0)
                | (BIT.near if values[S.near] > 0 else 0)
                | (BIT.two_hop if values[S.two_hop] > 0 else 0)
                | (BIT.popular if values[S.popular] > 0 else 0)
            ) & method_bits
        for index in range(count, slots):
            out_items[row, index] = -1
            out_methods[row, index] = 0
            out_blend[row, index] = -np.inf
        if out_features.shape[1] > 0:
            for feature in range(out_features.shape[1]):
                for index in range(count, slots):
                    out_features[row, feature, index] = 0.0
            if count > 0:
                describe(
                    state,
                    scratch,
                    maxima,
                    items[begin:end],
                    times_ms[begin:end],
                    positions[row],
                    n_query,
                    n_found,
                    count,
                    user_features[row],
                    out_features[row],
                )
                compare_vectors(
                    scratch, vectors, vector_scale, items[begin:end], count, out_features[row]
                )


@kernel("void(int32[:, ::1], float32[:, :, ::1], int64[::1], int32[:, ::1], float32[:, :, ::1])")
def inputs_of(
    items: NDArray[np.int32],
    by_feature: NDArray[np.float32],
    rows: NDArray[np.int64],
    ranked: NDArray[np.int32],
    out: NDArray[np.float32],
) -> None:
    """Of some rows (m,) the inputs (n, n_features, c) of what was ranked (n, k), as (m, k,
    n_features); of no item they stay as they are."""
    for at in range(len(rows)):
        row = rows[at]
        for rank in range(ranked.shape[1]):
            item = ranked[row, rank]
            if item < 0:
                break
            index = 0
            while items[row, index] != item:
                index += 1
            for feature in range(by_feature.shape[1]):
                out[at, rank, feature] = by_feature[row, feature, index]


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
