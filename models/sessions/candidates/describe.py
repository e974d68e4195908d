"""The inputs of the ranker for the candidates of a session."""

import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import helper
from streamrec.models.sessions.candidates.in_session import describe_places, describe_session
from streamrec.models.sessions.candidates.inputs import FEATURES, F
from streamrec.models.sessions.candidates.memory import Scratch
from streamrec.models.sessions.candidates.scores import BLENDED, S
from streamrec.models.sessions.index_state import (
    CLICKS,
    COUNT,
    FIRST,
    FOLLOWED,
    LAST,
    LONG,
    LONG_NOW,
    REPEATS,
    SHORT,
    SHORT_NOW,
    STARTS,
    State,
)


@helper
def ranks(values: NDArray[np.float32], count: int, out: NDArray[np.float32]) -> None:
    """How many of the first `count` values are larger than each."""
    for index in range(count):
        mine = values[index]
        rank = np.int32(0)
        for other in range(count):
            rank += np.int32(values[other] > mine)
        out[index] = rank


@helper(inline="always")
def describe(
    state: State,
    scratch: Scratch,
    maxima: NDArray[np.float32],
    items: NDArray[np.int32],
    times_ms: NDArray[np.int64],
    position: int,
    n_distinct: int,
    n_found: int,
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
        last_after += rows[chosen[index], S.after_last]
        all_recent += rows[chosen[index], S.knn]
    if last >= 0:
        last_followed = np.float32(max(state.stats[last, FOLLOWED], 1.0))
    for index in range(count):
        place = chosen[index]
        row = rows[place]
        item = scratch.union[place]
        stats = state.stats[item]
        out[F.knn_recent, index] = row[S.knn] * inverse[S.knn]
        out[F.knn_plain, index] = row[S.knn_plain] * inverse[S.knn_plain]
        out[F.suffix, index] = row[S.suffix] * inverse[S.suffix]
        out[F.rules, index] = row[S.rules] * inverse[S.rules]
        out[F.near, index] = row[S.near] * inverse[S.near]
        out[F.two_hop, index] = row[S.two_hop] * inverse[S.two_hop]
        out[F.blend, index] = blend[place] / best_blend
        out[F.knn_recent_raw, index] = row[S.knn]
        out[F.knn_plain_raw, index] = row[S.knn_plain]
        out[F.suffix_raw, index] = row[S.suffix]
        out[F.after_last, index] = row[S.after_last]
        out[F.before_last, index] = row[S.before_last]
        out[F.next_last, index] = row[S.next_last]
        out[F.faded_last, index] = row[S.faded_last]
        out[F.clicks_since_pair, index] = (
            np.float32(1.0) / row[S.seen_last] if row[S.seen_last] > 0 else -1.0
        )
        out[F.after_second, index] = row[S.after_second]
        out[F.before_second, index] = row[S.before_second]
        out[F.after_third, index] = row[S.after_third]
        out[F.rules_raw, index] = row[S.rules]
        out[F.near_raw, index] = row[S.near]
        out[F.two_hop_raw, index] = row[S.two_hop]
        clicks = np.float32(max(stats[COUNT], 1.0))
        out[F.knn_recent_share, index] = row[S.knn] / all_recent
        out[F.next_share, index] = row[S.next_last] / last_followed
        out[F.after_share, index] = row[S.after_last] / last_after
        out[F.near_per_click, index] = row[S.near] / clicks
        out[F.knn_recency, index] = row[S.knn] / (row[S.knn_plain] + np.float32(1e-9))
        out[F.clicks, index] = clicks
        short = np.float32(stats[SHORT]) * short_now
        long = np.float32(stats[LONG]) * long_now
        out[F.short_popularity, index] = short
        out[F.long_popularity, index] = long
        out[F.popularity_trend, index] = short / (long + np.float32(1e-6))
        out[F.end_rate, index] = np.float32(1.0) - np.float32(stats[FOLLOWED]) / clicks
        out[F.start_rate, index] = np.float32(stats[STARTS]) / clicks
        out[F.repeat_rate, index] = np.float32(stats[REPEATS]) / clicks
        out[F.clicks_since_item, index] = np.float32(clock - stats[LAST])
        out[F.clicks_since_first, index] = np.float32(clock - stats[FIRST])
        # From here on the item's place in the union leads to its place among the candidates.
        scratch.union_of[item] = index
    spare = scratch.spare
    for rank, source in (
        (F.knn_recent_rank, F.knn_recent),
        (F.suffix_rank, F.suffix),
        (F.rules_rank, F.rules),
        (F.near_rank, F.near),
        (F.two_hop_rank, F.two_hop),
    ):
        for index in range(count):
            spare[index] = out[source, index]
        ranks(spare, count, out[rank])
    describe_places(state, scratch, items, times_ms, position, count, out)
    describe_session(
        state, scratch, items, times_ms, position, n_distinct, n_found, last, count, out
    )
    for index in range(count):
        out[F.blend_rank, index] = index
    for feature in range(len(user)):
        for index in range(count):
            out[len(FEATURES) + feature, index] = user[feature]
