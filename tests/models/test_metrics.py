import numpy as np
import pytest

from streamrec.models.sessions.numbered import NumberedRanking
from streamrec.models.training.metrics import hits, mean_of, reciprocal_ranks, target_ranks


def test_ties_count_against_us() -> None:
    items = np.array([[5, 7, 9, -1], [5, 7, 9, 2], [5, 7, 9, 2]], np.int32)
    scores = np.array([[2, 1, 1, -np.inf], [3, 3, 3, 3], [4, 3, 2, 1]], np.float32)
    ranking = NumberedRanking(items, scores, np.ones_like(items))
    assert target_ranks(ranking, np.array([7, 5, 8], np.int32)).tolist() == [3, 4, 0]
    assert target_ranks(ranking, np.array([-1, -1, 2], np.int32)).tolist() == [0, 0, 4]


def test_figures_are_those_worked_out_by_hand() -> None:
    ranks = np.array([1, 4, 0, 21, 20])
    assert hits(ranks, 20).tolist() == [1, 1, 0, 0, 1]
    assert reciprocal_ranks(ranks, 20).tolist() == [1, 0.25, 0, 0, 0.05]
    mean = mean_of(hits(ranks, 20))
    assert (mean.value, mean.n) == (0.6, 5)
    assert mean.within == pytest.approx(1.96 * np.sqrt(0.3 / 5), rel=1e-3)
    assert str(mean_of(np.zeros(0))) == "-"
