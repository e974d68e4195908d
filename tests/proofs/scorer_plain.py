"""What the scorer must say to each record of its proof, by a plain program without code of ours."""

import io
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import fastavro

from tests.proofs.chaos_check import Message

_WIRE_BYTES = 5
NAMES = ("plain", "moody", "hanging", "leaking", "exiting", "split")
# What a model of these names does with a record that says so.
_REASONS: Mapping[str, str] = {
    "raise": "model_failed",
    "nan": "output_invalid",
    "text": "output_invalid",
    "nothing": "output_invalid",
    "hang": "model_timeout",
    "leak": "model_memory",
    "exit": "model_crashed",
}
DOES: Mapping[str, tuple[str, ...]] = {
    "moody": ("raise", "nan", "text", "nothing"),
    "hanging": ("hang",),
    "leaking": ("leak",),
    "exiting": ("exit",),
}


class Expected(NamedTuple):
    """Either an answer or the reason why there is none."""

    answer: Any = None
    reason: str | None = None


def _refuse(name: str) -> float:
    raise ValueError(f"JSON has no {name}")


def expected(name: str, message: Message, schemas: Mapping[int, Any], times: int = 2) -> Expected:
    """Of a record of a model's inputs. `schemas` are parsed, by id; `times` is what the model that
    answers multiplies by."""
    value = message.value
    if value is None:
        return Expected(reason="undecodable")
    if value[:1] == b"\0" and len(value) >= _WIRE_BYTES:
        schema = schemas[int.from_bytes(value[1:_WIRE_BYTES], "big")]
        found: Any = fastavro.schemaless_reader(io.BytesIO(value[_WIRE_BYTES:]), schema, None)
        found = {field: held for field, held in found.items() if held is not None}
    else:
        try:
            found = json.loads(value, parse_constant=_refuse)
        except ValueError:
            return Expected(reason="undecodable")
    if not isinstance(found, dict) or type(found.get("n")) is not int:
        return Expected(reason="invalid_value")
    does = found.get("do", "")
    if not isinstance(does, str):
        return Expected(reason="invalid_value")
    if does in DOES.get(name, ()):
        return Expected(reason=_REASONS[does])
    return Expected({"said": times * found["n"]})
