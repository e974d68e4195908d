"""Which candidates are kept: the best by the blend of their scores."""

import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import helper
from streamrec.models.sessions.candidates.memory import Scratch
from streamrec.models.sessions.candidates.scores import BLEND, BLENDED, S


@helper
def largest(values: NDArray[np.float32], count: int, wanted: int) -> float:
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


@helper(inline="always")
def keep_best(
    scratch: Scratch,
    weights: NDArray[np.float64],
    n_union: int,
    n_kept: int,
    maxima: NDArray[np.float32],
) -> int:
    """Keep the best `n_kept` of the union by the blend, best first, in `chosen`; their number.

    The session's own items (S.repeat > 0) are always kept. Ties go to the item met first.
    """
    rows = scratch.rows
    blend = scratch.blend
    # Unrolled by hand, maxima in registers: as loops over columns these two cost 20 microseconds.
    knn = knn_plain = suffix = rules = near = two_hop = repeat = popular = np.float32(0.0)
    for place in range(n_union):
        knn = max(knn, rows[place, S.knn])
        knn_plain = max(knn_plain, rows[place, S.knn_plain])
        suffix = max(suffix, rows[place, S.suffix])
        rules = max(rules, rows[place, S.rules])
        near = max(near, rows[place, S.near])
        two_hop = max(two_hop, rows[place, S.two_hop])
        repeat = max(repeat, rows[place, S.repeat])
        popular = max(popular, rows[place, S.popular])
    maxima[S.knn] = knn
    maxima[S.knn_plain] = knn_plain
    maxima[S.suffix] = suffix
    maxima[S.rules] = rules
    maxima[S.near] = near
    maxima[S.two_hop] = two_hop
    maxima[S.repeat] = repeat
    maxima[S.popular] = popular
    scale = np.zeros(BLENDED, np.float32)
    for column in range(BLENDED):
        if maxima[column] > 0:
            scale[column] = weights[BLEND + column] / maxima[column]
    knn = scale[S.knn]
    knn_plain = scale[S.knn_plain]
    suffix = scale[S.suffix]
    rules = scale[S.rules]
    near = scale[S.near]
    two_hop = scale[S.two_hop]
    repeat = scale[S.repeat]
    popular = scale[S.popular]
    n_positive = 0
    for place in range(n_union):
        total = (
            (rows[place, S.knn] * knn + rows[place, S.knn_plain] * knn_plain)
            + (rows[place, S.suffix] * suffix + rows[place, S.rules] * rules)
        ) + (
            (rows[place, S.near] * near + rows[place, S.two_hop] * two_hop)
            + (rows[place, S.repeat] * repeat + rows[place, S.popular] * popular)
        )
        blend[place] = total
        n_positive += total > 0
        own = total > 0 and rows[place, S.repeat] > 0
        scratch.spare[place] = np.float32(3e38) if own else total
    kept = min(n_kept, n_positive)
    if kept == 0:
        return 0
    cut = 0.0
    ties = kept
    if n_positive > kept:
        cut = largest(scratch.spare, n_union, kept)
        # `spare` is in another order now: count again how many lie above the cut.
        ties = kept
        for place in range(n_union):
            forced = np.float32(3e38) if rows[place, S.repeat] > 0 else blend[place]
            if blend[place] > 0 and forced > cut:
                ties -= 1
    count = 0
    for place in range(n_union):
        value = blend[place]
        if value <= 0:
            continue
        forced = np.float32(3e38) if rows[place, S.repeat] > 0 else value
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
    for index in range(count):
        scratch.chosen[index] = order[index]
    return count
