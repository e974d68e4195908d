"""Estimates with their 95 % intervals, from counts and sums alone.

Judged answers count as independent, which those of one user are not quite: intervals are a little
narrow where few users give most of the answers.
"""

from math import sqrt
from typing import NamedTuple

_Z = 1.959964  # 95 % of a normal distribution lie within so many standard deviations


class Estimate(NamedTuple):
    """A value and its interval; `low` and `high` are None where none is known."""

    value: float
    low: float | None
    high: float | None
    answers: int  # that were judged


def share(hits: float, count: int) -> Estimate:
    """A proportion with the interval of E. B. Wilson, "Probable inference, the law of succession,
    and statistical inference", 1927: it stays within 0 and 1, and is good for few answers.

    >>> share(8, 10)
    Estimate(value=0.8, low=0.49016246912213235, high=0.943317849062233, answers=10)
    """
    value, z2 = hits / count, _Z * _Z
    center = (value + z2 / (2 * count)) / (1 + z2 / count)
    within = _Z / (1 + z2 / count) * sqrt(value * (1 - value) / count + z2 / (4 * count * count))
    return Estimate(value, max(0.0, center - within), min(1.0, center + within), count)


def mean(total: float, squares: float, count: int) -> Estimate:
    """A mean, of the sum of values and of their squares, with the normal approximation: z standard
    errors to each side (the sample's variance, n - 1). Of one value no interval is known.

    >>> mean(6.0, 14.0, 3).value
    2.0
    """
    value = total / count
    if count < 2:
        return Estimate(value, None, None, count)
    variance = max(0.0, squares - total * value) / (count - 1)
    within = _Z * sqrt(variance / count)
    return Estimate(value, value - within, value + within, count)


def area(value: float, positives: int, negatives: int) -> Estimate:
    """An area under the ROC curve with the interval of J. A. Hanley and B. J. McNeil, "The meaning
    and use of the area under a receiver operating characteristic (ROC) curve", 1982, equation 1,
    with their exponential model of Q1 and Q2; cut to 0 and 1.

    >>> area(0.8, 20, 30).low
    0.6678201070618014
    """
    q1, q2 = value / (2 - value), 2 * value * value / (1 + value)
    squares = value * value
    variance = value * (1 - value) + (positives - 1) * (q1 - squares)
    variance += (negatives - 1) * (q2 - squares)
    within = _Z * sqrt(max(0.0, variance) / (positives * negatives))
    low, high = max(0.0, value - within), min(1.0, value + within)
    return Estimate(value, low, high, positives + negatives)


__all__ = ["Estimate", "area", "mean", "share"]
