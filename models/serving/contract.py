"""What any model is once it is loaded: facts about it, and a call that answers inputs.

Somebody's class, a function, a trained file and our own models all become a `Predictor`
(`models.serving.loading`). It knows nothing of topics: it is given values and gives values. An
input's own fault is a `Fault` in the place of its answer; its neighbours are answered.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from streamrec.schemas.reasons import Reason

if TYPE_CHECKING:  # columns need NumPy, which a model in a process of its own may do without
    from streamrec.schemas.columns import Columns

JsonSchema = Mapping[str, Any]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # of a model: it becomes part of topics' names


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a model says of itself. Schemas are JSON Schema (2020-12 unless they say other)."""

    qualified_name: str  # matches NAME
    display_name: str
    description: str
    major_version: int  # >= 0
    minor_version: int  # >= 0
    input_schema: JsonSchema | None  # None: raw bytes, or whatever JSON there is
    output_schema: JsonSchema | None  # None: whatever can be written as JSON
    content_types: tuple[str, ...] = ()  # of raw bytes; empty: inputs are JSON
    method: str = "predict"  # of a class that has several

    @property
    def version(self) -> str:
        return f"{self.major_version}.{self.minor_version}"


class Raw(NamedTuple):
    """An input that is bytes: an image, a sound, a text."""

    content: bytes
    content_type: str  # empty where nothing said one


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one input has no answer. Goes between processes."""

    reason: Reason
    message: str  # where (the field's path), what was expected, what arrived
    exception: str = ""  # class of what user code raised; empty: the reason's own
    stacktrace: str | None = None  # of user code


# An input is what JSON says (dict, list, str, int, float, bool, None) or Raw; an answer is what
# JSON can say, finite numbers only, and is not changed afterwards.
Input = Any
Answer = Any


class Predictor(Protocol):
    """A model that is loaded. Predicting is safe to repeat and keeps the order of its inputs.

    One with an attribute `batched = False` gives each input to the model by itself; in a process of
    its own it is then asked input by input, so that the one it hangs at is known at once."""

    @property
    def metadata(self) -> Metadata: ...

    def predict(self, inputs: Sequence[Input]) -> list[Answer | Fault]:
        """One for each input, in order; inputs are checked before and answers after. Raises
        nothing for what inputs or the model do wrong (BaseExceptions that end a process pass)."""


class ColumnPredictor(Predictor, Protocol):
    """A model that also takes a batch as columns: what Avro is decoded to is never made a dict."""

    def predict_columns(self, columns: "Columns", count: int) -> "tuple[Columns, dict[int, Fault]]":
        """Columns named by the fields of the input schema, of `count` rows, to columns named by
        those of the output schema, as many rows; rows that failed are named, and their values in
        the answer mean nothing."""


__all__ = [
    "NAME",
    "Answer",
    "ColumnPredictor",
    "Fault",
    "Input",
    "JsonSchema",
    "Metadata",
    "Predictor",
    "Raw",
]
