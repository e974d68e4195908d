import numpy as np

from streamrec.models.sessions.candidate_kernel import METHODS
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.training.logs import ClickLog
from streamrec.shop.judging import JudgedClicks, Verdict
from streamrec.shop.judging_methods import EVERY, judge_methods


def test_methods_learn_in_order_and_are_judged_by_what_came_next() -> None:
    # Every user clicks item 1, then 2, then 3. Only the first two clicks ask.
    users = np.repeat(np.arange(200), 3)
    items = np.tile([1, 2, 3], 200)
    log = ClickLog(users, items, 1_760_000_000_000 + 1_000 * np.arange(600))
    asking = items < 3

    found = judge_methods(SessionRecommender(), log, JudgedClicks(users, items), asking)

    assert list(found) == list(METHODS)
    assert {verdict.judged for verdict in found.values()} == {400 // EVERY}
    # Rules know the follower of an item once they have seen it; nobody has clicked twice.
    assert found["rules"].hit_rate > 0.8 and found["rules"].mrr > 0.8
    assert found["repeat"] == Verdict(400 // EVERY, 0.0, 0.0)


def test_nothing_that_asks_is_judged_by_nobody() -> None:
    log = ClickLog(np.zeros(3, np.int64), np.arange(3), np.arange(3))
    nobody = np.zeros(3, np.bool_)

    found = judge_methods(SessionRecommender(), log, JudgedClicks(log.sessions, log.items), nobody)

    assert found == dict.fromkeys(METHODS, Verdict(0, 0.0, 0.0))
