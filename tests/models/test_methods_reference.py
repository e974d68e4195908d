"""Each method's kernel against a plain implementation of what its documentation says."""

import math
from collections import defaultdict

import numpy as np
import pytest

from streamrec.models.sessions.candidate_kernel import FEATURES
from streamrec.models.sessions.index_state import (
    AFTER,
    BEFORE,
    FADED,
    NEXT,
    PAIR_START,
    PAIRS,
    SHORT,
)
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.sessions.weights import Weights
from tests.models.session_logs import item_lists, learn_lists, made_log, sessions_of

WEIGHTS = Weights(
    recency_sessions=50.0,
    idf_power=1.3,
    query_decay=0.5,
    after_decay=0.7,
    before_decay=0.4,
    before_weight=0.3,
    suffix_bonus=2.0,
    rule_decay=0.5,
    short_clicks=40.0,
    pair_clicks=60.0,
)
QUERIES = [[3], [3, 7], [1, 2, 3], [5, 5, 2], [0, 9, 4, 9], [8, 1, 1, 6, 2]]


@pytest.fixture(scope="module")
def lists() -> list[list[int]]:
    return item_lists(made_log(60, 12, seed=3))


@pytest.fixture(scope="module")
def model(lists: list[list[int]]) -> SessionRecommender:
    model = SessionRecommender(weights=WEIGHTS)
    learn_lists(model, lists)
    return model


def scores(model: SessionRecommender, query: list[int], feature: str) -> dict[int, float]:
    proposed = model.candidates(sessions_of([query]))
    column = proposed.features[0, :, FEATURES.index(feature)]
    return {
        item: value
        for item, value in zip(proposed.items[0].tolist(), column.tolist(), strict=True)
        if item >= 0 and value != 0
    }


def distinct_newest_first(query: list[int]) -> list[int]:
    return list(dict.fromkeys(reversed(query)))


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_knn_is_the_weighted_vote_of_sessions_that_share_items(
    model: SessionRecommender, lists: list[list[int]], query: list[int]
) -> None:
    """VSTAN and VMIS-kNN by their definitions, over all sessions."""
    newest = distinct_newest_first(query)
    expected: dict[int, float] = defaultdict(float)
    for number, session in enumerate(lists):
        shared = [place for place, item in enumerate(newest) if item in session]
        if not shared:
            continue
        similarity = sum(
            0.5**place
            * math.log(1 + len(lists) / sum(newest[place] in each for each in lists)) ** 1.3
            for place in shared
        )
        # The recency table is stepped: its rows are 1/64 of the memory apart.
        recency = math.exp(-int((len(lists) - number) * 64 / 50) / 64)
        matched = max(at for at, item in enumerate(session) if item == newest[shared[0]])
        for at, item in enumerate(session):
            weight = 0.7 ** (at - matched - 1) if at > matched else 0.3 * 0.4 ** (matched - at)
            expected[item] += similarity * recency * weight
    assert scores(model, query, "knn_recent_raw") == pytest.approx(dict(expected), rel=1e-4)


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_suffix_counts_what_followed_the_last_item(
    model: SessionRecommender, lists: list[list[int]], query: list[int]
) -> None:
    expected: dict[int, float] = defaultdict(float)
    for number, session in enumerate(lists):
        recency = math.exp(-int((len(lists) - number) * 64 / 50) / 64)
        for at in range(1, len(session)):
            if session[at - 1] == query[-1]:
                longer = at > 1 and len(query) > 1 and session[at - 2] == query[-2]
                expected[session[at]] += recency * (3.0 if longer else 1.0)
    assert scores(model, query, "suffix_raw") == pytest.approx(dict(expected), rel=1e-4)


def reference_pairs(lists: list[list[int]]) -> dict[tuple[int, int], list[float]]:
    """By (owner, item): sums of 1/distance after and before, times right after, faded sum."""
    clicks = sum(len(each) for each in lists)
    pairs: dict[tuple[int, int], list[float]] = defaultdict(lambda: [0.0] * 4)
    clock = 0
    for session in lists:
        for at, item in enumerate(session):
            clock += 1
            faded = math.exp((clock - clicks) / 60.0)
            met = set()
            for distance in range(1, min(at, 5) + 1):
                other = session[at - distance]
                if other in met:
                    continue
                met.add(other)
                pairs[other, item][AFTER] += 1 / distance
                pairs[other, item][NEXT] += distance == 1
                pairs[other, item][FADED] += faded / distance
                if other != item:
                    pairs[item, other][BEFORE] += 1 / distance
                    pairs[item, other][FADED] += faded / distance
    return pairs


def test_pairs_are_sums_of_inverse_distances(
    model: SessionRecommender, lists: list[list[int]]
) -> None:
    state = model.index.state
    held = {}
    for owner in range(len(model.items)):
        start = state.blocks[owner, PAIR_START]
        for place in range(start, start + state.blocks[owner, PAIRS]):
            values = state.pair_values[place].tolist()
            values[FADED] /= state.growth[2]
            held[owner, int(state.pair_items[place])] = values
    expected = reference_pairs(lists)
    assert held.keys() == expected.keys()
    for pair, values in expected.items():
        assert held[pair] == pytest.approx(values, rel=1e-4), pair


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_rules_and_near_add_up_the_pairs_of_the_last_items(
    model: SessionRecommender, lists: list[list[int]], query: list[int]
) -> None:
    pairs = reference_pairs(lists)
    rules: dict[int, float] = defaultdict(float)
    near: dict[int, float] = defaultdict(float)
    for place, owner in enumerate(distinct_newest_first(query)[:5]):
        for (first, item), values in pairs.items():
            if first == owner:
                rules[item] += 0.5**place * values[AFTER]
                near[item] += 0.5**place * (values[AFTER] + values[BEFORE])
    positive = {item: value for item, value in rules.items() if value > 0}
    assert scores(model, query, "rules_raw") == pytest.approx(positive, rel=1e-4)
    assert scores(model, query, "near_raw") == pytest.approx(dict(near), rel=1e-4)


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_two_hops_follow_the_strongest_pairs_of_the_last_item(
    model: SessionRecommender, lists: list[list[int]], query: list[int]
) -> None:
    pairs = reference_pairs(lists)
    count = {item: sum(each.count(item) for each in lists) for item in range(12)}
    strength = {
        item: values[AFTER] + 0.5 * values[BEFORE]
        for (owner, item), values in pairs.items()
        if owner == query[-1]
    }
    floor = sorted(strength.values(), reverse=True)[: WEIGHTS.hops][-1]
    if sum(value >= floor - 1e-6 for value in strength.values()) > WEIGHTS.hops:
        pytest.skip("a tie at the cut: which of the equal pairs is followed is not specified")
    expected: dict[int, float] = defaultdict(float)
    for middle, weight in strength.items():
        if weight >= floor:
            for (owner, item), values in pairs.items():
                if owner == middle:
                    step = values[AFTER] + 0.5 * values[BEFORE]
                    expected[item] += weight / count[middle] * step
    assert scores(model, query, "two_hop_raw") == pytest.approx(dict(expected), rel=1e-4)


def test_popularity_fades_by_the_clicks_since(
    model: SessionRecommender, lists: list[list[int]]
) -> None:
    flat = [item for each in lists for item in each]
    expected = np.zeros(12)
    for clock, item in enumerate(flat, start=1):
        expected[item] += math.exp((clock - len(flat)) / 40.0)
    held = model.index.state.stats[:12, SHORT] / model.index.state.growth[0]
    np.testing.assert_allclose(held, expected, rtol=1e-9)
    alone = model.alone("popular").recommend(sessions_of([[]]), 12)
    assert alone.items[0].tolist() == np.argsort(-expected).tolist()


def test_repeats_are_the_session_from_its_end(model: SessionRecommender) -> None:
    ranking = model.alone("repeat").recommend(sessions_of([[4, 2, 4, 7]]), 5)
    assert ranking.items[0].tolist() == [7, 4, 2, -1, -1]


def test_rescaling_the_faded_weights_changes_no_score() -> None:
    lists = item_lists(made_log(300, 12, seed=5))
    fast = Weights(short_clicks=20.0, long_clicks=20.0, pair_clicks=20.0)  # rescales at 690 clicks
    model = SessionRecommender(weights=fast)
    learn_lists(model, lists)
    flat = [item for each in lists for item in each]
    assert len(flat) > 1_000
    expected = np.zeros(12)
    for clock, item in enumerate(flat, start=1):
        expected[item] += math.exp((clock - len(flat)) / 20.0)
    held = model.index.state.stats[:12, SHORT] / model.index.state.growth[0]
    np.testing.assert_allclose(held, expected, rtol=1e-9, atol=1e-12)
