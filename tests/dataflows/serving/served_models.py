"""Models as users write them, that do what their inputs say; served by the tests."""

import math
import time
from typing import Any, ClassVar

import streamrec

_NUMBER = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}


class Twice:
    """Twice a number, or what `do` says."""

    display_name = "Twice"
    qualified_name = "twice"
    description = "Twice a number."
    major_version = 1
    minor_version = 0
    input_schema: ClassVar[Any] = {
        "type": "object",
        "properties": {
            "n": {"type": "number", "minimum": 0},
            "do": {"type": "string"},
            "key": {"type": "string"},
        },
        "required": ["n"],
    }
    output_schema: ClassVar[Any] = {
        "type": "object",
        "properties": {"twice": {"type": "number"}},
        "required": ["twice"],
    }

    def predict(self, data: Any) -> Any:
        match data.get("do"):
            case "raise":
                raise ArithmeticError("no such number")
            case "nan":
                return {"twice": math.nan}
            case "text":
                return {"twice": "two"}
            case "nothing":
                return None
            case "object":
                return {"twice": object()}
        return {"twice": 2 * data["n"]}


class TwiceBatched(Twice):
    """The same, a batch at once: one that raises does so for all."""

    qualified_name = "twice-batched"

    def predict_batch(self, inputs: list[Any]) -> list[Any]:
        return [self.predict(data) for data in inputs]


class Thrice(Twice):
    """Another variant: what it says is three times the number."""

    qualified_name = "thrice"

    def predict(self, data: Any) -> Any:
        return {"twice": 3 * data["n"]}


class TwoWays:
    """Says two things of a text, each by a method."""

    display_name = "Two ways"
    qualified_name = "ways"
    description = "A text in capitals, or its length."
    major_version = 2
    minor_version = 3
    input_schema: ClassVar[Any] = {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
    }
    output_schema = None

    def predict(self, data: Any) -> Any:
        return {"said": data["text"].upper()}

    def predict_length(self, data: Any) -> Any:
        return {"length": len(data["text"])}


@streamrec.model(
    input_schema=_NUMBER,
    output_schema={
        "type": "object",
        "properties": {"power": {"type": "integer"}},
        "required": ["power"],
    },
)
def power(data: dict[str, Any]) -> dict[str, Any]:
    """Two to the power of a number."""
    return {"power": 2 ** int(data["n"])}


@streamrec.model(
    input_schema={
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
    },
    output_schema={
        "type": "object",
        "properties": {"said": {"type": "string"}, "of": {"enum": ["a", "b"]}},
        "required": ["said"],
    },
)
def said(data: dict[str, Any]) -> dict[str, Any]:
    """A text once more."""
    return {"said": data["text"]}


@streamrec.model(content_types=("text/plain", "image/png"))
def measured(content: bytes, content_type: str) -> dict[str, Any]:
    """How long some bytes are."""
    return {"bytes": len(content), "type": content_type}


@streamrec.model
def echo(data: dict[str, Any]) -> dict[str, Any]:
    """What it was given."""
    return {"got": data}


class TwiceNewer(Twice):
    """The next minor version, under the same name."""

    minor_version = 1


class Slow(Twice):
    """Takes a second for each."""

    qualified_name = "slow"

    def predict(self, data: Any) -> Any:
        time.sleep(1.0)
        return super().predict(data)


@streamrec.model
def huge(data: dict[str, Any]) -> dict[str, Any]:
    """Ten to the power of a number."""
    return {"got": 10 ** data["n"]}


@streamrec.model(
    input_schema={
        "type": "object",
        "properties": {
            "parts": {
                "type": "array",
                "items": {"type": "object", "properties": {"n": {"type": "integer"}}},
            }
        },
        "required": ["parts"],
    }
)
def counted(data: dict[str, Any]) -> dict[str, Any]:
    """How many parts there are."""
    return {"parts": len(data["parts"])}


class Hangs(Twice):
    """Hangs where it is told to, as `Twice` does not."""

    qualified_name = "hangs"

    def predict(self, data: Any) -> Any:
        if data.get("do") == "hang":
            time.sleep(600.0)
        return super().predict(data)


@streamrec.model
def breaks_off(data: dict[str, Any]) -> dict[str, Any]:
    """Stands for a kill."""
    raise KeyboardInterrupt
