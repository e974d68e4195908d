"""Our own models on a stream."""

from pathlib import Path

import numpy as np
import pytest

from streamrec.models.checks import made_sessions
from streamrec.models.loading import BadModel
from streamrec.models.propensity import PROPENSITY_FILE, load_propensity, read_features
from streamrec.models.serving.loading import load_predictor
from streamrec.models.sessions.model import SessionModel
from streamrec.models.sessions.recommender import SessionRecommender
from tests.models.serving.asking import answers


def test_propensity_scores_counts_as_the_flow_does() -> None:
    predictor = load_predictor("streamrec:propensity")
    features = read_features(PROPENSITY_FILE)
    counts = {name: float(place) for place, name in enumerate(features)}
    (answer, same, missing) = answers(predictor, [counts, counts, {}])
    model = load_propensity(PROPENSITY_FILE, features)
    wanted = model.scores(np.array([list(counts.values())], np.float32), np.array([0]))
    assert answer == same == {"score": wanted[0].item()}
    assert missing.message == f"$.{features[0]} expected a value, got nothing"


def _artifact(folder: Path) -> Path:
    """Trained on sessions in which i1, i2, i3, ... follow each other."""
    recommender = SessionRecommender()
    model = SessionModel(recommender)
    for number in range(40):
        items = [f"i{1 + (number + step) % 9}" for step in range(4)]
        for length in range(1, 5):
            model.learn(made_sessions([items[:length]], [number]))
    recommender.save(folder)
    return folder


def test_a_recommender_answers_items_best_first_and_learns_nothing(tmp_path: Path) -> None:
    _artifact(tmp_path / "trained")
    predictor = load_predictor("trained", folder=tmp_path)
    asked = [
        {"items": ["i1", "i2"], "k": 3},
        {"items": []},
        {"items": ["never seen"], "k": 1},
        {"items": ["i5"] * 60, "k": 5},
    ]
    first = answers(predictor, asked)
    assert [len(each["items"]) for each in first] == [3, 9, 1, 5]
    assert first[0]["items"][0]["item_id"] == "i3"
    for answer in first:
        scores = [each["score"] for each in answer["items"]]
        assert scores == sorted(scores, reverse=True)
        assert len({each["item_id"] for each in answer["items"]}) == len(scores)
    assert answers(predictor, asked) == first
    assert [answers(predictor, [each])[0] for each in asked] == first
    assert "knows 9 items" in predictor.metadata.description


def test_the_recommender_that_is_shipped_knows_no_items() -> None:
    assert load_predictor("streamrec:recommender").predict([{"items": ["i1"]}]) == [{"items": []}]


def test_what_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="expected streamrec:propensity or streamrec:recommender"):
        load_predictor("streamrec:magic")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadModel, match="expected a model artifact"):
        load_predictor("empty", folder=tmp_path)
