"""Counts and seconds as linear models want them."""

import numpy as np
from numpy.typing import NDArray


def squashed(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """sign(x) log(1 + |x|), elementwise: trees need no such thing, linear models do.

    >>> squashed(np.array([0.0, -1.718281828, 1e6], np.float32)).round(2)
    array([ 0.  , -1.  , 13.82], dtype=float32)
    """
    return np.copysign(np.log1p(np.abs(features)), features)
