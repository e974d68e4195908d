"""How good a list of recommendations was: hit rate and reciprocal rank with their intervals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamrec.models.sessions.numbered import NumberedRanking

_Z = 1.959964  # 95 % of a normal distribution lie within so many standard deviations


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and half the width of its 95 % interval (normal approximation; queries of one session
    count as independent, as the published figures do)."""

    value: float
    within: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.4f} ±{self.within:.4f}" if self.n else "-"


def mean_of(values: NDArray[np.float64]) -> Mean:
    if len(values) == 0:
        return Mean(0.0, 0.0, 0)
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return Mean(float(values.mean()), _Z * spread / len(values) ** 0.5, len(values))


def target_ranks(ranking: NumberedRanking, targets: NDArray[np.int32]) -> NDArray[np.int64]:
    """Rank of each target, 1 the best, (n,); 0: not among the k.

    Ties go against us: a target counts as below all items that have its score. Ask for more than
    the largest cut-off, so that ties across it are seen.

    >>> items, scores = np.array([[5, 7, 9]]), np.array([[2.0, 1.0, 1.0]])
    >>> ranking = NumberedRanking(items, scores, np.zeros((1, 3), int))
    >>> target_ranks(ranking, np.array([7]))
    array([3])
    """
    found = (ranking.items == targets[:, None]) & (targets[:, None] >= 0)
    score = np.max(np.where(found, ranking.scores, -np.inf), axis=1)
    present = found.any(axis=1)
    above = ((ranking.scores >= score[:, None]) & (ranking.items >= 0)).sum(axis=1)
    return np.where(present, above, 0).astype(np.int64)


def hits(ranks: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    return ((ranks > 0) & (ranks <= k)).astype(np.float64)


def reciprocal_ranks(ranks: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    good = (ranks > 0) & (ranks <= k)
    return np.where(good, 1.0 / np.maximum(ranks, 1), 0.0)
