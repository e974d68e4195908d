"""Models of the scorer's proof, well-behaved and not; `scorer_plain.py` has what each must say."""

import math
import os
import time
from typing import Any, ClassVar

from streamrec import model

_INPUT: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "do": {"type": "string"}},
    "required": ["n"],
}
_OUTPUT: dict[str, Any] = {
    "type": "object",
    "properties": {"said": {"type": "number"}},
    "required": ["said"],
}
_PIECE = 1 << 20
_LEAKS = 400  # pieces, far beyond what is allowed
_held: list[bytes] = []


@model(input_schema=_INPUT, output_schema=_OUTPUT)
def plain(data: dict[str, Any]) -> dict[str, Any]:
    """Twice a number."""
    return {"said": 2 * data["n"]}


@model(name="plain-three", input_schema=_INPUT, output_schema=_OUTPUT)
def three(data: dict[str, Any]) -> dict[str, Any]:
    """Three times a number."""
    return {"said": 3 * data["n"]}


class Moody:
    """Wrong in every way by which only its own record fails; asked in batches."""

    display_name = "Moody"
    qualified_name = "moody"
    description = "Twice a number, mostly."
    major_version = 1
    minor_version = 0
    input_schema: ClassVar[Any] = _INPUT
    output_schema: ClassVar[Any] = _OUTPUT

    def predict(self, data: Any) -> Any:
        match data.get("do"):
            case "raise":
                raise ArithmeticError("no such number")
            case "nan":
                return {"said": math.nan}
            case "text":
                return {"said": "two"}
            case "nothing":
                return None
        return {"said": 2 * data["n"]}

    def predict_batch(self, inputs: list[Any]) -> list[Any]:
        return [self.predict(data) for data in inputs]


class Poisoned(Moody):
    """Hangs, grows or ends its process where an input says so."""

    qualified_name = "poisoned"
    predict_batch: Any = None

    def predict(self, data: Any) -> Any:
        match data.get("do"):
            case "hang":
                time.sleep(3_600)
            case "leak":
                _held.extend(bytes(b"x" * _PIECE) for _ in range(_LEAKS))
            case "exit":
                os._exit(3)
        return super().predict(data)


class PoisonedBatched(Poisoned):
    """The same, asked in batches: which of them it was, nobody is told."""

    qualified_name = "poisoned-batched"

    def predict_batch(self, inputs: list[Any]) -> list[Any]:
        return [self.predict(data) for data in inputs]
