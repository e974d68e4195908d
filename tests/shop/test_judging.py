import numpy as np

from streamrec.schemas.columns import Bytes
from streamrec.shop.judging import (
    Answers,
    JudgedClicks,
    K,
    Verdict,
    judge,
    judge_popularity,
    newest_before,
    numbers_of,
)


def clicks(*pairs: tuple[int, int]) -> JudgedClicks:
    users, items = zip(*pairs, strict=True)
    return JudgedClicks(np.array(users), np.array(items))


def answers(*rows: tuple[int, list[int]]) -> Answers:
    padded = [items + [-1] * (K - len(items)) for _, items in rows]
    return Answers(np.array([click for click, _ in rows]), np.array(padded))


def test_a_click_judges_the_newest_earlier_answer_to_its_user() -> None:
    seen = clicks((1, 10), (2, 20), (1, 11), (1, 12), (2, 21))
    given = answers((0, [99, 11]), (1, [50]), (2, [12]))
    # User 1: 11 stood second, 12 first. User 2: 21 was not there. First clicks judge nothing.
    assert judge(seen, given) == Verdict(3, 2 / 3, (1 / 2 + 1) / 3)


def test_an_answer_is_not_judged_by_the_click_that_asked() -> None:
    assert judge(clicks((1, 10), (2, 10)), answers((0, [10]))) == Verdict(0, 0.0, 0.0)


def test_an_older_answer_serves_until_there_is_a_newer_one() -> None:
    seen = clicks((1, 10), (1, 11), (1, 12))
    assert judge(seen, answers((0, [12]))) == Verdict(2, 0.5, 0.5)


def test_popularity_knows_only_what_was_clicked_before() -> None:
    first = [(user, 7) for user in range(1_000)]
    seen = clicks(*first, (0, 7), (1, 8))
    given = answers(*((n, [1]) for n in range(1_000)))
    assert judge_popularity(seen, given) == Verdict(2, 0.5, 0.5)


def test_numbers_of_names() -> None:
    data = np.frombuffer(b"i17u4i900", np.uint8)
    names = Bytes(data, np.array([0, 3, 5]), np.array([3, 2, 4]))
    assert numbers_of(names).tolist() == [17, 4, 900]


def test_newest_chosen_click_of_the_same_user_before_each() -> None:
    users = np.array([1, 2, 1, 1, 2, 1])
    chosen = np.array([True, False, True, False, True, False])
    assert newest_before(users, chosen).tolist() == [-1, -1, 0, 2, -1, 2]
