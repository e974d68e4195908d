"""Which variant of an experiment answers a key: weighted, sticky, and the same in every process.

Variants race for each key: each takes the time -ln(u) / weight, where u in (0, 1) is a hash of the
key, the experiment's salt and the variant's name; the fastest answers (weighted rendezvous
hashing). What follows, and is tested:

- A key is a variant's with a probability of the variant's share of the weights.
- A key stays where it is as long as salt, names and weights do, over restarts and machines.
- Where weights change, a key only goes to a variant whose weight grew by a larger factor than that
  of the one it leaves. So none goes from one to another of which neither changed.
- With weights w before and w' after, a variant a keeps of all keys exactly the share
  1 / sum over v of max(w[v] / w[a], w'[v] / w'[a]). Where one weight changes, or a variant comes or
  goes, all that move are those that the shares' difference asks for, which is the least possible.
  Where several change at once a few more may move: at most 2 d / (1 + d), d being half the sum of
  the shares' differences. No way to split that knows nothing of the weights before can do better
  for some weights and not worse for others (Moulton and Jiang 2018, "Maximally consistent sampling
  and the Jaccard index of probability distributions").
- Two salts split independently of each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import helper, kernel
from streamrec.schemas.columns import Bytes, strings
from streamrec.schemas.hashing import hash64

_STEP = np.uint64(0x9E3779B97F4A7C15)  # of SplitMix64
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True, slots=True)
class Assigned:
    """Which variant answers each of n records."""

    variants: NDArray[np.int32]  # (n,) index into the split's names
    propensities: NDArray[np.float64]  # (n,) probability of it; nan: chosen by hand

    def __len__(self) -> int:
        return len(self.variants)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """A split of keys among variants. Made by `split_of`."""

    names: tuple[str, ...]
    weights: NDArray[np.float64]  # (variants,) their sum is 1
    seeds: NDArray[np.uint64]  # (variants,)

    def of_keys(self, keys: Bytes) -> Assigned:
        """By the bytes of each key; an empty key is a key, as is a null one."""
        return self._of_hashes(hash64(keys).view(np.uint64))

    def of_places(self, topic: str, places: NDArray[np.int64]) -> Assigned:
        """Of records without a key, by partition and offset, (n, 2): sticky over restarts, and
        that is all they have."""
        topics = hash64(strings([topic])).view(np.uint64)
        hashes = np.empty(len(places), np.uint64)
        _hash_places(topics[0], np.ascontiguousarray(places, np.int64), hashes)
        return self._of_hashes(hashes)

    def of_records(
        self, keys: Sequence[bytes | None], topic: str, places: NDArray[np.int64]
    ) -> Assigned:
        """By key, and by place where a record has none."""
        assigned = self.of_keys(strings(keys))
        without = [row for row, key in enumerate(keys) if key is None]
        if without:
            rows = np.array(without, np.int64)
            by_place = self.of_places(topic, places[rows])
            assigned.variants[rows] = by_place.variants
            assigned.propensities[rows] = by_place.propensities
        return assigned

    def _of_hashes(self, hashes: NDArray[np.uint64]) -> Assigned:
        variants = np.empty(len(hashes), np.int32)
        _race(hashes, self.seeds, self.weights, variants)
        return Assigned(variants, self.weights[variants])


def split_of(salt: str, weights: Mapping[str, float]) -> Split:
    """A split by the weights of named variants, whose order does not matter to it. Raises
    ValueError for no variant and for a weight that is not above 0.

    >>> split = split_of("2026-11", {"a": 0.9, "b": 0.1})
    >>> [split.names[i] for i in split.of_keys(strings(["u1", "u2", "u6"])).variants]
    ['a', 'a', 'a']
    """
    if not weights:
        raise ValueError("weights expected those of one variant at least, got none")
    for name, weight in weights.items():
        if not (isfinite(weight) and weight > 0):
            raise ValueError(f"weight of variant {name!r} expected a number > 0, got {weight!r}")
    names = tuple(weights)
    shares = np.array(list(weights.values()), np.float64)
    # Texts of two parts, the length of the first before them, so that no two pairs are alike.
    seeds = hash64(strings([f"{len(salt)}:{salt}{name}" for name in names])).view(np.uint64)
    return Split(names, shares / shares.sum(), seeds)


@helper
def _mixed(word: np.uint64) -> np.uint64:
    """The output function of SplitMix64: each bit of the word changes each bit in half of cases."""
    word = (word ^ (word >> np.uint64(30))) * _MIX_1
    word = (word ^ (word >> np.uint64(27))) * _MIX_2
    return word ^ (word >> np.uint64(31))


@kernel("void(uint64, int64[:, ::1], uint64[::1])")
def _hash_places(topic: int, places: NDArray[np.int64], hashes: NDArray[np.uint64]) -> None:
    for row in range(len(places)):
        partition = _mixed(topic + _STEP * np.uint64(places[row, 0] + 1))
        hashes[row] = _mixed(partition + _STEP * np.uint64(places[row, 1] + 1))


@kernel("void(uint64[::1], uint64[::1], float64[::1], int32[::1])")
def _race(
    hashes: NDArray[np.uint64],
    seeds: NDArray[np.uint64],
    weights: NDArray[np.float64],
    variants: NDArray[np.int32],
) -> None:
    for row in range(len(hashes)):
        best = np.inf
        winner = 0
        for variant in range(len(seeds)):
            # Twice, so that what two seeds have in common does not show.
            word = _mixed(_mixed(hashes[row] ^ seeds[variant]) + _STEP)
            # The middle of one of 2^52 equal parts of (0, 1), which is exact.
            uniform = (np.float64(word >> np.uint64(12)) + 0.5) * 2.0**-52
            time = -np.log(uniform) / weights[variant]
            if time < best:
                best = time
                winner = variant
        variants[row] = winner


__all__ = ["Assigned", "Split", "split_of"]
