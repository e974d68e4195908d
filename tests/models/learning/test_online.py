"""The online learner: predicts before it learns, goes on exactly, and is served as it predicts."""

import json
from pathlib import Path

import numpy as np
import pytest
from river import drift

from streamrec.models.learning.adwin import Adwin
from streamrec.models.learning.online import OnlineLearner
from streamrec.models.loading import BadModel
from streamrec.models.serving.files import file_predictor
from tests.models.learning.people import people, recipe

CROSSED = {"crossed": [["work", "town"]]}


def learned(n: int, learner: OnlineLearner, seed: int = 1) -> list[float]:
    rows, labels = people(n, seed)
    return [learner.learn(row, label) for row, label in zip(rows, labels, strict=True)]


def test_its_weights_are_served_with_the_chances_that_it_predicts_itself(tmp_path: Path) -> None:
    learner = OnlineLearner(recipe(preprocess=CROSSED))
    learned(500, learner)
    for name, content in learner.files(0.4).items():
        (tmp_path / name).write_bytes(content)
    rows = [*people(100, seed=2)[0], {}, {"work": "never seen", "age": 1e9}, {"town": "a"}]
    answers = file_predictor(tmp_path / "people.linear").predict(rows)
    for row, answer in zip(rows, answers, strict=True):
        assert isinstance(answer, dict)
        assert answer["chances"]["yes"] == pytest.approx(learner.predict(row), abs=1e-9)
        assert (answer["rich"] == "yes") == (answer["chances"]["yes"] >= 0.4)


def test_it_predicts_before_it_learns() -> None:
    learner = OnlineLearner(recipe())
    learned(50, learner)
    row = people(1, seed=3)[0][0]
    before = learner.predict(row)
    assert learner.learn(row, 1.0) == before
    assert learner.predict(row) > before


def test_it_goes_on_from_plain_values_exactly() -> None:
    whole, stopped = (
        OnlineLearner(recipe(preprocess=CROSSED)),
        OnlineLearner(recipe(preprocess=CROSSED)),
    )
    learned(200, whole)
    learned(200, stopped)
    state = json.loads(json.dumps(stopped.state()))
    resumed = OnlineLearner.restored(recipe(preprocess=CROSSED), state)
    assert learned(200, resumed, seed=2) == learned(200, whole, seed=2)
    assert resumed.files(None) == whole.files(None)


def test_it_learns_the_rule_behind_the_labels() -> None:
    learner = OnlineLearner(recipe(preprocess=CROSSED))
    found = np.array(learned(3_000, learner)[2_000:])
    labels = np.array(people(3_000)[1][2_000:])
    assert np.abs(found - labels).mean() < 0.35  # 0.5 of one who knows nothing


def test_values_beyond_the_bound_are_not_learned() -> None:
    learner = OnlineLearner(recipe(preprocess={"max_categories": 5}))
    for number in range(50):
        learner.learn({"town": f"t{number}"}, 1.0)
    assert len(learner.weights()["texts"]["town"]["weights"]) == 5


def test_trees_are_refused() -> None:
    with pytest.raises(BadModel, match=r"expected model.kind 'linear'"):
        OnlineLearner(recipe("lightgbm"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "expected JSON of weights"),
        ('{"format": "streamrec-linear/2", "link": "logistic"}', "format"),
        ('{"format": "streamrec-linear/1", "link": "identity"}', "labels expected no names, got 2"),
        (
            '{"format": "streamrec-linear/1", "link": "logistic", "numbers": {"town": {}}}',
            "numbers expected names of age, hours, got town",
        ),
        (
            '{"format": "streamrec-linear/1", "link": "logistic", "intercept": NaN}',
            "intercept",
        ),
        (
            '{"format": "streamrec-linear/1", "link": "logistic", '
            '"crossed": [{"names": ["work", "town"], "weights": [["x", 1.0]]}]}',
            "crossed expected 2 values and a weight",
        ),
    ],
)
def test_a_broken_file_of_weights_is_refused(text: str, told: str, tmp_path: Path) -> None:
    files = OnlineLearner(recipe()).files(None)
    (tmp_path / "people.toml").write_bytes(files["people.toml"])
    (tmp_path / "people.linear").write_text(text)
    with pytest.raises(BadModel, match=told):
        file_predictor(tmp_path / "people.linear")


def test_drift_is_found_where_river_finds_it() -> None:
    found = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        values = (rng.random(3_000) < np.r_[np.full(1_500, 0.2), np.full(1_500, 0.4)]) * 1.0
        ours, theirs = Adwin(), drift.ADWIN()  # type: ignore[no-untyped-call]
        at = next((n for n, v in enumerate(values) if ours.update(v)), None)
        their_at = None
        for number, value in enumerate(values.tolist()):
            theirs.update(value)  # type: ignore[no-untyped-call]
            if theirs.drift_detected:
                their_at = number
                break
        found.append((at, their_at))
    assert all(ours is not None and ours == theirs for ours, theirs in found), found


def test_an_error_that_falls_is_no_drift_and_state_goes_on() -> None:
    rng = np.random.default_rng(1)
    values = (rng.random(3_000) < np.r_[np.full(1_500, 0.5), np.full(1_500, 0.1)]) * 1.0
    whole, resumed = Adwin(), Adwin()
    for value in values:
        resumed = Adwin.restored(json.loads(json.dumps(resumed.state())))
        assert not whole.update(value)
        assert not resumed.update(value)
    assert whole.state() == resumed.state()
    assert whole.width < 2_500  # what was before has left the window
