"""Examples become a model that is served with its preprocessing, judged by the newest of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from streamrec.models.learning.examples import TooFewExamples, examples_of
from streamrec.models.learning.fit import Trained, fit
from streamrec.models.learning.measures import auc, best_threshold, of_chances
from streamrec.models.serving.files import file_predictor
from tests.models.learning.people import people, recipe

KINDS = ("linear", "lightgbm", "hist_gradient_boosting")
FEW: dict[str, dict[str, Any]] = {
    "linear": {},
    "lightgbm": {"rounds": 20},
    "hist_gradient_boosting": {"max_iter": 10},
}


def trained(kind: str, **keys: Any) -> Trained:
    said = recipe(kind, **keys, model={"kind": kind, "parameters": FEW[kind]})
    rows, labels = people(400)
    return fit(said, examples_of(said, rows, labels))


def served(made: Trained, folder: Path) -> Any:
    for name, content in made.files.items():
        (folder / name).write_bytes(content)
    return file_predictor(folder / "people.toml")


@pytest.mark.parametrize("kind", KINDS)
def test_a_fitted_model_serves_nulls_and_categories_that_it_never_saw(
    kind: str, tmp_path: Path
) -> None:
    predictor = served(trained(kind), tmp_path)
    answers = predictor.predict(
        [{}, {"work": "never seen", "town": "z", "age": 40}, people(1)[0][0]]
    )
    for answer in answers:
        assert answer["rich"] in ("no", "yes")
        assert sum(answer["chances"].values()) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_examples_give_equal_bytes(kind: str) -> None:
    assert trained(kind).files == trained(kind).files


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_served_was_learned_and_predicts_as_the_metrics_say(
    kind: str, tmp_path: Path
) -> None:
    made = trained(kind)
    assert made.metrics["auc"] > 0.75
    rows, labels = people(400, seed=2)
    answers = served(made, tmp_path).predict(rows)
    chances = [answer["chances"]["yes"] for answer in answers]
    assert roc_auc_score(labels, chances) > 0.75
    threshold = made.about["threshold"]
    assert all(
        (answer["rich"] == "yes") == (c >= threshold)
        for answer, c in zip(answers, chances, strict=True)
    )


def test_crossed_columns_find_what_two_categories_say_together() -> None:
    rng = np.random.default_rng(1)
    rows = [
        {"work": str(rng.choice(["x", "y"])), "town": str(rng.choice(["a", "b"]))}
        for _ in range(600)
    ]
    labels = [float((row["work"] == "x") == (row["town"] == "a")) for row in rows]
    alone, crossed = (
        fit(said, examples_of(said, rows, labels)).metrics["accuracy"]
        for said in (recipe(), recipe(preprocess={"crossed": [["work", "town"]]}))
    )
    assert alone < 0.7
    assert crossed == 1.0


def test_validation_is_by_time_and_training_knows_nothing_of_it() -> None:
    said = recipe()
    rows, labels = people(400)
    turned = [1.0 - label for label in labels[320:]]  # the newest fifth says the opposite
    made = fit(said, examples_of(said, rows, labels[:320] + turned, times_ms=range(1000, 1400)))
    assert made.metrics["auc"] < 0.3
    assert made.about["validated"] == {"examples": 80, "from_ms": 1320, "until_ms": 1399}
    assert made.about["trained"] == {"examples": 400, "from_ms": 1000, "until_ms": 1399}


def test_one_label_only_is_told() -> None:
    said = recipe()
    with pytest.raises(TooFewExamples, match=r"each of the labels no, yes .* got no only"):
        fit(said, examples_of(said, people(20)[0], [0.0] * 20))


def test_a_row_that_does_not_fit_is_left_out() -> None:
    said = recipe()
    rows, labels = people(3)
    rows[1]["age"] = "old"
    assert len(examples_of(said, rows, labels)) == 2


def test_a_number_is_learned_where_there_are_no_labels(tmp_path: Path) -> None:
    for kind in KINDS:
        said = recipe(kind, output={"name": "years"}, model={"kind": kind, "parameters": FEW[kind]})
        rows, _ = people(300)
        made = fit(said, examples_of(said, rows, [2.0 * row["hours"] for row in rows]))
        assert made.metrics["rmse"] < 15.0  # of numbers from 0 to 118
        (folder := tmp_path / kind).mkdir()
        answer = served(made, folder).predict([{"hours": 30}])[0]
        assert answer["years"] == pytest.approx(60.0, abs=25.0)


def test_measures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    second = np.round(rng.random(200), 1)  # with ties
    labels = (rng.random(200) < second).astype(np.float64)
    weights = rng.random(200)
    found = of_chances(np.stack([1 - second, second], 1), labels, weights)
    assert found["auc"] == pytest.approx(roc_auc_score(labels, second, sample_weight=weights))
    clipped = np.clip(second, 1e-15, 1 - 1e-15)
    assert found["log_loss"] == pytest.approx(
        log_loss(labels, clipped, sample_weight=weights), rel=1e-6
    )
    assert auc(second, np.ones(200, bool), weights) is None


def test_the_threshold_is_the_best_of_all() -> None:
    rng = np.random.default_rng(4)
    chances = rng.random(100)
    labels = rng.random(100) < chances**3
    ones = np.ones(100)
    found = best_threshold(chances, labels, ones, "accuracy")
    of_found = ((chances >= found) == labels).mean()
    assert of_found == max(((chances >= each) == labels).mean() for each in np.linspace(0, 1, 500))
