"""Scores against labels: sums of constant size, and the metrics that they say."""

from collections.abc import Iterator
from math import floor, log
from typing import Any

from streamrec.models.judging.intervals import Estimate, area, mean, share

# Scores are counted by bins of their log-odds, each 0.02 wide, from -12 to 12: near 0 and 1 they
# are told apart by 2 % of their odds, and around 0.5 by 0.005. A score beyond is in the last bin.
BIN_LOGIT = 0.02
BINS = 1_200
_GROUPS = 10  # of the calibration error, equally wide
_LEAST = 1e-15  # a score of 0 or 1 is taken for this, or the log loss would be infinite


class ScoreSums:
    """How a number of scores did, in at most 1,200 counts and some 40 sums.

    `add` takes a score and its label. Log loss, AUC, calibration and accuracy are of those scores
    that are probabilities (0 to 1) with a label 0 or 1; the absolute error is of all.
    """

    def __init__(self, threshold: float) -> None:
        """`threshold`: a score is taken for a yes from this on."""
        self._threshold = threshold
        self._counts: dict[int, list[int]] = {}  # by bin, negatives and positives
        self._groups = [[0.0, 0.0, 0.0] for _ in range(_GROUPS)]  # count, scores, labels
        self._right = 0
        self._loss = [0.0, 0.0]  # sum, and of the squares
        self._error = [0.0, 0.0]
        self._score = [0.0, 0.0]
        self._label = [0.0, 0.0]
        self._of = 0

    def add(self, score: float, label: float) -> None:
        """One answer and what came of it, both finite."""
        self._of += 1
        _note(self._error, abs(score - label))
        _note(self._score, score)
        _note(self._label, label)
        if label not in (0.0, 1.0) or not 0.0 <= score <= 1.0:
            return
        chance = min(max(score, _LEAST), 1 - _LEAST)
        _note(self._loss, -log(chance if label else 1 - chance))
        self._counts.setdefault(_bin(chance), [0, 0])[int(label)] += 1
        group = self._groups[min(int(score * _GROUPS), _GROUPS - 1)]
        group[0] += 1
        group[1] += score
        group[2] += label
        self._right += (score >= self._threshold) == bool(label)

    def merge(self, other: dict[str, Any]) -> None:
        """Add what `plain` of others said."""
        self._of += other["of"]
        self._right += other["right"]
        for name in ("loss", "error", "score", "label"):
            _add(getattr(self, f"_{name}"), other[name])
        for group, own in zip(self._groups, other["groups"], strict=True):
            _add(group, own)
        for number, counts in other["counts"]:
            own = self._counts.setdefault(number, [0, 0])
            own[0] += counts[0]
            own[1] += counts[1]

    def plain(self) -> dict[str, Any]:
        """As JSON types, for `merge`."""
        return {
            "of": self._of,
            "right": self._right,
            "loss": list(self._loss),
            "error": list(self._error),
            "score": list(self._score),
            "label": list(self._label),
            "groups": [list(group) for group in self._groups],
            "counts": [[number, list(own)] for number, own in sorted(self._counts.items())],
        }

    def metrics(self) -> Iterator[tuple[str, Estimate]]:
        """Each that is known, by name. The calibration error is the mean distance of scores and
        labels over ten groups of scores, each by its share of answers (Naeini, Cooper and
        Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", 2015)."""
        if not self._of:
            return
        yield "error", _mean(self._error, self._of)
        yield "score_mean", _mean(self._score, self._of)
        negatives = sum(own[0] for own in self._counts.values())
        positives = sum(own[1] for own in self._counts.values())
        count = negatives + positives
        if count < self._of:
            yield "label_mean", _mean(self._label, self._of)
        else:
            yield "label_mean", share(self._label[0], count)
        if not count:
            return
        yield "log_loss", _mean(self._loss, count)
        yield "accuracy", share(self._right, count)
        off = sum(abs(scores - labels) for _, scores, labels in self._groups)
        yield "calibration", Estimate(off / count, None, None, count)
        if positives and negatives:
            yield "auc", area(self._area(positives, negatives), positives, negatives)

    def _area(self, positives: int, negatives: int) -> float:
        """Share of the pairs of a positive and a negative in which the positive has the higher
        score; a pair in one bin counts half (Mann and Whitney, 1947)."""
        below = won = 0.0
        for _, (own_negatives, own_positives) in sorted(self._counts.items()):
            won += own_positives * (below + own_negatives / 2)
            below += own_negatives
        return won / (positives * negatives)


def _bin(chance: float) -> int:
    logit = log(chance / (1 - chance))
    return min(max(floor(logit / BIN_LOGIT) + BINS // 2, 0), BINS - 1)


def _mean(sums: list[float], answers: int) -> Estimate:
    return mean(sums[0], sums[1], answers)


def _note(sums: list[float], value: float) -> None:
    sums[0] += value
    sums[1] += value * value


def _add(sums: list[float], others: list[float]) -> None:
    for at, other in enumerate(others):
        sums[at] += other


__all__ = ["BINS", "BIN_LOGIT", "ScoreSums"]
