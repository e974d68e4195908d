"""What sums of judged answers say, against scikit-learn and against plain counting."""

import json
import random
from math import sqrt

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, roc_auc_score

from streamrec.models.judging.intervals import area, mean, share
from streamrec.models.judging.ranks import MISS, RankSums
from streamrec.models.judging.scores import ScoreSums


def some_scores(seed: int, count: int) -> tuple[list[float], list[float]]:
    rng = random.Random(seed)
    labels = [float(rng.random() < 0.3) for _ in range(count)]
    scores = [min(max(rng.gauss(0.3 + 0.3 * label, 0.2), 0.001), 0.999) for label in labels]
    return scores, labels


def sums_of(scores: list[float], labels: list[float]) -> ScoreSums:
    sums = ScoreSums(threshold=0.5)
    for score, label in zip(scores, labels, strict=True):
        sums.add(score, label)
    return sums


def test_metrics_of_scores_are_those_of_scikit_learn() -> None:
    scores, labels = some_scores(1, 3_000)

    found = dict(sums_of(scores, labels).metrics())

    assert found["auc"].value == pytest.approx(roc_auc_score(labels, scores), abs=0.002)
    assert found["log_loss"].value == pytest.approx(log_loss(labels, scores))
    yes = [score >= 0.5 for score in scores]
    assert found["accuracy"].value == pytest.approx(accuracy_score([*map(bool, labels)], yes))
    assert found["error"].value == pytest.approx(mean_absolute_error(labels, scores))
    assert found["label_mean"].value == pytest.approx(np.mean(labels))
    assert {each.answers for each in found.values()} == {3_000}


def test_sums_that_went_through_json_and_were_merged_say_the_same() -> None:
    scores, labels = some_scores(2, 500)
    parts = [sums_of(scores[:123], labels[:123]), sums_of(scores[123:], labels[123:])]

    merged = ScoreSums(threshold=0.5)
    for part in parts:
        merged.merge(json.loads(json.dumps(part.plain())))

    whole = dict(sums_of(scores, labels).metrics())
    found = dict(merged.metrics())
    assert found.keys() == whole.keys()
    for name, estimate in found.items():
        assert estimate.value == pytest.approx(whole[name].value)
        assert (estimate.low is None) == (name == "calibration")


def test_scores_that_say_how_sure_they_are_have_no_calibration_error() -> None:
    sure = sums_of([0.25] * 400, [1.0] * 100 + [0.0] * 300)
    unsure = sums_of([0.75] * 400, [1.0] * 100 + [0.0] * 300)

    assert dict(sure.metrics())["calibration"].value == pytest.approx(0.0)
    assert dict(unsure.metrics())["calibration"].value == pytest.approx(0.5)


def test_numbers_that_are_no_probabilities_have_an_error_and_no_area() -> None:
    found = dict(sums_of([110.0, 90.0], [100.0, 100.0]).metrics())

    assert sorted(found) == ["error", "label_mean", "score_mean"]
    assert found["error"].value == 10.0


def test_scores_of_certainty_keep_the_loss_finite() -> None:
    assert dict(sums_of([0.0, 1.0], [1.0, 0.0]).metrics())["log_loss"].value < 40


def test_labels_of_one_kind_have_no_area() -> None:
    assert "auc" not in dict(sums_of([0.1, 0.2], [0.0, 0.0]).metrics())


def test_hit_rate_and_reciprocal_ranks_are_those_of_plain_counting() -> None:
    positions = [0, 0, 1, 4, 5, 19, 20, MISS, MISS]
    sums = RankSums(ks=(5, 20))
    for position in positions:
        sums.add(position)

    found = dict(sums.metrics())

    assert found["hit_rate@5"].value == pytest.approx(4 / 9)
    assert found["hit_rate@20"].value == pytest.approx(6 / 9)
    assert found["mrr@5"].value == pytest.approx((1 + 1 + 1 / 2 + 1 / 5) / 9)
    ranks = [1, 1, 1 / 2, 1 / 5, 1 / 6, 1 / 20, 0, 0, 0]
    within = 1.959964 * np.std(ranks, ddof=1) / sqrt(9)
    assert found["mrr@20"].high == pytest.approx(np.mean(ranks) + within)
    assert [told.value * 9 for _, told in sums.of_positions()] == pytest.approx([2, 1, 0, 0, 1])


def test_intervals_hold_what_is_true_nineteen_times_of_twenty() -> None:
    rng = np.random.default_rng(3)
    held = np.zeros(3)
    for _ in range(400):
        hits = rng.binomial(60, 0.1)
        told = share(hits, 60)
        held[0] += told.low <= 0.1 <= told.high  # type: ignore[operator]  # a share has both
        values = rng.exponential(1.0, 200)
        low, high = mean(values.sum(), (values**2).sum(), 200)[1:3]
        held[1] += low <= 1.0 <= high  # type: ignore[operator]  # so has a mean of 200
        # Two exponentials, of which one is three times as long: the area is 3/4.
        long, short = rng.exponential(3.0, 60), rng.exponential(1.0, 80)
        won = (long[:, None] > short[None, :]).mean()
        low, high = area(float(won), 60, 80)[1:3]
        held[2] += low <= 0.75 <= high  # type: ignore[operator]  # and an area
    assert (held / 400 > 0.915).all(), held / 400
