import numpy as np
import pytest

from streamrec.models.contract import Ranker
from streamrec.models.rankers.online import OnlineRanker
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.sessions.weights import Bounds, Weights
from streamrec.models.training.logs import ClickLog, SessionRows
from streamrec.models.training.rows import RowsMaker, learn_rows, questions_between
from streamrec.models.training.train import TrainingSettings, retrain, train
from streamrec.models.training.tuning import quality
from tests.models.session_logs import made_log, sessions_of

LOG = made_log(500, 60, seed=7)
QUICK = TrainingSettings(budget_minutes=0.1, threads=1)


@pytest.fixture(scope="module")
def trained() -> SessionRecommender:
    return train(LOG, settings=QUICK)


def test_rows_do_not_depend_on_what_comes_after_their_block() -> None:
    """The same rows come out when everything from the block's end on is another shop's."""
    made = []
    for future in (60, 17):
        other = made_log(500, future, seed=future)
        half = len(LOG) // 2
        log = ClickLog(
            np.concatenate([LOG.sessions[:half], other.sessions[:half] + 10_000]),
            np.concatenate([LOG.items[:half], other.items[:half] + 1_000]),
            np.concatenate([LOG.times_ms[:half], LOG.times_ms[:half] + 10**9]),
        )
        model = SessionRecommender()
        rows = SessionRows(log, model.items.numbers(log.items, None, add=True))
        learn_rows(model, rows, 0, half - 400)
        asked = questions_between(rows, half - 400, half, np.random.default_rng(0), 50)
        maker = RowsMaker(model)
        maker.ask(rows.judged(asked))
        made.append(maker.rows())
    assert made[0].features().tobytes() == made[1].features().tobytes()
    assert made[0].labels.sum() == len(made[0].groups)


def test_questions_are_of_sessions_that_begin_in_the_block() -> None:
    rows = SessionRows(LOG, LOG.items.astype(np.int32))
    asked = questions_between(rows, 300, 700, np.random.default_rng(0), 10_000)
    assert len(asked) > 50
    for row in asked.tolist():
        assert 300 <= np.flatnonzero(LOG.sessions == LOG.sessions[row])[0] <= row < 700


def test_questions_are_of_all_sessions_where_few_begin_in_the_block() -> None:
    log = ClickLog(np.tile(np.arange(50), 10), np.arange(500), np.arange(500))
    rows = SessionRows(log, log.items.astype(np.int32))
    asked = questions_between(rows, 100, 200, np.random.default_rng(0), 10_000)
    assert asked.tolist() == list(range(100, 200))


def test_equal_seeds_train_equal_models(trained: SessionRecommender) -> None:
    again = train(LOG, settings=QUICK)
    asked = sessions_of([[1, 2], [3], []])
    assert again.weights == trained.weights
    for one, other in zip(
        (again.recommend(asked, 9).scores, again.recommend(asked, 9).items),
        (trained.recommend(asked, 9).scores, trained.recommend(asked, 9).items),
        strict=True,
    ):
        assert one.tobytes() == other.tobytes()


def test_the_ranker_beats_popularity_on_later_sessions(trained: SessionRecommender) -> None:
    later = made_log(700, 60, seed=7)[slice(len(LOG), None)]
    assert (later.sessions >= 500).all()
    rows = SessionRows(later, trained.items.numbers(later.items, None, add=False), 1 << 40)
    judged = rows.judged(rows.judged_rows())
    assert quality(trained, judged) > quality(trained.alone("popular"), judged) + 0.3


def test_a_short_log_gives_the_blend() -> None:
    model = train(made_log(20, 10, seed=0), settings=QUICK)
    assert model.ranker is None
    assert (model.recommend(sessions_of([[0]]), 3).items >= 0).all()


def test_trees_are_grown_anew_from_a_window_of_the_stream(trained: SessionRecommender) -> None:
    before = trained.recommend(sessions_of([[1, 2]]), 5)
    ranker = retrain(LOG[slice(len(LOG) // 5, None)], trained, settings=QUICK)
    assert ranker is not None
    assert trained.recommend(sessions_of([[1, 2]]), 5).scores.tobytes() == before.scores.tobytes()
    trained_again = trained.alone(*trained.methods)
    trained_again.ranker = ranker
    assert (trained_again.recommend(sessions_of([[1, 2]]), 5).items >= 0).all()


def test_user_features_reach_the_ranker() -> None:
    """The session alone does not tell which of two items is next; a feature of the user does."""
    rng = np.random.default_rng(0)
    taste = rng.integers(0, 2, 900)
    items = np.stack([np.zeros(900, np.int64), 1 + taste], axis=1).ravel()
    log = ClickLog(np.repeat(np.arange(900), 2), items, np.arange(1_800) * 1_000)
    values = np.repeat(taste, 2).astype(np.float32)[:, None]
    model = train(
        log, settings=QUICK, weights=Weights(), user_features=("taste",), user_values=values
    )
    assert model.info.features[-1] == "taste"
    asked = sessions_of([[0], [0]])
    asked = type(asked)(
        asked.keys,
        asked.items,
        asked.times_ms,
        asked.bounds,
        asked.positions,
        np.array([[0.0], [1.0]], np.float32),
    )
    numbers = model.items.numbers(np.array([0, 1, 2]), None, add=False)
    assert numbers.tolist() == [0, 1, 2] or len(set(numbers.tolist())) == 3
    # One taste is not a feature of a candidate, so trees can only use it beside one that is:
    # the inputs are there and of the right values, which is what is checked here.
    proposed = model.candidates(asked)
    assert proposed.features[0, proposed.items[0] >= 0, -1].tolist() == [0.0] * 3
    assert proposed.features[1, proposed.items[1] >= 0, -1].tolist() == [1.0] * 3


def test_too_many_items_for_the_bounds_are_named() -> None:
    with pytest.raises(ValueError, match="items_max expected at least the log's 60 items, got 9"):
        train(LOG, bounds=Bounds(items_max=9))


def test_unknown_ranker_is_named() -> None:
    with pytest.raises(ValueError, match=r"ranker expected one of .* got 'oracle'"):
        train(LOG, ranker="oracle")


def test_online_ranker_learns_what_is_taken() -> None:
    rng = np.random.default_rng(0)
    ranker: Ranker = OnlineRanker(5)
    for _ in range(300):
        features = rng.normal(size=(10, 5)).astype(np.float32)
        ranker.learn(features, features[:, 2] == features[:, 2].max())
    features = rng.normal(size=(200, 5)).astype(np.float32)
    assert np.corrcoef(ranker.scores(features), features[:, 2])[0, 1] > 0.9


def test_online_scores_are_rivers_own() -> None:
    rng = np.random.default_rng(1)
    ranker = OnlineRanker(4)
    for _ in range(50):
        ranker.learn(rng.exponential(5.0, (6, 4)).astype(np.float32), np.arange(6) == 2)
    rows = rng.exponential(5.0, (20, 4)).astype(np.float32)
    squashed = np.log1p(rows.astype(np.float32)).astype(np.float64)
    expected = [
        ranker._model.predict_proba_one(
            ranker._scaler.transform_one(dict(enumerate(row)))  # type: ignore[no-untyped-call]
        )[True]
        for row in squashed.tolist()
    ]
    np.testing.assert_allclose(1 / (1 + np.exp(-ranker.scores(rows))), expected, rtol=1e-4)
