"""Memory that batches take turns in.

A batch of 8,000 takes about a megabyte. Fresh memory of that size comes from the system page by
page and goes back when the batch is dropped, which can cost more than decoding into it does.
"""

import sys

import numpy as np
from numpy.typing import NDArray

_KEPT_MAX = 8
_KEPT_WORDS_MAX = 2_000_000  # 16 MB; larger batches are rare and not worth holding on to
_WORDS_MIN = 4096
# An array that nothing uses is referred to by the list, the loop, and getrefcount's argument.
# Every view counts as a reference, because NumPy keeps the owner of a view's memory as its base.
_UNUSED = 3


class Arenas:
    """Arrays of int64, handed out again when no column refers to them any more."""

    def __init__(self) -> None:
        self._kept: list[NDArray[np.int64]] = []

    def take(self, words: int) -> NDArray[np.int64]:
        """Return an array of at least `words` int64, with any content."""
        if words > _KEPT_WORDS_MAX:
            return np.empty(words, np.int64)
        for arena in self._kept:
            if len(arena) >= words and sys.getrefcount(arena) == _UNUSED:
                return arena
        arena = np.empty(max(words + words // 4, _WORDS_MIN), np.int64)
        self._kept.append(arena)
        if len(self._kept) > _KEPT_MAX:
            del self._kept[0]
        return arena
