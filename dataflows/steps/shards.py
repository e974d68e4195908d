"""Shards, the parts of the state: which users belong to each, and which worker gets it.

A user's shard is chosen as Kafka's default partitioner chooses the partition of a key, and shard i
is named so that the engine gives it to the worker that it gives lane i to. So where clicks are
keyed by user and there are as many shards as lanes, a click is read, counted and answered and its
answer written by one worker, and nothing crosses between processes (Kafka Streams calls this
co-partitioning). Where they are keyed otherwise, all is as right, and costs more.
"""

import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import helper, kernel
from streamrec.schemas.columns import Bytes
from streamrec.schemas.placing import order_by_partition

# The engine gives lane i to worker i % W, and a key to worker hash(key) % W. A hash that is i
# modulo a number does both alike for every W that divides it: this one has 1 to 12, 14, 15 and 16.
_MODULUS = 55_440
_DIGITS = 6  # of the number that is tried: a million tries for one in 55,440


@helper
def _rotate(value: np.uint64, bits: int) -> np.uint64:
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


@helper
def _sip_rounds(
    a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64, rounds: int
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    for _ in range(rounds):
        a += b
        b = _rotate(b, 13) ^ a
        a = _rotate(a, 32)
        c += d
        d = _rotate(d, 16) ^ c
        a += d
        d = _rotate(d, 21) ^ a
        c += b
        b = _rotate(b, 17) ^ c
        c = _rotate(c, 32)
    return a, b, c, d


@helper
def _engine_hash(text: NDArray[np.uint8]) -> np.uint64:
    """SipHash-1-3 under a key of zeros, of text (n,) uint8: how the engine hashes a key and 0xff
    (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012; Rust's `DefaultHasher`)."""
    a, b = np.uint64(0x736F6D6570736575), np.uint64(0x646F72616E646F6D)
    c, d = np.uint64(0x6C7967656E657261), np.uint64(0x7465646279746573)
    for start in range(0, len(text) + 1, 8):
        word = np.uint64(0)
        for i in range(start, min(start + 8, len(text))):
            word |= np.uint64(text[i]) << np.uint64(8 * (i - start))
        if start + 8 > len(text):
            word |= np.uint64(len(text) & 0xFF) << np.uint64(56)
        d ^= word
        a, b, c, d = _sip_rounds(a, b, c, d, 1)
        a ^= word
    a, b, c, d = _sip_rounds(a, b, c ^ np.uint64(0xFF), d, 3)
    return a ^ b ^ c ^ d


@kernel("int64(uint8[::1], int64, int64, int64)")
def _find_number(text: NDArray[np.uint8], digits: int, modulus: int, wanted: int) -> int:
    """The least number with which `text`, that ends with it and 0xff, hashes to `wanted`."""
    for number in range(10**digits):
        rest = number
        for i in range(digits):
            text[len(text) - 2 - i] = ord("0") + rest % 10
            rest //= 10
        if _engine_hash(text) % np.uint64(modulus) == np.uint64(wanted):
            return number
    return -1


def shard_name(shard: int) -> str:
    """The key under which the engine knows a shard.

    >>> shard_name(0)
    'shard-0000-030292'
    """
    return _named(f"shard-{shard:04d}-", _MODULUS, shard)


def _named(stem: str, modulus: int, number: int) -> str:
    """`stem` and digits, whose hash is `number` by the modulus."""
    text = np.frombuffer(stem.encode() + bytes(_DIGITS) + b"\xff", np.uint8).copy()
    found = _find_number(text, _DIGITS, modulus, number % modulus)
    return f"{stem}{max(found, 0):0{_DIGITS}d}"


def lane_shard(lane: int, workers: int) -> str:
    """The key of a shard that the engine gives to the worker that reads a lane, of so many workers:
    what goes by it crosses to no other process. It is the same for any of 1 to 12, 14, 15 and 16.

    >>> lane_shard(3, 2) == lane_shard(3, 16) == shard_name(3), lane_shard(3, 13) == shard_name(3)
    (True, False)
    """
    if _MODULUS % workers == 0:
        return shard_name(lane)
    return _named(f"shard-{lane:04d}-", workers, lane)


def split_by_shard(users: Bytes, shards: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows (n,) in the order of their users' shards, then as they were; and where in that order
    each shard ends (shards,)."""
    rows, ranked = order_by_partition(users, shards)
    return rows, np.searchsorted(ranked, np.arange(shards, dtype=np.int32), side="right")


__all__ = ["lane_shard", "shard_name", "split_by_shard"]
