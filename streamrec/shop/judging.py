"""How good recommendations were, told by what their users clicked next.

A click judges the newest recommendation made for its user before it: at which rank stands the item
that was clicked? Popularity is judged by the same clicks: at each, what most users had clicked
before it. Nothing here is shared with what made the recommendations.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamrec.schemas.columns import Bytes

K = 20
_REFRESH = 1_000  # clicks between two looks at what is popular


@dataclass(frozen=True, slots=True)
class JudgedClicks:
    """n clicks in the order in which they arrived, the good ones only."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Answers:
    """m recommendations, each the answer to one click."""

    clicks: NDArray[np.int64]  # (m,) which click asked, a row of JudgedClicks
    items: NDArray[np.int64]  # (m, K) best first; -1: none


@dataclass(frozen=True, slots=True)
class Verdict:
    """How often and how high the clicked item stood."""

    judged: int  # clicks that had a recommendation before them
    hit_rate: float  # share of them whose item was among the best K
    mrr: float  # mean of 1 / rank, 0 where it was not among them

    @classmethod
    def of(cls, ranks: NDArray[np.int64]) -> "Verdict":
        """From ranks 1 to K; 0 where the item was not among them."""
        if not len(ranks):
            return cls(0, 0.0, 0.0)
        found = ranks > 0
        reciprocal = np.divide(1.0, ranks, where=found, out=np.zeros(len(ranks)))
        return cls(len(ranks), float(found.mean()), float(reciprocal.mean()))


def judge(clicks: JudgedClicks, answers: Answers) -> Verdict:
    """Each click against the newest answer to an earlier click of the same user."""
    before = _newest_answer_before(clicks, answers)
    judged = np.flatnonzero(before >= 0)
    return Verdict.of(ranks_among(answers.items[before[judged]], clicks.items[judged]))


def judge_popularity(clicks: JudgedClicks, answers: Answers) -> Verdict:
    """What is clicked most, judged by the clicks that judge the answers."""
    judged = _newest_answer_before(clicks, answers) >= 0
    counts = np.zeros(int(clicks.items.max(initial=-1)) + 1, dtype=np.int64)
    ranks = []
    for start in range(0, len(clicks.items), _REFRESH):
        part = slice(start, start + _REFRESH)
        top = np.argsort(-counts, kind="stable")[:K]
        top = np.where(counts[top] > 0, top, -1)
        targets = clicks.items[part][judged[part]]
        ranks.append(ranks_among(np.broadcast_to(top, (len(targets), len(top))), targets))
        np.add.at(counts, clicks.items[part], 1)
    return Verdict.of(np.concatenate(ranks) if ranks else np.empty(0, np.int64))


def newest_before(users: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n,) for each click the newest earlier click of its user that is chosen; -1: none is."""
    n = len(users)
    order = np.argsort(users, kind="stable")  # by user, within a user by arrival
    sorted_users = users[order]
    # For each place the newest place up to it that is chosen, then one place later, because a
    # click does not judge the answer to itself.
    places = np.maximum.accumulate(np.where(chosen[order], np.arange(n), -1))
    places = np.concatenate(([-1], places[:-1])) if n else places
    same_user = (places >= 0) & (sorted_users[places] == sorted_users)
    before = np.full(n, -1, dtype=np.int64)
    before[order[same_user]] = order[places[same_user]]
    return before


def ranks_among(items: NDArray[np.generic], targets: NDArray[np.generic]) -> NDArray[np.int64]:
    """(n, k), (n,) to (n,): the place of each target in its row, from 1; 0 where it is not."""
    hits = items == targets[:, None]
    return np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, 0)


def _newest_answer_before(clicks: JudgedClicks, answers: Answers) -> NDArray[np.int64]:
    """(n,) for each click the row of the answer that it judges; -1: there was none yet."""
    answered = np.full(len(clicks.users), -1, dtype=np.int64)
    answered[answers.clicks] = np.arange(len(answers.clicks))
    before = newest_before(clicks.users, answered >= 0)
    return np.where(before >= 0, answered[before], -1)


def numbers_of(names: Bytes) -> NDArray[np.int64]:
    """The numbers in names of a letter and digits: `i17` is 17."""
    numbers = np.zeros(len(names), dtype=np.int64)
    for place in range(1, int(names.lengths.max(initial=1))):
        here = names.lengths > place
        digits = names.data[names.starts[here] + place].astype(np.int64) - ord("0")
        numbers[here] = numbers[here] * 10 + digits
    return numbers
