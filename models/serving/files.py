"""A trained file as a predictor: a skops pipeline, a LightGBM text model, an ONNX file, or weights.

Beside `iris.skops` (`.txt`, `.lgb`, `.onnx`, `.linear`) stands `iris.toml`, a description; either
names the model. Only what is in the description is known of inputs and outputs:

    name = "iris"                  # of topics; default: the name of the description's file
    display_name = "Iris species"  # default: the name
    description = "What kind of iris a flower is."
    version = "1.0"                # major.minor; default: 1.0
    file = "iris.skops"            # default: the one of the same name beside it
    trust = []                     # skops only, see below

    [[inputs]]                     # one for each feature, in the order in which it was trained
    name = "sepal_length"
    type = "number"                # number, integer, boolean, string or category
    description = "cm"
    min = 0.0                      # numbers and integers only
    max = 30.0
    nullable = true                # may be null or left out: a missing value; default: false

    [[inputs]]
    name = "workclass"
    type = "category"
    categories = ["Private", "State-gov"]   # those it was trained with; in the order of codes
    unseen = "pass"                # another: "refuse" (the default) makes it an error of the
                                   # record, "pass" hands it to the model

    [output]
    name = "species"               # field of the label, or of the number
    labels = ["setosa", "versicolor", "virginica"]  # in the order of the model's classes
    probability = "probability"    # optional: field of the chance of the label that was chosen
    probabilities = "chances"      # optional: field of an object, the chance of each label
    threshold = 0.5                # of two labels: the second from this chance on

`names = ["x", "y"]` in the place of `name` is for models that answer with several numbers. Without
`labels` the answer is a number; a classifier whose classes are text has its labels itself.

**What the model gets.** One call for a batch, with a matrix of one row for each input: float64
where no input is text, else of objects. A missing number or boolean is NaN, missing text None;
booleans are 1.0 and 0.0. Fields that are not described are left out.

- *skops*: text as it is. Unseen categories are what the pipeline makes of them
  (`OneHotEncoder(handle_unknown="ignore")`), and so is None (`SimpleImputer(missing_values=None)`).
  Nothing of the file is executed: of its types only those are loaded that skops itself trusts, some
  more that hold data (`trained.sklearn_file`), and those of scikit-learn, NumPy and SciPy that
  `trust` names, as `sklearn.tree._tree.Tree`; any other is refused by its name.
- *LightGBM* and *ONNX*: a category is its place in `categories` (the code), NaN where it is missing
  or unseen; there is no other text. ONNX needs `streamrec[onnx]`.
- *linear*: JSON of weights, with the scaling of numbers (`trained.linear_file`); text as it is.

How many inputs, and their names where the file has names, are checked when it is loaded; so is one
row, of the lowest numbers and first categories that are allowed, which the model must answer.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streamrec.models.loading import BadModel
from streamrec.models.serving.calling import CallPredictor, raised
from streamrec.models.serving.checking import checker_of
from streamrec.models.serving.contract import Answer, Fault, Input
from streamrec.models.serving.trained.answers import AnswerShape
from streamrec.models.serving.trained.description import Description, InputField, described_file
from streamrec.models.serving.trained.engine import Engine, Found
from streamrec.models.serving.trained.matrix import Features
from streamrec.schemas.columns import Columns, Numbers
from streamrec.schemas.reasons import Reason
from streamrec.user_code import told


class FilePredictor:
    """A trained file that was checked against its description."""

    def __init__(self, description: Description, engine: Engine) -> None:
        self.metadata = description.metadata(engine.labels)
        self._engine = engine
        self._features = Features(description.inputs, engine.codes_categories)
        self._answers = AnswerShape(description.output, engine.labels)
        self._by_rows = CallPredictor(
            self.metadata,
            lambda row: self._ask_rows([row])[0],
            self._ask_rows,
            inputs=checker_of(self.metadata.input_schema),
            outputs=checker_of(self.metadata.output_schema, is_output=True),
        )

    def predict(self, inputs: Sequence[Input]) -> list[Answer | Fault]:
        """As the contract says."""
        return self._by_rows.predict(inputs)

    def _ask_rows(self, rows: list[Any]) -> list[dict[str, Any]]:
        return self._answers.as_dicts(self._engine.ask(self._features.of_rows(rows)))

    def predict_columns(self, columns: Columns, count: int) -> tuple[Columns, dict[int, Fault]]:
        """As the contract says. A string of a closed set whose names Avro allows is a column of
        places in that set, as Avro's enums are."""
        matrix, rows, faults = self._features.of_columns(columns, count)
        try:
            made = self._answers.as_columns(self._engine.ask(matrix), rows, count)
        except BaseException as error:  # noqa: BLE001  # the file's own, and one row at a time
            if len(rows) > 1:
                return self._one_by_one(matrix, rows, faults, count)
            fault = raised(self.metadata.qualified_name, error)
            return self._empty(count), {**faults, **dict.fromkeys(rows.tolist(), fault)}
        for name, column in made.items():
            if isinstance(column, Numbers) and column.values.dtype.kind == "f":
                for row in np.flatnonzero(~np.isfinite(column.values)).tolist():
                    got = column.values[row].item()
                    message = f"answer $.{name} expected a finite number, got {got!r}"
                    faults.setdefault(row, Fault(Reason.OUTPUT_INVALID, message))
        return made, faults

    def _one_by_one(
        self, matrix: Any, rows: Any, faults: dict[int, Fault], count: int
    ) -> tuple[Columns, dict[int, Fault]]:
        found: list[Found] = []
        good = []
        for place, row in enumerate(rows.tolist()):
            try:
                found.append(self._engine.ask(matrix[place : place + 1]))
            except BaseException as error:  # noqa: BLE001  # the file's own
                faults[row] = raised(self.metadata.qualified_name, error)
            else:
                good.append(row)
        if not good:
            return self._empty(count), faults
        parts = zip(*found, strict=True)
        joined = Found(*(None if part[0] is None else np.concatenate(part) for part in parts))
        return self._answers.as_columns(joined, np.array(good, np.int64), count), faults

    def _empty(self, count: int) -> Columns:
        """Columns of no meaning, where no row has an answer."""
        nothing = np.zeros(0, np.int64)
        labels = len(self._engine.labels)
        numbers = np.zeros((0, len(self.metadata.output_schema["properties"])))  # type: ignore[index]
        empty = (
            Found(chosen=nothing, chances=np.zeros((0, labels)))
            if labels
            else Found(numbers=numbers)
        )
        return self._answers.as_columns(empty, nothing, count)


def file_predictor(path: Path) -> FilePredictor:
    """The predictor of a trained file, or of its description. Raises BadModel."""
    trained, description = described_file(path)
    predictor = FilePredictor(description, _engine(trained, description))
    answers = predictor._by_rows  # asked below as any record is
    probe = {each.name: _lowest(each) for each in description.inputs}
    try:
        predictor._ask_rows([probe, probe])
    except Exception as error:  # whatever the file's model raises
        raise BadModel(f"{trained} expected to answer the row {probe}: {told(error)}") from error
    found = answers.predict([probe])[0]
    if isinstance(found, Fault):
        raise BadModel(f"{trained} expected to answer the row {probe}: {found.message}")
    return predictor


def _engine(path: Path, description: Description) -> Engine:
    if path.suffix == ".skops":
        from streamrec.models.serving.trained.sklearn_file import SklearnEngine

        return SklearnEngine(path, description)
    if path.suffix in (".txt", ".lgb"):
        from streamrec.models.serving.trained.lightgbm_file import LightgbmEngine

        return LightgbmEngine(path, description)
    if path.suffix == ".onnx":
        from streamrec.models.serving.trained.onnx_file import OnnxEngine

        return OnnxEngine(path, description)
    if path.suffix == ".linear":
        from streamrec.models.serving.trained.linear_file import LinearEngine

        return LinearEngine(path, description)
    raise BadModel(f"{path} expected .skops, .txt, .lgb, .onnx or .linear, got {path.suffix!r}")


def _lowest(field: InputField) -> Any:
    if field.is_text:
        return field.categories[0] if field.categories else ""
    if field.type == "boolean":
        return False
    low = field.min if field.min is not None else min(0.0, field.max or 0.0)
    return int(-(-low // 1)) if field.type == "integer" else low


__all__ = ["FilePredictor", "file_predictor"]
