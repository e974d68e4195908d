"""Hashes of the spans of a `Bytes` column, in kernels.

`hash64` is XXH64 and `hash128` MurmurHash3 x64 128, both with seed 0 and well spread over all their
bits; they may be stored, for they will not change. `murmur2` is what Kafka's Java client partitions
by. Null rows are empty spans and hash as such.

Values are read through addresses, so that read-only buffers serve too. Each kernel call costs about
1 us, and 5 to 15 ns per short string.
"""

import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import helper, kernel
from streamrec.schemas.columns import Bytes
from streamrec.schemas.primitives import byte_at, int32_at, word_at

_PRIME_1 = np.uint64(0x9E3779B185EBCA87)
_PRIME_2 = np.uint64(0xC2B2AE3D27D4EB4F)
_PRIME_3 = np.uint64(0x165667B19E3779F9)
_PRIME_4 = np.uint64(0x85EBCA77C2B2AE63)
_PRIME_5 = np.uint64(0x27D4EB2F165667C5)
_MIX_1 = np.uint64(0x87C37B91114253D5)
_MIX_2 = np.uint64(0x4CF5AD432745937F)
_MURMUR2_MIX = np.uint32(0x5BD1E995)
_KAFKA_SEED = np.uint32(0x9747B28C)


@helper
def _rotate(value: np.uint64, bits: int) -> np.uint64:
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


@helper
def _tail(at: int, size: int) -> np.uint64:
    """Read fewer than eight bytes, little-endian."""
    word = np.uint64(0)
    for i in range(size):
        word |= np.uint64(byte_at(at + i)) << np.uint64(8 * i)
    return word


@helper
def _round(lane: np.uint64, word: np.uint64) -> np.uint64:
    return _rotate(lane + word * _PRIME_2, 31) * _PRIME_1


@kernel("void(int64, int64[:], int64[:], uint64[::1])")
def _xxh64(
    address: int, starts: NDArray[np.int64], lengths: NDArray[np.int64], hashes: NDArray[np.uint64]
) -> None:
    zero = np.uint64(0)
    for row in range(len(starts)):
        at = address + starts[row]
        length = lengths[row]
        end = at + length
        if length >= 32:
            lane_1, lane_2 = zero + _PRIME_1 + _PRIME_2, zero + _PRIME_2
            lane_3, lane_4 = zero, zero - _PRIME_1
            while at + 32 <= end:
                lane_1 = _round(lane_1, word_at(at))
                lane_2 = _round(lane_2, word_at(at + 8))
                lane_3 = _round(lane_3, word_at(at + 16))
                lane_4 = _round(lane_4, word_at(at + 24))
                at += 32
            mixed = _rotate(lane_1, 1) + _rotate(lane_2, 7) + _rotate(lane_3, 12)
            mixed += _rotate(lane_4, 18)
            for lane in (lane_1, lane_2, lane_3, lane_4):
                mixed = (mixed ^ _round(zero, lane)) * _PRIME_1 + _PRIME_4
        else:
            mixed = zero + _PRIME_5
        mixed += np.uint64(length)
        while at + 8 <= end:
            mixed ^= _round(zero, word_at(at))
            mixed = _rotate(mixed, 27) * _PRIME_1 + _PRIME_4
            at += 8
        if at + 4 <= end:
            mixed ^= np.uint64(int32_at(at)) * _PRIME_1
            mixed = _rotate(mixed, 23) * _PRIME_2 + _PRIME_3
            at += 4
        while at < end:
            mixed ^= np.uint64(byte_at(at)) * _PRIME_5
            mixed = _rotate(mixed, 11) * _PRIME_1
            at += 1
        mixed = (mixed ^ (mixed >> np.uint64(33))) * _PRIME_2
        mixed = (mixed ^ (mixed >> np.uint64(29))) * _PRIME_3
        hashes[row] = mixed ^ (mixed >> np.uint64(32))


@helper
def _finish(half: np.uint64) -> np.uint64:
    half = (half ^ (half >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    half = (half ^ (half >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return half ^ (half >> np.uint64(33))


@kernel("void(int64, int64[:], int64[:], uint64[:, ::1])")
def _murmur3(
    address: int, starts: NDArray[np.int64], lengths: NDArray[np.int64], hashes: NDArray[np.uint64]
) -> None:
    for row in range(len(starts)):
        at = address + starts[row]
        length = lengths[row]
        end = at + length
        low = np.uint64(0)
        high = np.uint64(0)
        while at + 16 <= end:
            low ^= _rotate(word_at(at) * _MIX_1, 31) * _MIX_2
            low = (_rotate(low, 27) + high) * np.uint64(5) + np.uint64(0x52DCE729)
            high ^= _rotate(word_at(at + 8) * _MIX_2, 33) * _MIX_1
            high = (_rotate(high, 31) + low) * np.uint64(5) + np.uint64(0x38495AB5)
            at += 16
        if end - at > 8:
            high ^= _rotate(_tail(at + 8, end - at - 8) * _MIX_2, 33) * _MIX_1
        if end > at:
            low ^= _rotate(_tail(at, min(end - at, 8)) * _MIX_1, 31) * _MIX_2
        low ^= np.uint64(length)
        high ^= np.uint64(length)
        low += high
        high += low
        low = _finish(low)
        high = _finish(high)
        low += high
        high += low
        hashes[row, 0] = low
        hashes[row, 1] = high


@kernel("void(int64, int64[:], int64[:], uint32[::1])")
def _murmur2(
    address: int, starts: NDArray[np.int64], lengths: NDArray[np.int64], hashes: NDArray[np.uint32]
) -> None:
    for row in range(len(starts)):
        at = address + starts[row]
        end = at + lengths[row]
        # Numba widens uint32 products to 64 bits, so each is cut back at once.
        mixed = np.uint32(_KAFKA_SEED ^ np.uint32(lengths[row]))
        while at + 4 <= end:
            word = np.uint32(np.uint64(int32_at(at)) * _MURMUR2_MIX)
            word = np.uint32((word ^ (word >> np.uint32(24))) * _MURMUR2_MIX)
            mixed = np.uint32(np.uint32(mixed * _MURMUR2_MIX) ^ word)
            at += 4
        if end > at:
            mixed = np.uint32((mixed ^ _tail(at, end - at)) * _MURMUR2_MIX)
        mixed = np.uint32((mixed ^ (mixed >> np.uint32(13))) * _MURMUR2_MIX)
        hashes[row] = np.uint32(mixed ^ (mixed >> np.uint32(15)))


def hash64(column: Bytes) -> NDArray[np.int64]:
    """Return the XXH64 of each span, int64 (n,): the hash's bits, as an Avro long holds them."""
    hashes = np.empty(len(column), np.uint64)
    _xxh64(column.data.ctypes.data, column.starts, column.lengths, hashes)
    return hashes.view(np.int64)


def hash128(column: Bytes) -> NDArray[np.int64]:
    """Return the MurmurHash3 x64 128 of each span, int64 (n, 2): the low half first, as bits."""
    hashes = np.empty((len(column), 2), np.uint64)
    _murmur3(column.data.ctypes.data, column.starts, column.lengths, hashes)
    return hashes.view(np.int64)


def murmur2(column: Bytes) -> NDArray[np.int32]:
    """Return Kafka's 32-bit hash of each span, int32 (n,)."""
    hashes = np.empty(len(column), np.uint32)
    _murmur2(column.data.ctypes.data, column.starts, column.lengths, hashes)
    return hashes.view(np.int32)


def partitions(column: Bytes, count: int) -> NDArray[np.int32]:
    """Return the partition of `count` that Kafka's Java client gives each key, int32 (n,).

    Raises ValueError for a count below 1.
    """
    if count < 1:
        raise ValueError(f"partitions expected >= 1, got {count!r}")
    return (murmur2(column) & np.int32(0x7FFFFFFF)) % np.int32(count)
