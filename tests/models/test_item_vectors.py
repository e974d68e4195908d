"""Item vectors against the eigenvectors of the same matrix, worked out densely."""

import copy

import numpy as np
import pytest
from numpy.typing import NDArray

from streamrec.models.sessions.candidate_kernel import FEATURES, VECTOR_DECAY
from streamrec.models.sessions.index_state import (
    AFTER,
    BEFORE,
    CLICKS,
    COUNT,
    PAIR_START,
    PAIRS,
    State,
)
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.sessions.vectors import DIMENSIONS, SWEEPS, Vectors, step
from streamrec.models.sessions.weights import Bounds
from streamrec.models.training.logs import ClickLog
from tests.models.session_logs import learn_log, made_log, sessions_of

N_ITEMS = 80


@pytest.fixture(scope="module")
def model() -> SessionRecommender:
    model = SessionRecommender()
    learn_log(model, made_log(3_000, N_ITEMS, seed=4))
    return model


def information(state: State) -> NDArray[np.float64]:
    """The matrix of `models.sessions.vectors`, from what the index keeps."""
    matrix = np.zeros((N_ITEMS, N_ITEMS))
    for owner in range(N_ITEMS):
        start, count = state.blocks[owner, PAIR_START], state.blocks[owner, PAIRS]
        for place in range(start, start + count):
            item = state.pair_items[place]
            near = state.pair_values[place, AFTER] + state.pair_values[place, BEFORE]
            clicks = state.stats[owner, COUNT] * state.stats[item, COUNT]
            if item != owner:
                matrix[owner, item] = max(0.0, np.log(near * state.counters[CLICKS] / clicks))
    return matrix


def cosines(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(unit @ unit.T, np.float64)


def kept(vectors: Vectors) -> NDArray[np.float32]:
    return vectors.current[:N_ITEMS] * vectors.scale[:N_ITEMS, None]


def test_vectors_are_the_leading_eigenvectors_times_their_eigenvalues(
    model: SessionRecommender,
) -> None:
    state = model.index.state
    # Of its own: a step writes into the arrays it is given.
    vectors = copy.deepcopy(model.index.vectors)
    for _ in range(300):  # on a state that stands still, until it has converged
        vectors = step(state, vectors)
    matrix = information(state)
    symmetric = np.abs(matrix - matrix.T).max() < 1e-3  # no block of pairs was full
    assert symmetric
    values, columns = np.linalg.eigh(matrix)
    leading = np.argsort(-np.abs(values))[:DIMENSIONS]
    expected = cosines(columns[:, leading] * values[leading])
    np.testing.assert_allclose(cosines(kept(vectors)), expected, atol=0.02)


def test_vectors_learned_click_by_click_are_close_to_those(model: SessionRecommender) -> None:
    values, columns = np.linalg.eigh(information(model.index.state))
    leading = np.argsort(-np.abs(values))[:DIMENSIONS]
    expected = cosines(columns[:, leading] * values[leading])
    got = cosines(kept(model.index.vectors))
    assert np.corrcoef(expected.ravel(), got.ravel())[0, 1] > 0.99


def test_inputs_are_cosines_with_the_last_item_and_the_faded_mean(
    model: SessionRecommender,
) -> None:
    query = [3, -1, 7, 12]
    proposed = model.candidates(sessions_of([query]))
    unit = kept(model.index.vectors).astype(np.float64)
    mean = sum(
        VECTOR_DECAY**back * unit[item] for back, item in enumerate([12, 7, 3])
    )  # an unknown item is no step
    for name, question in (("vector_last", unit[12]), ("vector_session", mean)):
        found = proposed.items[0] >= 0
        expected = cosines(np.vstack([question, unit[proposed.items[0, found]]]))[0, 1:]
        got = proposed.features[0, found, FEATURES.index(name)]
        np.testing.assert_allclose(got, expected, atol=1e-5, err_msg=name)


def test_an_item_has_a_vector_one_sweep_after_its_first_pair(model: SessionRecommender) -> None:
    state, vectors = model.index.state, model.index.vectors
    assert vectors.progress[SWEEPS] > 50
    assert (vectors.scale[:N_ITEMS] > 0).all()
    assert (vectors.scale[N_ITEMS:] == 0).all()
    young = SessionRecommender()
    young.items.numbers(np.arange(2), None, add=True)
    for end in (1, 2):
        young.learn(sessions_of([[0, 1][:end]], [5]))
    assert (young.index.vectors.scale == 0).all()
    names = [FEATURES.index(name) for name in ("vector_last", "vector_session")]
    features = young.candidates(sessions_of([[0]])).features
    assert (features[0][:, names] == 0).all() and np.isfinite(features).all()
    after = step(young.index.state, young.index.vectors)
    assert (after.scale[:2] > 0).all()
    assert len(state.stats) == len(vectors.scale)


def test_a_number_that_stands_for_another_item_has_no_vector_of_the_old_one() -> None:
    model = SessionRecommender(Bounds(items_max=20, sessions_max=64, posts_max=64, pairs_max=32))
    learn_log(model, made_log(200, 20, seed=5))
    number = int(model.items.numbers(np.array([900]), None, add=True)[0])
    assert model.index.vectors.scale[number] == 0
    others = [item for item in range(20) if item != number]
    assert (model.index.vectors.scale[others] > 0).all()


@pytest.mark.parametrize("single_clicks", [10, 300])
def test_visitors_who_click_once_do_not_keep_vectors_from_coming(single_clicks: int) -> None:
    """The first sweeps find no pair, or pairs of a few items only."""
    model = SessionRecommender()
    model.items.numbers(np.arange(N_ITEMS), None, add=True)
    for visitor in range(single_clicks):
        model.learn(sessions_of([[visitor % N_ITEMS]], [1_000_000 + visitor]))
    learn_log(model, made_log(3_000, N_ITEMS, seed=4))
    values, columns = np.linalg.eigh(information(model.index.state))
    leading = np.argsort(-np.abs(values))[:DIMENSIONS]
    expected = cosines(columns[:, leading] * values[leading])
    got = cosines(kept(model.index.vectors))
    assert np.corrcoef(expected.ravel(), got.ravel())[0, 1] > 0.99


def test_a_part_of_the_shop_that_opens_later_has_vectors_too() -> None:
    """Nothing joins its items to those before."""
    model = SessionRecommender()
    learn_log(model, made_log(1_000, 40, seed=4))
    log = made_log(1_000, 40, seed=6)
    learn_log(model, ClickLog(log.sessions + 10_000, log.items + 100, log.times_ms))
    assert (model.index.vectors.scale[:80] > 0).all()
    unit = kept(model.index.vectors)
    across, within = unit[:40] @ unit[40:80].T, unit[40:80] @ unit[40:80].T
    assert np.abs(across).mean() < 0.2 * np.abs(within).mean()
