import lightgbm
import numpy as np
import pytest
from numpy.typing import NDArray

from streamrec.models.artifact import BadArtifact
from streamrec.models.rankers.trees import TreeRanker, rounded_down


def booster(leaves: int, categories: bool = False) -> tuple[lightgbm.Booster, NDArray[np.float32]]:
    rng = np.random.default_rng(leaves)
    features = rng.normal(size=(3_000, 9)).astype(np.float32)
    features[:, 3] = rng.integers(0, 5, 3_000)
    labels = features[:, 0] * features[:, 1] + (features[:, 3] == 2) > rng.normal(size=3_000)
    data = lightgbm.Dataset(
        features,
        labels.astype(np.int32),
        group=np.full(30, 100),
        categorical_feature=[3] if categories else [],
    )
    options = {"objective": "lambdarank", "num_leaves": leaves, "verbose": -1, "num_threads": 1}
    return lightgbm.train(options, data, 20), features


@pytest.mark.parametrize("leaves", [2, 3, 17, 31, 32])
def test_scores_are_lightgbms_own(leaves: int) -> None:
    trees, features = booster(leaves)
    ranker = TreeRanker.parse(trees.model_to_string())
    expected = trees.predict(features)
    np.testing.assert_allclose(ranker.scores(features), expected, rtol=1e-4, atol=1e-5)
    queries = features[:2_880].reshape(30, 96, 9)
    np.testing.assert_array_equal(ranker.scores(queries).ravel(), ranker.scores(features)[:2_880])
    by_feature = np.ascontiguousarray(queries.transpose(0, 2, 1)).transpose(0, 2, 1)
    np.testing.assert_array_equal(ranker.scores(by_feature), ranker.scores(queries))


def test_values_at_a_threshold_go_the_way_lightgbm_sends_them() -> None:
    trees, _ = booster(31)
    ranker = TreeRanker.parse(trees.model_to_string())
    at = np.tile(ranker.thresholds[:, None], (1, 9))
    rows = np.concatenate([at, np.nextafter(at, np.float32(np.inf))]).astype(np.float32)
    np.testing.assert_allclose(ranker.scores(rows), trees.predict(rows), rtol=1e-4, atol=1e-5)


def test_thresholds_are_rounded_down() -> None:
    values = np.array([0.1, 1.0, -0.1, 1e-30, 16777217.0])
    rounded = rounded_down(values)
    assert (rounded.astype(np.float64) <= values).all()
    assert (np.nextafter(rounded, np.float32(np.inf)).astype(np.float64) > values).all()


def test_trees_that_masks_cannot_hold_are_refused() -> None:
    with pytest.raises(BadArtifact, match="at most 32 leaves, got 4"):
        TreeRanker.parse(booster(40)[0].model_to_string())
    with pytest.raises(BadArtifact, match="numeric splits, got categories"):
        TreeRanker.parse(booster(8, categories=True)[0].model_to_string())
    with pytest.raises(BadArtifact, match="expected 'max_feature_idx'"):
        TreeRanker.parse("not a model")


def test_wrong_number_of_features_is_named() -> None:
    ranker = TreeRanker.parse(booster(4)[0].model_to_string())
    with pytest.raises(ValueError, match="expected 9 columns, got 5"):
        ranker.scores(np.zeros((3, 5), np.float32))


def test_trees_do_not_learn_online() -> None:
    ranker = TreeRanker.parse(booster(4)[0].model_to_string())
    with pytest.raises(TypeError, match="do not learn online"):
        ranker.learn(np.zeros((1, 9), np.float32), np.zeros(1, np.bool_))
