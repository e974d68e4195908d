"""The learning file (`STREAMREC_LEARNING`): which answers are labelled, learned from and judged.

One TOML file, checked as a whole; all mistakes are told at once, each with its place. An entry for
each pipeline of the list of models (`STREAMREC_MODELS`), or one for the main job's recommendations:

    [[models]]
    pipeline = "adult"              # in the list of models; "recommender": the main job
    [models.labels]
    window_s = 3600                 # how long an outcome is waited for, event time
    [models.trainer]
    kind = "retrain"
    every = 500
    recipe = "adult.learn.toml"     # what `streamrec learn init` made
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from streamrec.dataflows.serving.complaints import complaints_in, place_text

RECOMMENDER = "recommender"
_DAY_S = 86_400.0


class BadPlan(ValueError):
    """The learning file cannot be used; the message names each mistake with its place."""


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LabelKeys(_Keys):
    """How answers are labelled."""

    window_s: float = Field(
        3_600, gt=0, le=30 * _DAY_S, description="how long an outcome is waited for, event time"
    )
    horizon_s: float | None = Field(
        None,
        gt=0,
        le=60 * _DAY_S,
        description="until when an outcome corrects a label; after that it fails as too_late; "
        "default: twice window_s",
    )
    positive: Literal["at_once", "window"] = Field(
        "at_once", description="when what happened is told: at once, or when the window closes"
    )
    default: float | None = Field(
        None,
        allow_inf_nan=False,
        description="of scores, the label where no outcome comes; unset: no example without one",
    )
    shown: Literal["impressions", "served"] = Field(
        "impressions",
        description="of recommendations, what counts as shown: what the topic impressions says, or "
        "all that was served, which makes negatives of what nobody saw",
    )
    weights: Mapping[str, float] = Field(
        {"click": 1.0, "cart": 3.0, "purchase": 10.0},
        description="of recommendations, what each kind of outcome counts; a kind that is not here "
        "labels nothing",
    )
    credit: Literal["last", "first"] = Field(
        "last", description="which of several recommendations that showed the item is credited"
    )
    score: str | None = Field(
        None, description="of scores, the field of the answer that is judged, as a dotted path"
    )
    late_ms: int = Field(
        1_000, ge=0, le=3_600_000, description="how long records out of order are waited for"
    )
    max_mb: int = Field(
        512, ge=1, description="what may wait, of each shard; what does not fit is told in errors"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.horizon_s is not None and self.horizon_s < self.window_s:
            raise ValueError(
                f"horizon_s expected window_s ({self.window_s:g}) or more, got {self.horizon_s:g}"
            )
        return self

    @property
    def horizon_ms(self) -> int:
        """When corrections end, from the answer on, milliseconds."""
        return round(1000 * (self.horizon_s or 2 * self.window_s))

    @property
    def window_ms(self) -> int:
        """When the window closes, from the answer on, milliseconds."""
        return round(1000 * self.window_s)


class TrainerKeys(_Keys):
    """How a model learns from labels."""

    kind: Literal["online", "retrain"] = Field(
        "retrain", description="learn from each example, or anew from many in a process of its own"
    )
    recipe: str = Field(
        description="file that says data, preprocessing, model and search (`streamrec learn init`),"
        " from the folder of this one; recommender: the main job's own training"
    )
    publish_as: str | None = Field(
        None, description="the model's name on the topic models; default: the pipeline"
    )
    every: int | None = Field(
        None, ge=1, description="a version after so many examples with their outcomes"
    )
    every_s: float | None = Field(
        None, gt=0, description="a version after so much event time, where there are examples"
    )
    on_drift: bool = Field(False, description="retrain: a version when the error has drifted")
    max_examples: int = Field(
        200_000, ge=10, description="retrain: learn from the newest so many; memory grows with it"
    )
    min_examples: int = Field(50, ge=2, description="no version from fewer")
    trials: int = Field(0, ge=0, le=10_000, description="retrain: parameters tried by Optuna")
    budget_s: float = Field(60, gt=0, description="retrain: most seconds for the search")
    nice: int = Field(
        19,
        ge=0,
        le=19,
        description="retrain: niceness of its process; 19: it gets what nobody else wants, which "
        "on a machine that is busy all the time may be nothing",
    )
    promote: bool = Field(True, description="a version is the champion at once; else challenger")
    learn_from: Literal["label", "answer"] = Field(
        "label",
        description="label: from what came of it; answer: from what a baseline chose, which goes "
        "on serving (apprentice)",
    )
    late_ms: int = Field(
        500, ge=0, le=3_600_000, description="how long examples out of order are waited for"
    )
    mlflow: str | None = Field(
        None, description="tracking URI of MLflow (extra mlflow); unset: not tracked there"
    )


class EvaluationKeys(_Keys):
    """How answers are judged."""

    window_s: float = Field(60, gt=0, le=30 * _DAY_S, description="event time of one metric")
    k: tuple[int, ...] = Field((5, 20), description="of recommendations: hit rate and MRR at these")
    threshold: float = Field(0.5, description="of scores: positive from this on, for accuracy")
    late_ms: int = Field(1_000, ge=0, le=3_600_000, description="how long is waited")


class LearningKeys(_Keys):
    """What is done for the answers of one pipeline."""

    pipeline: str = Field(
        min_length=1, description="its name in the list of models, or recommender: the main job"
    )
    labels: LabelKeys = Field(LabelKeys(), description="how its answers are labelled")
    trainer: TrainerKeys | None = Field(None, description="how its model learns; unset: not here")
    evaluation: EvaluationKeys = Field(EvaluationKeys(), description="how its answers are judged")

    @property
    def is_recommender(self) -> bool:
        """Whether it is the main job's recommendations, not scores of a listed model."""
        return self.pipeline == RECOMMENDER


class _FileKeys(_Keys):
    models: list[LearningKeys] = Field(min_length=1)


class LearningPlan:
    """A learning file that was checked."""

    def __init__(self, models: tuple[LearningKeys, ...], folder: Path) -> None:
        self.models = models
        self.folder = folder  # where recipes are found

    def of(self, pipeline: str) -> LearningKeys | None:
        """The entry of a pipeline; None: it has none."""
        return next((each for each in self.models if each.pipeline == pipeline), None)


def read_plan(path: str | None) -> LearningPlan:
    """The learning file at a path. Raises BadPlan."""
    if not path:
        raise BadPlan("STREAMREC_LEARNING expected the path of a learning file (TOML), got none")
    file = Path(path)
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadPlan(f"STREAMREC_LEARNING expected a file that can be read, got {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise BadPlan(f"{file.name} expected TOML, got {error}") from None
    try:
        keys = _FileKeys.model_validate(content)
    except ValidationError as error:
        told = [
            f"{file.name}: {place_text(each.place)} {each.told}" for each in complaints_in(error)
        ]
        raise BadPlan("\n".join(told)) from None
    names = [each.pipeline for each in keys.models]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise BadPlan(f"{file.name}: models[{at}].pipeline expected another name, got {name!r}")
    return LearningPlan(tuple(keys.models), file.absolute().parent)


__all__ = [
    "RECOMMENDER",
    "BadPlan",
    "EvaluationKeys",
    "LabelKeys",
    "LearningKeys",
    "LearningPlan",
    "TrainerKeys",
    "read_plan",
]
