"""A share of records, the same ones in every run."""

import numpy as np
from numpy.typing import NDArray

from streamrec.schemas.hashing import hash128
from streamrec.schemas.place_texts import place_texts

_STEPS = 1 << 53  # numbers that a double tells apart, from 0 to below 1


def in_share(topic: str, places: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """Which of some records of a topic are in a share of them, by the hash of what names each,
    `topic/partition/offset`; (n, 2) places.

    >>> in_share("clicks", np.array([[0, n] for n in range(8)]), 0.25).tolist()
    [False, False, True, False, False, False, False, False]
    """
    halves = hash128(place_texts(topic, places)).view(np.uint64)
    drawn: NDArray[np.bool_] = (halves[:, 1] >> np.uint64(11)) / _STEPS < share
    return drawn


__all__ = ["in_share"]
