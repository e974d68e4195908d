"""Trained files beside a description: loaded without running anything, a batch in one call."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import skops.io
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from streamrec.models.loading import BadModel
from streamrec.models.serving.contract import Fault
from streamrec.models.serving.files import FilePredictor, file_predictor
from streamrec.models.serving.loading import load_predictor
from streamrec.schemas.columns import Bytes, Numbers, strings
from streamrec.schemas.reasons import Reason
from tests.models.serving.asking import answers

IRIS = """
name = "iris"
description = "Two kinds of flowers."
version = "1.2"
inputs = [
    {name = "length", type = "number", min = 0},
    {name = "width", type = "number", nullable = true},
]
[output]
name = "species"
labels = ["setosa", "virginica"]
probability = "probability"
"""

ADULT = """
[[inputs]]
name = "age"
type = "integer"
min = 0
max = 120
[[inputs]]
name = "work"
type = "category"
categories = ["none", "state"]
unseen = "pass"
nullable = true
[[inputs]]
name = "married"
type = "boolean"
nullable = true
[output]
name = "income"
labels = ["<=50K", ">50K"]
probabilities = "chances"
"""


def _numbers() -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(1)
    matrix = rng.normal(3.0, 1.0, (200, 2))
    matrix[::7, 1] = np.nan
    return matrix, (matrix[:, 0] > 3).astype(int)


def _people() -> tuple[NDArray[Any], NDArray[Any]]:
    rows = [[20 + i, ["none", "state", None][i % 3], float(i % 2)] for i in range(60)]
    return np.array(rows, object), np.array([">50K" if i > 30 else "<=50K" for i in range(60)])


@pytest.fixture
def iris(tmp_path: Path) -> Path:
    matrix, kinds = _numbers()
    pipeline = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    skops.io.dump(pipeline.fit(matrix, kinds), tmp_path / "iris.skops")
    (tmp_path / "iris.toml").write_text(IRIS)
    return tmp_path / "iris.skops"


@pytest.fixture
def adult(tmp_path: Path) -> Path:
    matrix, incomes = _people()
    columns = ColumnTransformer(
        [
            ("numbers", SimpleImputer(), [0, 2]),
            ("text", OneHotEncoder(handle_unknown="ignore"), [1]),
        ]
    )
    pipeline = make_pipeline(columns, LogisticRegression()).fit(matrix, incomes)
    skops.io.dump(pipeline, tmp_path / "adult.skops")
    (tmp_path / "adult.toml").write_text(ADULT)
    return tmp_path / "adult.skops"


def test_a_skops_pipeline_is_served_by_its_path_or_its_description(iris: Path) -> None:
    predictor = load_predictor("iris.skops", folder=iris.parent)
    same = load_predictor("iris.toml", folder=iris.parent)
    assert predictor.metadata == same.metadata
    assert (predictor.metadata.qualified_name, predictor.metadata.version) == ("iris", "1.2")
    asked = [{"length": 1.0, "width": 2.0}, {"length": 9, "width": None}, {"length": 9}]
    found = answers(predictor, asked)
    assert [each["species"] for each in found] == ["setosa", "virginica", "virginica"]
    assert found[1] == found[2]
    assert all(0.5 <= each["probability"] <= 1 for each in found)


def test_a_batch_is_one_call(iris: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = file_predictor(iris)
    calls: list[int] = []
    ask = predictor._engine.ask

    def counted(matrix: Any) -> Any:
        calls.append(len(matrix))
        return ask(matrix)

    monkeypatch.setattr(predictor._engine, "ask", counted)
    answers(predictor, [{"length": 1.0}] * 50)
    assert calls == [50]


def test_wrong_fields_are_named_and_the_others_answered(iris: Path) -> None:
    predictor = file_predictor(iris)
    good, low, missing, text = answers(
        predictor,
        [{"length": 1.0, "more": 1}, {"length": -1}, {"width": 1}, {"length": 1, "width": "w"}],
    )
    assert good["species"] == "setosa"
    assert low.message == "$.length expected at least 0.0, got -1"
    assert missing.message == "$.length expected a value, got nothing"
    assert text.message == "$.width expected a number or null, got 'w'"


def test_unseen_categories_and_nulls_have_an_answer(adult: Path) -> None:
    predictor = file_predictor(adult)
    unseen, null, absent, seen = answers(
        predictor,
        [
            {"age": 30, "work": "moon", "married": True},
            {"age": 30, "work": None, "married": None},
            {"age": 30},
            {"age": 80, "work": "state", "married": False},
        ],
    )
    assert unseen["income"] in ("<=50K", ">50K")
    assert null == absent
    assert seen["income"] == ">50K"
    assert sum(seen["chances"].values()) == pytest.approx(1)


def test_an_unseen_category_may_be_refused(adult: Path) -> None:
    text = ADULT.replace('unseen = "pass"', "")
    (adult.parent / "adult.toml").write_text(text)
    (fault,) = answers(file_predictor(adult), [{"age": 1, "work": "moon"}])
    assert fault.message == "$.work expected one of ['none', 'state', None], got 'moon'"


def test_a_pipeline_that_was_fitted_with_names_is_asked_by_places(
    adult: Path, tmp_path: Path
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    matrix, incomes = _people()
    names = ["age", "work", "married"]
    table = pyarrow.table({name: matrix[:, i].tolist() for i, name in enumerate(names)})
    columns = ColumnTransformer(
        [
            ("numbers", SimpleImputer(), ["age", "married"]),
            ("text", OneHotEncoder(handle_unknown="ignore"), ["work"]),
        ]
    )
    pipeline = make_pipeline(columns, LogisticRegression()).fit(table, incomes)
    skops.io.dump(pipeline, adult)
    asked = [{"age": 80, "work": "state", "married": False}, {"age": 20, "work": "none"}]
    assert [each["income"] for each in answers(file_predictor(adult), asked)] == [">50K", "<=50K"]
    (tmp_path / "adult.toml").write_text(ADULT.replace('"age"', '"years"'))
    with pytest.raises(BadModel, match="expected the inputs age, work, married in this order"):
        file_predictor(adult)


def _columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    ages = [row.get("age", 0) for row in rows]
    married = [row.get("married") for row in rows]
    return {
        "age": Numbers(np.array(ages, np.int64)),
        "work": strings([row.get("work") for row in rows]),
        "married": Numbers(
            np.array([bool(m) for m in married]), np.array([m is not None for m in married])
        ),
    }


def _text(column: Any) -> list[str]:
    assert isinstance(column, Bytes)
    return [column.bytes_at(row).decode() for row in range(len(column))]


def test_columns_are_answered_as_the_same_rows_are(adult: Path) -> None:
    predictor = file_predictor(adult)
    rng = np.random.default_rng(3)
    rows = [
        {
            "age": int(rng.integers(-10, 150)),
            "work": [None, "none", "state", "moon"][rng.integers(4)],
            "married": [None, True, False][rng.integers(3)],
        }
        for _ in range(60)
    ]
    by_rows = answers(predictor, rows)
    columns, faults = predictor.predict_columns(_columns(rows), len(rows))
    incomes = _text(columns["income"])
    chances = columns["chances.>50K"]
    assert isinstance(chances, Numbers)
    assert faults and len(faults) < len(rows)
    for row, answer in enumerate(by_rows):
        if isinstance(answer, Fault):
            assert faults[row] == answer
        else:
            assert incomes[row] == answer["income"]
            assert chances.values[row] == pytest.approx(answer["chances"][">50K"])


def test_columns_that_are_missing_or_not_finite_are_faults(iris: Path) -> None:
    predictor = file_predictor(iris)
    lengths = Numbers(np.array([1.0, np.nan, 2.0]), np.array([True, True, False]))
    columns, faults = predictor.predict_columns({"length": lengths}, 3)
    assert [faults[row].message for row in (1, 2)] == [
        "$.length expected a finite number, got nan",
        "$.length expected a number, got None",
    ]
    species = columns["species"]
    assert isinstance(species, Numbers)  # an enum's place: Avro allows these labels
    assert species.values[0] == 0
    _, faults = predictor.predict_columns({}, 3)
    assert sorted(faults) == [0, 1, 2]
    assert faults[0].message == "$.length expected a value, got nothing"


def test_types_that_are_not_trusted_are_refused_by_name(tmp_path: Path, iris: Path) -> None:
    matrix, kinds = _numbers()
    trees = DecisionTreeClassifier(max_depth=2).fit(matrix, kinds)
    skops.io.dump(trees, iris)
    with pytest.raises(BadModel, match=r"types that are trusted, got sklearn\.tree\._tree\.Tree"):
        file_predictor(iris)
    (tmp_path / "iris.toml").write_text('trust = ["sklearn.tree._tree.Tree"]\n' + IRIS)
    assert answers(file_predictor(iris), [{"length": 9.0, "width": 1.0}])[0]["species"]
    (tmp_path / "iris.toml").write_text('trust = ["os.system"]\n' + IRIS)
    with pytest.raises(BadModel, match=r"trust expected types of sklearn, numpy, scipy, got os"):
        file_predictor(iris)


def _evil(matrix: Any) -> Any:
    raise AssertionError("code of a file was run")


def test_code_in_a_file_is_refused_and_not_run(iris: Path) -> None:
    skops.io.dump(make_pipeline(FunctionTransformer(_evil), LinearRegression()), iris)
    with pytest.raises(BadModel, match="_evil"):
        file_predictor(iris)


def _lightgbm(path: Path, classes: int) -> None:
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(300, 2))
    matrix[:, 1] = rng.integers(0, 3, 300)
    target = (matrix[:, 1] + (matrix[:, 0] > 0)).astype(int) % max(classes, 1)
    objective = {0: "regression", 2: "binary"}.get(classes, "multiclass")
    parameters: dict[str, Any] = {"objective": objective, "verbosity": -1, "num_threads": 1}
    if classes > 2:
        parameters["num_class"] = classes
    data = lightgbm.Dataset(matrix, target if classes else matrix[:, 0], categorical_feature=[1])
    lightgbm.train(parameters, data, num_boost_round=8).save_model(path)


TREES = """
inputs = [
    {name = "x", type = "number"},
    {name = "kind", type = "category", categories = ["a", "b", "c"], unseen = "pass"},
]
[output]
"""


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_a_lightgbm_model_answers_numbers_or_labels(tmp_path: Path, classes: int) -> None:
    _lightgbm(tmp_path / "trees.txt", classes)
    labels = ["l0", "l1", "l2"][:classes]
    output = 'name = "y"\n' + (f'labels = {labels}\nprobability = "p"\n' if classes else "")
    (tmp_path / "trees.toml").write_text(TREES + output)
    predictor = file_predictor(tmp_path / "trees.txt")
    booster = lightgbm.Booster(model_file=tmp_path / "trees.txt")
    rows = [{"x": 0.5, "kind": "b"}, {"x": -0.5, "kind": "c"}, {"x": 0.1, "kind": "moon"}]
    raw: Any = booster.predict(np.array([[0.5, 1.0], [-0.5, 2.0], [0.1, np.nan]]))
    found = answers(predictor, rows)
    if classes == 0:
        assert [each["y"] for each in found] == pytest.approx(raw.tolist())
        return
    chances = np.column_stack([1 - raw, raw]) if classes == 2 else raw
    assert [each["y"] for each in found] == [labels[each] for each in chances.argmax(axis=1)]
    assert [each["p"] for each in found] == pytest.approx(chances.max(axis=1).tolist())


def test_a_threshold_decides_between_two_labels(tmp_path: Path) -> None:
    _lightgbm(tmp_path / "trees.txt", 2)
    text = TREES + 'name = "y"\nlabels = ["no", "yes"]\nthreshold = 0.001\n'
    (tmp_path / "trees.toml").write_text(text)
    rows = [{"x": each, "kind": "a"} for each in (-1.0, 1.0)]
    found = answers(file_predictor(tmp_path / "trees.toml"), rows)
    assert [each["y"] for each in found] == ["yes", "yes"]


Change = Callable[[str], str]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.replace("[output]", "[[output"), "expected TOML"),
        (lambda t: t.replace('"number"', '"float"', 1), "inputs[0].type: Input should be 'number'"),
        (
            lambda t: t.replace('"1.2"', '"new"'),
            "version expected major.minor, as '1.0', got 'new'",
        ),
        (lambda t: t + "threshold = 7\n", "output.threshold: Input should be less than 1"),
        (lambda t: t.replace('"iris"', '"my iris"'), "name expected letters, digits, - and _"),
        (lambda t: t.replace('"width"', '"length"'), "inputs expected each name once"),
        (
            lambda t: t.replace('type = "number", nullable', 'type = "string", nullable'),
            "answer the row",
        ),
        (lambda t: t.replace('"virginica"', '"virginica", "third"'), "names of the 2 classes 0, 1"),
        (
            lambda t: t.replace('{name = "width", type = "number", nullable = true},', ""),
            "expected 2 inputs in its description, got 1",
        ),
    ],
)
def test_a_description_that_does_not_fit_is_refused(iris: Path, change: Change, said: str) -> None:
    iris.with_suffix(".toml").write_text(change(IRIS))
    with pytest.raises(BadModel) as told:
        file_predictor(iris)
    assert said in str(told.value)


def test_what_is_missing_is_told(tmp_path: Path, iris: Path) -> None:
    for name, said in (
        ("none.skops", "expected a file, found none"),
        ("none.toml", "expected its description"),
    ):
        with pytest.raises(BadModel, match=said):
            load_predictor(name, folder=tmp_path)
    iris.write_bytes(b"no zip")
    with pytest.raises(BadModel, match="expected a skops file"):
        file_predictor(iris)
    iris.rename(tmp_path / "iris.txt")
    with pytest.raises(BadModel, match="expected LightGBM's text format, got 'no zip'"):
        file_predictor(tmp_path / "iris.txt")
    (tmp_path / "iris.txt").unlink()
    with pytest.raises(BadModel, match="expected one trained file of its name beside it"):
        file_predictor(tmp_path / "iris.toml")


class _Fails:
    labels: tuple[str, ...] = ("setosa", "virginica")
    codes_categories = False

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def ask(self, matrix: Any) -> Any:
        if (matrix[:, 0] == 7).any():
            raise ValueError("seven")
        return self._inner.ask(matrix)


def test_a_row_that_the_model_fails_on_is_alone_in_that(iris: Path) -> None:
    predictor = file_predictor(iris)
    failing = FilePredictor.__new__(FilePredictor)
    failing.__dict__.update(predictor.__dict__)
    failing._engine = _Fails(predictor._engine)
    lengths = Numbers(np.array([1.0, 7.0, 9.0]))
    columns, faults = failing.predict_columns({"length": lengths}, 3)
    assert list(faults) == [1]
    assert faults[1].reason is Reason.MODEL_FAILED
    species = columns["species"]
    assert isinstance(species, Numbers)
    assert species.values.tolist() == [0, 0, 1]
