"""What each candidate method alone would have recommended, judged as the recommendations are.

The methods learn the same clicks in the same order as the main job, but here and by themselves: a
tenth of the judging clicks tells them apart, and all of them would cost as much as the main job.
"""

import numpy as np
from numpy.typing import NDArray

from streamrec.models.sessions.candidate_kernel import METHODS
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.training.logs import ClickLog, SessionRows
from streamrec.shop.judging import JudgedClicks, K, Verdict, newest_before, ranks_among

EVERY = 10  # one in so many of the clicks that judge
_CHUNK = 64  # clicks between two times of learning


def judge_methods(
    untrained: SessionRecommender, log: ClickLog, clicks: JudgedClicks, asking: NDArray[np.bool_]
) -> dict[str, Verdict]:
    """The verdict on each of METHODS, on an index that begins as `untrained` is, and learns.

    `log` and `clicks` are the same n clicks in the order in which they arrived; `asking` (n,) says
    which of them ask for a recommendation.
    """
    numbers = untrained.items.numbers(log.items, None, add=True)
    rows = SessionRows(log, numbers)
    before = newest_before(clicks.users, asking)
    judging = np.flatnonzero(before >= 0)[::EVERY]
    judging = judging[np.argsort(before[judging], kind="stable")]
    asked = before[judging]
    methods = {name: untrained.alone(name) for name in METHODS}
    ranks = {name: [np.empty(0, np.int64)] for name in METHODS}
    for first in range(0, len(log), _CHUNK):
        end = min(first + _CHUNK, len(log))
        begin, stop = np.searchsorted(asked, [first, end])
        if begin < stop:
            sessions = rows.sessions(asked[begin:stop])
            targets = numbers[judging[begin:stop]]
            for name, method in methods.items():
                ranks[name].append(ranks_among(method.recommend(sessions, K).items, targets))
        untrained.learn(rows.sessions(slice(first, end)))
    return {name: Verdict.of(np.concatenate(found)) for name, found in ranks.items()}
