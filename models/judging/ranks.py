"""Lists of recommendations against the clicks that came next: counts, and what they say."""

from collections.abc import Iterator, Sequence
from typing import Any

from streamrec.models.judging.intervals import Estimate, mean, share

MISS = -1  # the position of what was not in the list
_SHOWN_POSITIONS = 20


class RankSums:
    """At which positions clicked items stood: counts of each position up to the largest k."""

    def __init__(self, ks: Sequence[int]) -> None:
        self._ks = sorted(set(ks))
        self._hits = [0] * self._ks[-1]
        self._of = 0

    def add(self, position: int) -> None:
        """One click: where its item stood in the list, 0 for the first; MISS: nowhere."""
        self._of += 1
        if 0 <= position < len(self._hits):
            self._hits[position] += 1

    def merge(self, other: dict[str, Any]) -> None:
        """Add what `plain` of others said."""
        self._of += other["of"]
        for position, count in enumerate(other["hits"]):
            self._hits[position] += count

    def plain(self) -> dict[str, Any]:
        """As JSON types, for `merge`."""
        return {"of": self._of, "hits": list(self._hits)}

    def metrics(self) -> Iterator[tuple[str, Estimate]]:
        """`hit_rate@K`, the share of clicks whose item stood among the first K, and `mrr@K`, the
        mean of 1 / (position + 1) where it did, else of 0."""
        if not self._of:
            return
        for k in self._ks:
            found = list(enumerate(self._hits[:k], 1))
            yield f"hit_rate@{k}", share(sum(self._hits[:k]), self._of)
            ranks = sum(hits / rank for rank, hits in found)
            squares = sum(hits / (rank * rank) for rank, hits in found)
            yield f"mrr@{k}", mean(ranks, squares, self._of)

    def of_positions(self) -> Iterator[tuple[int, Estimate]]:
        """Share of all clicks that hit each position: those of the smallest k, at most 20."""
        for position in range(min(self._ks[0], _SHOWN_POSITIONS) if self._of else 0):
            yield position, share(self._hits[position], self._of)


__all__ = ["MISS", "RankSums"]
