"""Places of records as texts, `topic/partition/offset`, in a kernel: some 20 ns each."""

import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import helper, kernel
from streamrec.schemas.columns import Bytes

_DIGITS_MAX = 19  # of an int64 >= 0
_ZERO = ord("0")
_SLASH = ord("/")


def place_texts(topic: str, places: NDArray[np.int64]) -> Bytes:
    """What names the records of a topic, by partition and offset, (n, 2), both >= 0.

    >>> place_texts("clicks", np.array([[3, 418]])).bytes_at(0)
    b'clicks/3/418'
    """
    prefix = np.frombuffer(f"{topic}/".encode(), np.uint8)
    n = len(places)
    data = np.empty(n * (len(prefix) + 2 * _DIGITS_MAX + 1), np.uint8)
    starts, lengths = np.empty(n, np.int64), np.empty(n, np.int64)
    end = _write(prefix.copy(), np.ascontiguousarray(places, np.int64), data, starts, lengths)
    return Bytes(data[:end], starts, lengths)


@helper
def _put_number(data: NDArray[np.uint8], at: int, value: int) -> int:
    """Write a number's digits; returns where they end."""
    size = 1
    rest = value // 10
    while rest:
        size += 1
        rest //= 10
    for back in range(size):
        data[at + size - 1 - back] = np.uint8(_ZERO + value % 10)
        value //= 10
    return at + size


@kernel("int64(uint8[::1], int64[:, ::1], uint8[::1], int64[::1], int64[::1])")
def _write(
    prefix: NDArray[np.uint8],
    places: NDArray[np.int64],
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> int:
    at = 0
    for row in range(len(places)):
        starts[row] = at
        for i in range(len(prefix)):
            data[at + i] = prefix[i]
        at = _put_number(data, at + len(prefix), places[row, 0])
        data[at] = _SLASH
        at = _put_number(data, at + 1, places[row, 1])
        lengths[row] = at - starts[row]
    return at


__all__ = ["place_texts"]
