"""The inputs of the ranker, by name: `out[F.end_rate, candidate] = ...` in a kernel.

A new one is a name at the end of `Inputs` and a line in `describe` or beside it.
"""

from typing import NamedTuple


class Inputs(NamedTuple):
    """Rows of the kernel's `out`, float32; the user's features follow."""

    # scores, divided by their maximum in the session
    knn_recent: int
    knn_plain: int
    suffix: int
    rules: int
    near: int
    two_hop: int
    blend: int
    # scores as they are
    knn_recent_raw: int
    knn_plain_raw: int
    suffix_raw: int
    after_last: int
    before_last: int
    next_last: int
    faded_last: int
    clicks_since_pair: int
    after_second: int
    before_second: int
    after_third: int
    rules_raw: int
    near_raw: int
    two_hop_raw: int
    # ranks among the candidates, 0 best
    knn_recent_rank: int
    suffix_rank: int
    rules_rank: int
    near_rank: int
    two_hop_rank: int
    blend_rank: int
    # shares
    knn_recent_share: int
    next_share: int
    after_share: int
    near_per_click: int
    knn_recency: int
    # the item
    clicks: int
    short_popularity: int
    long_popularity: int
    popularity_trend: int
    end_rate: int
    start_rate: int
    repeat_rate: int
    clicks_since_item: int
    clicks_since_first: int
    # the item in the session
    times_in_session: int
    last_position: int
    first_position: int
    seconds_since_in_session: int
    # the session
    session_clicks: int
    session_distinct: int
    gap_seconds: int
    session_seconds: int
    neighbours: int
    best_neighbour: int
    last_item_clicks: int
    last_item_repeat_rate: int
    last_item_end_rate: int
    last_item_pairs: int
    last_repeated: int
    # cosines of angles between item vectors, 0 where there is none
    vector_last: int
    vector_session: int


F = Inputs(*range(len(Inputs._fields)))
FEATURES = Inputs._fields
