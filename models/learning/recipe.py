"""A recipe (`NAME.learn.toml`): how examples become a model. `streamrec learn init` makes one.

name = "adult"
label = "income"                # column of a file; of examples it is their label

[[inputs]]                      # as a trained file's description has them (models.serving.files)
name = "age"
type = "number"
nullable = true

[output]
name = "income"
labels = ["<=50K", ">50K"]      # label 0, label 1, ...; without: the label is a number
probability = "probability"

[preprocess]
crossed = [["education", "occupation"]]

[model]
kind = "linear"                 # linear, lightgbm or hist_gradient_boosting
[model.parameters]
C = 1.0

[search]                        # what Optuna may choose, where the trainer has trials
C = { low = 0.01, high = 100.0, log = true }
"""

import hashlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from streamrec.models.loading import BadModel
from streamrec.models.serving.contract import NAME
from streamrec.models.serving.misfit import path_of
from streamrec.models.serving.trained.description import InputField, OutputFields

Parameter = bool | int | float | str

# What may be set of each kind of model; another name is a mistake, not a setting.
PARAMETERS: Mapping[str, frozenset[str]] = {
    "linear": frozenset({"C", "max_iter", "learning_rate", "l2"}),
    "lightgbm": frozenset(
        {
            "rounds",
            "learning_rate",
            "num_leaves",
            "max_depth",
            "min_data_in_leaf",
            "feature_fraction",
            "lambda_l1",
            "lambda_l2",
            "max_bin",
        }
    ),
    "hist_gradient_boosting": frozenset(
        {
            "learning_rate",
            "max_iter",
            "max_leaf_nodes",
            "max_depth",
            "min_samples_leaf",
            "l2_regularization",
            "max_bins",
        }
    ),
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Preprocess(_Strict):
    """What is done to inputs before the model; one artifact with it."""

    scale: bool = Field(True, description="numbers to mean 0 and deviation 1 (linear)")
    missing_marked: bool = Field(
        True, description="that a number is missing is an input too (linear)"
    )
    max_categories: int = Field(
        100, ge=2, le=10_000, description="of each category, so many values; others are as unseen"
    )
    crossed: tuple[tuple[str, ...], ...] = Field(
        (), description="categories whose combinations are inputs too"
    )


class SearchSpan(_Strict):
    """What a search may choose for one parameter."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    whole: bool = False
    choices: tuple[Parameter, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        has_span = self.low is not None and self.high is not None
        if has_span == bool(self.choices):
            raise ValueError("expected either low and high, or choices")
        if self.low is not None and self.high is not None and not self.low <= self.high:
            raise ValueError(f"high expected low ({self.low:g}) or more, got {self.high:g}")
        if self.log and not (self.low or 0) > 0:
            raise ValueError(f"low expected more than 0 where log is true, got {self.low}")
        return self


class RecipeModel(_Strict):
    """Which model."""

    kind: Literal["linear", "lightgbm", "hist_gradient_boosting"] = "linear"
    parameters: Mapping[str, Parameter] = {}


class Validation(_Strict):
    """How a version is judged: by the newest examples, never by chosen ones."""

    share: float = Field(0.2, gt=0, lt=0.9, description="of the examples, the last so many")
    threshold: float | Literal["accuracy", "f1"] = Field(
        "accuracy",
        description="of two labels, the second from this chance on; or what it is to be best for",
    )


class Recipe(_Strict):
    """A recipe that was checked."""

    name: str
    display_name: str = ""
    description: str = ""
    version: str = "1.0"
    label: str = ""
    time: str = ""
    seed: int = 1
    inputs: tuple[InputField, ...] = Field(min_length=1)
    output: OutputFields
    preprocess: Preprocess = Preprocess()
    model: RecipeModel = RecipeModel()
    search: Mapping[str, SearchSpan] = {}
    validation: Validation = Validation()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [each.name for each in self.inputs]
        if not NAME.fullmatch(self.name):
            raise ValueError(f"name expected letters, digits, - and _ only, got {self.name!r}")
        if len(set(names)) != len(names):
            raise ValueError(f"inputs expected each name once, got {names}")
        if self.label in names:
            raise ValueError(f"inputs expected no label among them, got {self.label!r}")
        texts = {each.name for each in self.inputs if each.is_text}
        for crossed in self.preprocess.crossed:
            if len(crossed) < 2 or not texts.issuperset(crossed):
                raise ValueError(
                    f"preprocess.crossed expected two categories or more of {sorted(texts)}, "
                    f"got {list(crossed)}"
                )
        if self.preprocess.crossed and self.model.kind != "linear":
            raise ValueError(
                f"preprocess.crossed expected model.kind 'linear', got {self.model.kind!r}: trees "
                "cross by themselves"
            )
        known = PARAMETERS[self.model.kind]
        for name in (*self.model.parameters, *self.search):
            if name not in known:
                raise ValueError(
                    f"parameters of {self.model.kind!r} expected to be of "
                    f"{', '.join(sorted(known))}, got {name!r}"
                )
        if self.output.names:
            raise ValueError("output expected name, got names")
        return self

    @property
    def classes(self) -> int:
        """How many labels there are; 0: the label is a number."""
        return len(self.output.labels)

    def digest(self) -> str:
        """What tells it from another recipe, hex."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file. Raises BadModel that names what is wrong, all of it."""
    try:
        return parsed_recipe(path.read_text(encoding="utf-8"), path)
    except OSError as error:
        raise BadModel(
            f"recipe expected a file that can be read at {path}: {error.strerror}"
        ) from None
    except UnicodeDecodeError as error:
        raise BadModel(f"{path} expected UTF-8: {error}") from None


def parsed_recipe(text: str, path: Path) -> Recipe:
    """A recipe's text. Raises BadModel."""
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadModel(f"{path} expected TOML: {error}") from None
    said.setdefault("name", path.name.removesuffix(".toml").removesuffix(".learn"))
    try:
        return Recipe.model_validate(said)
    except ValidationError as error:
        wrong = [
            f"{path_of(each['loc'])[2:] or 'it'}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors(include_url=False)
        ]
        raise BadModel(f"{path} " + "; ".join(wrong)) from None


__all__ = [
    "Parameter",
    "Preprocess",
    "Recipe",
    "RecipeModel",
    "SearchSpan",
    "Validation",
    "parsed_recipe",
    "read_recipe",
]
