"""A class that somebody else wrote, who knows only the list of attributes."""

import sys
from pathlib import Path

import pytest

from streamrec.models.loading import BadModel
from streamrec.models.serving.contract import Fault, Raw
from streamrec.models.serving.loading import load_predictor, predictors_named
from streamrec.schemas.reasons import Reason
from tests.models.serving.asking import answers

MODELS = '''
"""A stranger's module, and it is called models.py."""
from schema import Schema, Or
import helper_of_mine

class Iris:
    display_name = "Iris"
    qualified_name = "iris"
    description = "Species of a flower."
    major_version = 1
    minor_version = "0"
    input_schema = Schema({"sepal_length": float, "petal_length": float})
    output_schema = Schema({"species": Or("setosa", "virginica")})

    def __init__(self):
        self._cut = helper_of_mine.CUT

    def predict(self, data):
        if data["sepal_length"] == 99.0:
            raise SystemExit("leaving")
        if data["sepal_length"] == 98.0:
            return {"species": "tulip"}
        if data["sepal_length"] == 97.0:
            return [1, 2]
        return {"species": "setosa" if data["petal_length"] < self._cut else "virginica"}

class Batched(Iris):
    """Two flowers or none."""
    qualified_name = "batched"
    description = None
    def predict_batch(self, rows):
        found = []
        for row in rows:
            found.append(self.predict(row))
            row["sepal_length"] = 0.0
        return found

class Short(Iris):
    def predict_batch(self, rows):
        return [{"species": "setosa"}]

class Several(Iris):
    @property
    def predict_proba_output_schema(self):
        return {"type": "object", "properties": {"p": {"type": "number"}}, "required": ["p"]}
    def predict_proba(self, data):
        return {"p": float("nan") if data["petal_length"] == 0.0 else 0.5}
    def predict_proba_batch(self, rows):
        return ({"p": 0.25} for _ in rows)

class Nothing:
    qualified_name = "not a name"
    major_version = -1
    input_schema = {"type": "strange"}

class Picture:
    """Counts bytes."""
    display_name, qualified_name = "Picture", "picture"
    major_version, minor_version = 2, 7
    content_types = ("image/png", "image/jpeg")
    input_schema = None
    output_schema = {"type": "object"}
    def predict(self, data, content_type):
        return {"bytes": len(data), "type": content_type}

class OneArgument(Picture):
    def predict(self, data, threshold=0.5):
        return {"bytes": len(data)}

class Awaited(Iris):
    async def predict(self, data): ...

class Needs(Iris):
    def __init__(self, path): ...
'''

FLOWER = {"sepal_length": 1.1, "petal_length": 1.3}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "helper_of_mine.py").write_text("CUT = 2.5\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def test_a_class_in_a_folder_with_a_models_py_is_served_by_its_name(folder: Path) -> None:
    iris = load_predictor("models:Iris", folder=folder)
    assert iris.metadata.qualified_name == "iris"
    assert iris.metadata.version == "1.0"
    assert answers(iris, [FLOWER]) == [{"species": "setosa"}]
    assert iris.metadata.input_schema is not None
    assert iris.metadata.input_schema["properties"]["petal_length"] == {"type": "number"}
    assert iris.metadata.output_schema is not None
    assert iris.metadata.output_schema["properties"]["species"] == {"enum": ["setosa", "virginica"]}


def test_modules_of_one_name_in_two_folders_are_two(folder: Path, tmp_path: Path) -> None:
    first = load_predictor("models:Iris", folder=folder)
    other = tmp_path / "other"
    other.mkdir()
    (other / "models.py").write_text("def always(data):\n    return {'is': 'mine'}\n")
    assert load_predictor("models:always", folder=other).predict([{}]) == [{"is": "mine"}]
    assert answers(first, [FLOWER]) == [{"species": "setosa"}]


def test_a_module_called_like_one_of_pythons_is_refused(folder: Path) -> None:
    (folder / "json.py").write_text("def f(data):\n    return {}\n")
    with pytest.raises(BadModel, match="'json' expected another name"):
        load_predictor("json:f", folder=folder)


def test_a_wrong_field_is_named_and_its_neighbours_are_answered(folder: Path) -> None:
    iris = load_predictor("models:Iris", folder=folder)
    found = answers(
        iris, [FLOWER, {**FLOWER, "sepal_length": "long"}, {"petal_length": 5.0}, FLOWER]
    )
    assert found[0] == found[3] == {"species": "setosa"}
    assert found[1] == Fault(Reason.INVALID_VALUE, "$.sepal_length expected a float, got 'long'")
    assert found[2] == Fault(Reason.INVALID_VALUE, "$.sepal_length expected a value, got nothing")


@pytest.mark.parametrize(
    ("sepal", "reason", "said"),
    [
        (99.0, Reason.MODEL_FAILED, "model iris raised SystemExit('leaving') at "),
        (98.0, Reason.OUTPUT_INVALID, "answer $.species expected"),
        (97.0, Reason.OUTPUT_INVALID, "answer $ expected an object, got [1, 2]"),
    ],
)
def test_what_the_model_does_wrong_is_that_records_fault(
    folder: Path, sepal: float, reason: Reason, said: str
) -> None:
    iris = load_predictor("models:Iris", folder=folder)
    good, bad = answers(iris, [FLOWER, {**FLOWER, "sepal_length": sepal}])
    assert good == {"species": "setosa"}
    assert bad.reason is reason
    assert bad.message.startswith(said)
    if reason is Reason.MODEL_FAILED:
        assert bad.exception == "SystemExit"
        assert "models.py" in bad.stacktrace


def test_a_batch_that_raises_is_asked_one_by_one_with_inputs_as_they_were(folder: Path) -> None:
    batched = load_predictor("models:Batched", folder=folder)
    rows = [{**FLOWER, "sepal_length": each} for each in (1.0, 2.0, 99.0, 3.0)]
    found = answers(batched, rows)
    assert [each == {"species": "setosa"} for each in found] == [True, True, False, True]
    assert found[2].exception == "SystemExit"
    assert batched.metadata.description == "Two flowers or none."


def test_a_batch_that_answers_too_few_is_asked_one_by_one(folder: Path) -> None:
    short = load_predictor("models:Short", folder=folder)
    assert answers(short, [FLOWER, {**FLOWER, "petal_length": 9.0}]) == [
        {"species": "setosa"},
        {"species": "virginica"},
    ]


def test_each_predict_method_is_offered_by_its_name(folder: Path) -> None:
    names = predictors_named("models:Several", folder=folder)
    assert names == ["models:Several", "models:Several.predict_proba"]
    assert predictors_named("models:Batched", folder=folder) == ["models:Batched"]
    chances = load_predictor(names[1], folder=folder)
    assert chances.metadata.method == "predict_proba"
    assert answers(chances, [FLOWER]) == [{"p": 0.5}]
    assert answers(chances, [FLOWER, FLOWER]) == [{"p": 0.25}, {"p": 0.25}]
    assert answers(chances, [{**FLOWER, "petal_length": 0.0}]) == [
        Fault(Reason.OUTPUT_INVALID, "answer $.p expected a finite number, got nan")
    ]


def test_all_that_is_missing_is_told_at_once(folder: Path) -> None:
    with pytest.raises(BadModel) as told:
        load_predictor("models:Nothing", folder=folder)
    message = str(told.value)
    for what in (
        "display_name expected text, got none",
        "qualified_name expected letters, digits, - and _ only (it names topics), got 'not a name'",
        "description expected text, got none",
        "major_version expected a whole number >= 0, got -1",
        "minor_version expected a whole number >= 0, got none",
        "input_schema expected a JSON Schema: $.type",
        "output_schema expected a schema (or None), got none",
        "expected predict(data), got none",
    ):
        assert what in message, message


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("models:Awaited", "predict expected a plain function, got an async one"),
        ("models:Needs", "could not be made without arguments: TypeError"),
        ("models:Missing", "expected a class or function 'Missing'"),
        ("models:Iris.predict_more", "expected a predict method 'predict_more', got predict"),
        ("nosuch:Thing", "module 'nosuch' cannot be imported from"),
        ("models:", "expected module:Thing, or a file's path"),
    ],
)
def test_what_is_no_model_is_refused(folder: Path, name: str, said: str) -> None:
    with pytest.raises(BadModel) as told:
        load_predictor(name, folder=folder)
    assert said in str(told.value)


def test_bytes_come_with_their_content_type(folder: Path) -> None:
    picture = load_predictor("models:Picture", folder=folder)
    found = answers(
        picture, [Raw(b"abc", "image/png; q=1"), Raw(b"", ""), Raw(b"a", "text/plain"), {"a": 1}]
    )
    assert found[0] == {"bytes": 3, "type": "image/png; q=1"}
    assert found[1] == {"bytes": 0, "type": ""}
    assert found[2].message == "content-type expected image/png or image/jpeg, got 'text/plain'"
    assert found[3].message == "$ expected bytes, got JSON: {'a': 1}"


def test_a_second_value_with_a_default_is_no_content_type(folder: Path) -> None:
    one = load_predictor("models:OneArgument", folder=folder)
    assert answers(one, [Raw(b"abc", "image/png")]) == [{"bytes": 3}]
