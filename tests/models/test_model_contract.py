"""The battery that every model passes: each method alone, the blend, and the blend with each
ranker. A new method or ranker joins by its name being listed where the models are made."""

from pathlib import Path

import numpy as np
import pytest

from streamrec.models.sessions.candidate_kernel import METHODS
from streamrec.models.sessions.numbered import Candidates, NumberedRanking, NumberedSessions
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.sessions.weights import Bounds
from streamrec.models.training.fitting import RANKERS
from streamrec.models.training.logs import ClickLog, SessionRows
from streamrec.models.training.train import TrainingSettings, train
from tests.models.session_logs import learn_log, made_log, sessions_of

SMALL = Bounds(items_max=500, sessions_max=256, posts_max=64, pairs_max=32)
LOG = made_log(400, 60, seed=1)
LATER = made_log(60, 60, seed=2)
ASKED = [[3], [5, 9, 5], [], [-1], [-1, 7], [2, -1, 4], [11] * 7, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]
NAMES = (*METHODS, "blend", *RANKERS)


@pytest.fixture(scope="module")
def rankers() -> dict[str, SessionRecommender]:
    settings = TrainingSettings(budget_minutes=0.1, threads=1)
    return {kind: train(LOG, bounds=SMALL, settings=settings, ranker=kind) for kind in RANKERS}


@pytest.fixture(params=NAMES)
def model(
    request: pytest.FixtureRequest, rankers: dict[str, SessionRecommender]
) -> SessionRecommender:
    """A model that has learned LOG and shares nothing with those of other tests."""
    return made(request.param, rankers)


def made(name: str, rankers: dict[str, SessionRecommender]) -> SessionRecommender:
    methods = (name,) if name in METHODS else METHODS
    ranker = rankers[name].ranker if name in RANKERS else None
    model = SessionRecommender(SMALL, ranker=ranker, methods=methods)
    learn_log(model, LOG)
    return model


def same(one: NumberedRanking | Candidates, other: NumberedRanking | Candidates) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in one.__slots__)


def state_of(model: SessionRecommender) -> dict[str, bytes]:
    arrays = {**model.index.arrays(), **{f"item {n}": a for n, a in model.items.state().items()}}
    return {name: array.tobytes() for name, array in arrays.items()}


def later(model: SessionRecommender) -> NumberedSessions:
    rows = SessionRows(LATER, model.items.numbers(LATER.items, None, add=True), 10_000)
    return rows.sessions(slice(0, len(rows)))


def test_predicting_changes_nothing(model: SessionRecommender) -> None:
    before = state_of(model)
    first = model.recommend(sessions_of(ASKED), 10)
    assert same(model.recommend(sessions_of(ASKED), 10), first)
    assert same(model.candidates(sessions_of(ASKED)), model.candidates(sessions_of(ASKED)))
    assert state_of(model) == before


def test_answers_have_the_shapes_and_order_of_the_contract(model: SessionRecommender) -> None:
    ranking = model.recommend(sessions_of(ASKED), 10)
    assert ranking.items.shape == ranking.scores.shape == ranking.methods.shape == (8, 10)
    for items, scores, methods in zip(ranking.items, ranking.scores, ranking.methods, strict=True):
        count = int((items >= 0).sum())
        assert (items[:count] >= 0).all() and (items[count:] == -1).all()
        assert len(set(items[:count].tolist())) == count
        assert (np.diff(scores[:count]) <= 0).all()
        assert (methods[:count] > 0).all() and (methods < 1 << len(METHODS)).all()


def test_a_batch_says_what_its_sessions_say_alone(model: SessionRecommender) -> None:
    lists = [ASKED[place % len(ASKED)] for place in range(150)]
    together = model.recommend(sessions_of(lists), 7)
    for row in range(0, 150, 11):
        alone = model.recommend(sessions_of([lists[row]]), 7)
        assert alone.items[0].tolist() == together.items[row].tolist()
        # A matrix product may add in another order for another number of rows.
        np.testing.assert_allclose(alone.scores[0], together.scores[row], rtol=1e-5)


def test_unknown_items_are_passed_over(model: SessionRecommender) -> None:
    candidates = [model.candidates(sessions_of([each])) for each in ([7], [-1, 7], [99_999, 7])]
    expected = set(candidates[0].items[0].tolist())
    for proposed in candidates:
        assert set(proposed.items[0].tolist()) == expected


def test_learning_in_one_batch_equals_learning_click_by_click(
    rankers: dict[str, SessionRecommender], model: SessionRecommender
) -> None:
    methods = model.methods
    other = SessionRecommender(SMALL, ranker=model.ranker, methods=methods)
    rows = SessionRows(LOG, other.items.numbers(LOG.items, None, add=True))
    for row in range(len(rows)):
        other.learn(rows.sessions(slice(row, row + 1)))
    vectors = (other.index.vectors._asdict(), model.index.vectors._asdict())
    assert all(vectors[0][name].tobytes() == array.tobytes() for name, array in vectors[1].items())
    assert same(other.recommend(sessions_of(ASKED), 10), model.recommend(sessions_of(ASKED), 10))


def test_saved_model_says_the_same_and_resumes_exactly(
    model: SessionRecommender, tmp_path: Path
) -> None:
    model.save(tmp_path)
    loaded = SessionRecommender.load(tmp_path)
    assert loaded.info.version != "untrained"
    assert same(model.recommend(sessions_of(ASKED), 10), loaded.recommend(sessions_of(ASKED), 10))
    model.learn(later(model))
    loaded.learn(later(loaded))
    assert state_of(model) == state_of(loaded)
    assert same(model.recommend(sessions_of(ASKED), 10), loaded.recommend(sessions_of(ASKED), 10))


def test_a_session_of_5000_clicks_is_learned_and_asked(model: SessionRecommender) -> None:
    items = [place % 60 for place in range(5_000)]
    for end in range(1, 5_001, 1):
        kept = items[max(0, end - 50) : end]
        session = sessions_of([kept], [77])
        model.learn(
            NumberedSessions(
                session.keys,
                session.items,
                session.times_ms,
                session.bounds,
                np.array([end], np.int32),
                session.user_features,
            )
        )
    ranking = model.recommend(sessions_of([items], [77]), 10)
    assert ranking.items.shape == (1, 10)
    assert model.index.state.lines.shape[0] <= SMALL.sessions_max


def test_repeated_items_are_proposed_once(model: SessionRecommender) -> None:
    ranking = model.recommend(sessions_of([[11] * 20]), 20)
    items = [item for item in ranking.items[0].tolist() if item >= 0]
    assert len(items) == len(set(items))


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_give_equal_outputs(name: str, rankers: dict[str, SessionRecommender]) -> None:
    one, other = made(name, rankers), made(name, rankers)
    assert state_of(one) == state_of(other)
    assert same(one.recommend(sessions_of(ASKED), 10), other.recommend(sessions_of(ASKED), 10))


def test_memory_is_bounded_while_sessions_and_items_come_and_go() -> None:
    model = SessionRecommender(SMALL)
    sizes = []
    rng = np.random.default_rng(0)
    for part in range(40):
        log = made_log(300, 200, seed=part)
        keys = log.items + 100 * part  # new items all the time, 200 at once
        log = ClickLog(log.sessions, keys, log.times_ms)
        # Numbers in batches as the flow does, so that dropping happens between learning.
        for first in range(0, len(log), 100):
            batch = log[slice(first, first + 100)]
            rows = SessionRows(batch, model.items.numbers(batch.items, None, add=True), part << 20)
            model.learn(rows.sessions(slice(0, len(rows))))
        asked = [rng.integers(0, len(model.items), 3).tolist() for _ in range(5)]
        ranking = model.recommend(sessions_of(asked), 10)
        assert (ranking.items < len(model.items)).all()
        sizes.append(model.bytes_used)
    assert len(model.items) == SMALL.items_max
    assert max(sizes[15:]) <= 1.6 * sizes[15]


def test_a_dropped_item_is_not_recommended_under_its_number() -> None:
    bounds = Bounds(items_max=20, sessions_max=64, posts_max=64, pairs_max=32)
    model = SessionRecommender(bounds)
    first = model.items.numbers(np.arange(20), None, add=True)
    for key in range(5):
        model.learn(sessions_of([[int(first[0])]], [key]))
        model.learn(sessions_of([[int(first[0]), int(first[1])]], [key]))
    # Item 1 is dropped: 19 others are seen after it, then one that is new.
    model.items.numbers(np.delete(np.arange(20), 1), None, add=True)
    new = model.items.numbers(np.array([900]), None, add=True)
    assert new[0] == first[1]
    asked = sessions_of([[int(first[0])]])
    for name in ("knn", "rules", "near", "popular", "suffix"):
        assert first[1] not in model.alone(name).recommend(asked, 10).items, name
    model.learn(sessions_of([[int(first[0])]], [50]))
    model.learn(sessions_of([[int(first[0]), int(new[0])]], [50]))
    for name in ("knn", "rules", "near", "popular", "suffix"):
        assert new[0] in model.alone(name).recommend(asked, 10).items, name
    pairs = model.alone("rules").candidates(asked)
    column = model.info.features.index("after_last")
    # One click learned with the new item: nothing is left of the five with the old one.
    assert pairs.features[0, pairs.items[0].tolist().index(int(new[0])), column] == 1.0


def test_own_session_is_no_neighbour_of_itself() -> None:
    model = SessionRecommender()
    model.items.numbers(np.arange(3), None, add=True)
    for end in range(1, 4):
        model.learn(sessions_of([[0, 1, 2][:end]], [5]))
    knn = model.alone("knn")
    assert (knn.recommend(sessions_of([[0, 1]], [5]), 5).items == -1).all()
    assert 2 in knn.recommend(sessions_of([[0, 1]], [6]), 5).items


def test_new_shop_recommends_after_its_first_click() -> None:
    model = SessionRecommender()
    assert (model.recommend(sessions_of([[], [-1]]), 3).items == -1).all()
    number = model.items.numbers(np.array([42]), None, add=True)
    model.learn(sessions_of([[int(number[0])]], [1]))
    assert model.recommend(sessions_of([[], [-1]]), 3).items[:, 0].tolist() == [0, 0]


def test_user_features_that_were_not_asked_for_are_passed_over_and_missing_ones_named() -> None:
    asked = sessions_of([[1]])
    wide = NumberedSessions(
        asked.keys,
        asked.items,
        asked.times_ms,
        asked.bounds,
        asked.positions,
        np.ones((1, 30), np.float32),
    )
    model = SessionRecommender()
    learn_log(model, LOG)
    assert same(model.candidates(wide), model.candidates(asked))
    choosy = SessionRecommender(user_features=("age", "basket"))
    learn_log(choosy, LOG)
    with pytest.raises(ValueError, match=r"user_features expected the 2 columns .* got 30"):
        choosy.candidates(wide)
