"""The inputs that item vectors give: how a candidate lies to what was clicked."""

import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import helper
from streamrec.models.sessions.candidates.inputs import F
from streamrec.models.sessions.candidates.memory import Scratch
from streamrec.models.sessions.candidates.scores import VECTOR_DECAY, VECTOR_ITEMS
from streamrec.models.sessions.vectors import DIMENSIONS


@helper(fastmath=True)  # or the sum is not vectorised
def dot(one: NDArray[np.float32], other: NDArray[np.float32]) -> np.float32:
    total = np.float32(0.0)
    for dimension in range(DIMENSIONS):
        total += one[dimension] * other[dimension]
    return total


@helper(inline="always")
def compare_vectors(
    scratch: Scratch,
    vectors: NDArray[np.float32],
    scale: NDArray[np.float32],
    items: NDArray[np.int32],
    count: int,
    out: NDArray[np.float32],
) -> None:
    """Cosines of candidates with the session's last item and with the faded mean of its newest."""
    last = np.zeros(DIMENSIONS, np.float32)
    mean = np.zeros(DIMENSIONS, np.float32)
    n_items = len(items)
    weight = np.float32(1.0)
    for back in range(min(n_items, VECTOR_ITEMS)):
        item = items[n_items - 1 - back]
        if item < 0 or item >= len(scale) or scale[item] == 0:
            continue
        for dimension in range(DIMENSIONS):
            value = vectors[item, dimension] * scale[item]
            mean[dimension] += weight * value
            if back == 0:
                last[dimension] = value
        weight *= np.float32(VECTOR_DECAY)
    length = np.sqrt(dot(mean, mean))
    shrink = np.float32(1.0) / length if length > 0 else np.float32(0.0)
    for index in range(count):
        item = scratch.union[scratch.chosen[index]]
        vector = vectors[item]
        out[F.vector_last, index] = dot(last, vector) * scale[item]
        out[F.vector_session, index] = dot(mean, vector) * scale[item] * shrink
