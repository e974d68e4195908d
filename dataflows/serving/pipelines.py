"""What the list of models says, checked: pipelines, each with its variants."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

PROFILES = ("development", "test", "beta", "production")  # always there; a file may have more
DEFAULT_PREFIX = "models"
DEFAULT_CUT_MS = 100
PUBLISHED = "published:"  # before the name of a model of the topic `models`
DEFAULT_FAILING_SHARE = 0.2

InputKind = Literal["topic", "model", "features"]


@dataclass(frozen=True, slots=True)
class Input:
    """From where a pipeline takes records.

    >>> Input.of("model:iris")
    Input(kind='model', name='iris')
    """

    kind: InputKind
    name: str = ""  # of the topic, or of the pipeline whose outputs it takes

    @classmethod
    def of(cls, text: str) -> "Input":
        """`model:NAME`, `features`, or a topic; `topic:NAME` for one with such a name."""
        if text == "features":
            return cls("features")
        if text.startswith("model:"):
            return cls("model", text.removeprefix("model:"))
        return cls("topic", text.removeprefix("topic:"))


@dataclass(frozen=True, slots=True)
class Gather:
    """Inputs of several topics are put together by key."""

    within_s: float  # from the first record of a key to the last
    missing: Literal["null", "error"] = "null"  # what becomes of a key for which not all came


@dataclass(frozen=True, slots=True)
class Choose:
    """What chooses a variant by hand, where a record has it."""

    kind: Literal["header", "field"]
    name: str  # of the header, or the path of the field: `context.variant`

    @classmethod
    def of(cls, text: str) -> "Choose":
        """`header:NAME` or `field:PATH`."""
        kind, _, name = text.partition(":")
        return cls("header" if kind == "header" else "field", name)


@dataclass(frozen=True, slots=True)
class Variant:
    """A model of a pipeline, and how it is run."""

    model: str  # module:Thing, module:Thing.method, module:function, or a file's path
    name: str = ""  # in its experiment; empty in a pipeline that is none
    weight: float = 1.0  # share of the records, those of a pipeline make 1; of a shadow: 0
    shadow: bool = False
    timeout_s: float | None = None  # with either of these two: a process of its own
    memory_mb: int | None = None  # growth over the warm state
    cut_ms: int = DEFAULT_CUT_MS  # how long a batch may take
    # Of a published model: when a version is refused as too slow, and when one is taken back.
    slow_ms: float | None = None
    failing_share: float = DEFAULT_FAILING_SHARE

    @property
    def published(self) -> str | None:
        """The name under which it is published; None: it is not.

        >>> Variant("published:adult").published
        'adult'
        """
        return self.model.removeprefix(PUBLISHED) if self.model.startswith(PUBLISHED) else None

    @property
    def apart(self) -> bool:
        """Whether it runs in a process of its own."""
        return self.shadow or self.timeout_s is not None or self.memory_mb is not None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Topics, and the models that answer what is on them. A plain model is one variant."""

    variants: tuple[Variant, ...]  # those that are served first, in the order of the file
    name: str | None = None  # None: as the model calls itself; of an experiment never None
    is_experiment: bool = False
    salt: str = ""  # of an experiment
    choose: Choose | None = None
    version: tuple[int, int] | None = None  # of an experiment's topics; None: the model's
    inputs: tuple[Input, ...] = ()  # empty: an inputs topic of its own
    gather: Gather | None = None
    format: Literal["json", "avro"] = "json"  # of outputs
    partitions: int = 8
    replication: int = 1
    configs: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = None  # of raw bytes without a header content-type
    place: str = ""  # in the list, for messages: `models[1]`, `experiments[0]`

    @property
    def served(self) -> tuple[Variant, ...]:
        """Those among which records are split; their weights make 1."""
        return tuple(each for each in self.variants if not each.shadow)

    @property
    def shadows(self) -> tuple[Variant, ...]:
        return tuple(each for each in self.variants if each.shadow)

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return self.name or self.variants[0].model


@dataclass(frozen=True, slots=True)
class ModelList:
    """All pipelines of a dataflow."""

    pipelines: tuple[Pipeline, ...]
    prefix: str = DEFAULT_PREFIX
    profile: str = PROFILES[0]
    folder: Path = field(default_factory=Path.cwd)  # from which paths and modules are found
    source: str = "STREAMREC_MODELS"  # what messages call it: the file's name


class BadModelList(Exception):
    """The list of models is wrong; the message has a line for each mistake, with its place."""


__all__ = [
    "DEFAULT_CUT_MS",
    "DEFAULT_FAILING_SHARE",
    "DEFAULT_PREFIX",
    "PROFILES",
    "PUBLISHED",
    "BadModelList",
    "Choose",
    "Gather",
    "Input",
    "ModelList",
    "Pipeline",
    "Variant",
]
