"""The keys that a list of models may have: their types, ranges and what they mean.

The JSON Schema that editors read (`schemas/models.schema.json`) is made of these classes.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from streamrec.dataflows.serving.pipelines import (
    DEFAULT_CUT_MS,
    DEFAULT_FAILING_SHARE,
    DEFAULT_PREFIX,
    PROFILES,
)

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"  # models.serving.contract.NAME, whole
_TOPIC = r"^[A-Za-z0-9._-]+$"
_INPUT = r"^((model|topic):)?[A-Za-z0-9._-]+$"
_CHOOSE = r"^(header|field):.+$"
_VERSION = r"^[0-9]{1,6}\.[0-9]{1,6}$"

# What a text that does not match was expected to be.
TOLD = {
    _NAME: "letters, digits, '-' and '_', a letter or digit first",
    _TOPIC: "letters, digits, '.', '-' and '_'",
    _INPUT: "a topic, model:NAME, features or topic:NAME",
    _CHOOSE: "header:NAME or field:PATH",
    _VERSION: "MAJOR.MINOR",
}

_Name = Annotated[str, Field(pattern=_NAME, max_length=100)]
_Text = Annotated[str, Field(min_length=1)]
_Input = Annotated[str, Field(pattern=_INPUT, max_length=255)]


def _as_option(value: object) -> object:
    """Options of topics are texts; numbers and booleans are written as the broker does."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


_Option = Annotated[
    str,
    BeforeValidator(_as_option),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class RunKeys(_Keys):
    """How a model is run."""

    model: _Text = Field(
        description="module:Thing, module:Thing.method, module:function, or a file's path, "
        "relative to the folder of this file, in which modules are found too; or published:NAME, "
        "the version of a published model that is in use"
    )
    timeout_s: float | None = Field(
        None,
        gt=0,
        le=3_600,
        description="longest that one record may take; the model runs in a process of its own",
    )
    memory_mb: int | None = Field(
        None,
        ge=1,
        le=1_048_576,
        description="most that it may grow beyond what it takes when warm; the model runs in a "
        "process of its own",
    )
    cut_ms: int = Field(
        DEFAULT_CUT_MS, ge=1, le=60_000, description="how long a batch may take: it is cut so"
    )


class GatherKeys(_Keys):
    """Inputs of several topics are put together by key."""

    within_s: float = Field(
        gt=0, le=604_800, description="from the first record of a key to the last"
    )
    missing: Literal["null", "error"] = Field(
        "null", description="a key for which not all came: null in their place, or an error"
    )


class TopicKeys(_Keys):
    """What topics a pipeline has, and what is on them."""

    inputs: list[_Input] = Field(
        [],
        description="topics to read; model:NAME: that entry's outputs; features: the user features "
        "of the main job; topic:NAME: a topic of such a name. Empty: an inputs topic of its own",
    )
    gather: GatherKeys | None = Field(None, description="inputs of several topics, by key")
    format: Literal["json", "avro"] = Field("json", description="of outputs")
    partitions: int = Field(8, ge=1, le=10_000, description="of the topics that are made")
    replication: int = Field(1, ge=1, le=32, description="of the topics that are made")
    configs: dict[str, _Option] = Field(
        {}, description="options of the topics that are made, as the broker calls them"
    )
    content_type: _Text | None = Field(
        None, description="of raw bytes without a header content-type"
    )


class ModelKeys(RunKeys, TopicKeys):
    """A model and its topics."""

    name: _Name | None = Field(
        None,
        description="part of its topics' names; default: what the model calls itself, of a "
        "published one its name there",
    )
    slow_ms: float | None = Field(
        None,
        gt=0,
        description="of a published model: a version that takes longer for one input is refused; "
        "default: five times what the one that answers takes, and at least 0.1",
    )
    failing_share: float = Field(
        DEFAULT_FAILING_SHARE,
        gt=0,
        le=1,
        description="of a published model: a version that fails at more of its last inputs, of 50 "
        "at least, is taken back",
    )


class VariantKeys(RunKeys):
    """One of the models of an experiment."""

    name: _Name = Field(description="in the experiment; a variant of another name is another")
    weight: float | None = Field(
        None,
        gt=0,
        le=1e9,
        allow_inf_nan=False,
        description="share of the records, in proportion to those of the others; default: 1",
    )
    shadow: bool = Field(
        False, description="answers all records, in a process of its own, and is never served"
    )


class ExperimentKeys(TopicKeys):
    """Models that share the records of one inputs topic."""

    name: _Name = Field(description="part of its topics' names")
    salt: _Text | None = Field(
        None, description="another salt splits the keys anew; default: the name"
    )
    choose: Annotated[str, Field(pattern=_CHOOSE)] | None = Field(
        None, description="header:NAME or field:PATH: chooses a variant by hand, where it is there"
    )
    version: Annotated[str, Field(pattern=_VERSION)] = Field(
        "1.0", description="of its topics: MAJOR.MINOR"
    )
    variants: list[VariantKeys] = Field(min_length=1, description="the models")


class FileKeys(_Keys):
    """A list of models for `dataflows.scorer`."""

    prefix: Annotated[str, Field(pattern=_TOPIC, max_length=100)] = Field(
        DEFAULT_PREFIX, description="of the names of all topics"
    )
    models: list[ModelKeys] = Field([], description="models, each with topics of its own")
    experiments: list[ExperimentKeys] = Field([], description="models that share topics")
    # What stands in a profile overrides the rest, which is checked then.
    profiles: dict[str, dict[str, Any]] = Field(
        {},
        description="what is otherwise in a profile (STREAMREC_PROFILE): prefix; models.NAME and "
        "experiments.NAME with any of their keys, of an experiment variants.NAME too. "
        f"{', '.join(PROFILES)} are always there",
    )


__all__ = [
    "TOLD",
    "ExperimentKeys",
    "FileKeys",
    "GatherKeys",
    "ModelKeys",
    "RunKeys",
    "TopicKeys",
    "VariantKeys",
]
