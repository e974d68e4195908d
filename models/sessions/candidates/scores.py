"""The methods and their scores, by name: `rows[place, S.knn]` and `BIT.knn` in a kernel."""

from typing import NamedTuple


class Scores(NamedTuple):
    """Columns of `rows`, float32, one row an item met; sixteen are one cache line."""

    # The blend weighs these; each has the name of its weight.
    knn: int
    knn_plain: int
    suffix: int
    rules: int
    near: int
    two_hop: int
    repeat: int
    popular: int
    # The others are for the ranker: pairs of the item met with the last one, ...
    after_last: int
    before_last: int
    next_last: int
    faded_last: int
    seen_last: int
    # ... the one before it, and the one before that.
    after_second: int
    before_second: int
    after_third: int


class Methods(NamedTuple):
    """Bits that say, in records too, which methods have proposed an item."""

    repeat: int
    knn: int
    suffix: int
    rules: int
    near: int
    two_hop: int
    popular: int


S = Scores(*range(len(Scores._fields)))
BLENDED = S.popular + 1
SCORES = len(S)

BIT = Methods(*(1 << place for place in range(len(Methods._fields))))
METHODS = Methods._fields

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
HOPS_MAX = 16
WRAP = 0xFFFFFFFF  # lines and clicks are noted modulo 2**32
