"""Models as a stranger would write them: two that cost nothing, which every contender serves, one
that is slow, and one that takes memory and does not give it back.

They need nothing but Python: the contenders' environments have no streamrec.
"""

import time
from typing import Any, ClassVar

_LEAK_BYTES = 100_000
_POSITIVE = {"type": "number", "minimum": 0}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


class Iris:
    """Four numbers in, a word out."""

    display_name = "Iris for nothing"
    qualified_name = "iris"
    description = "Says setosa."
    major_version = 1
    minor_version = 0
    input_schema: ClassVar[dict[str, Any]] = _object(
        {
            "sepal_length": _POSITIVE,
            "sepal_width": _POSITIVE,
            "petal_length": _POSITIVE,
            "petal_width": _POSITIVE,
        }
    )
    output_schema: ClassVar[dict[str, Any]] = _object(
        {"species": {"type": "string", "enum": ["setosa", "versicolor", "virginica"]}}
    )

    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"species": "setosa"}


class Wide:
    """Eighteen fields of a car in, a word out."""

    display_name = "Cars for nothing"
    qualified_name = "wide"
    description = "Says normal."
    major_version = 1
    minor_version = 0
    input_schema: ClassVar[dict[str, Any]] = _object(
        {
            "vehicle": {"type": "string", "maxLength": 20},
            "model": {"type": "string", "enum": ["hatch", "estate", "van"]},
            "moving": {"type": "boolean"},
            "charging": {"type": "boolean"},
            "gear": {"type": "integer", "minimum": -1, "maximum": 8},
            "odometer_km": {"type": "integer", "minimum": 0},
            "error_codes": {"type": "integer", "minimum": 0},
            "passengers": {"type": "integer", "minimum": 0, "maximum": 9},
            **{
                name: {"type": "number"}
                for name in (
                    "speed_kmh",
                    "engine_rpm",
                    "coolant_c",
                    "oil_c",
                    "oil_bar",
                    "battery_v",
                    "throttle",
                    "tyre_bar",
                    "latitude",
                    "longitude",
                )
            },
        }
    )
    output_schema: ClassVar[dict[str, Any]] = _object(
        {"state": {"type": "string", "enum": ["normal", "odd"]}}
    )

    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"state": "normal"}


class Slow(Iris):
    """Takes a second a record."""

    qualified_name = "slow"

    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        time.sleep(1.0)
        return super().predict(data)


class Leaking(Iris):
    """Keeps more with each record."""

    qualified_name = "leaking"

    def __init__(self) -> None:
        self._kept: list[bytes] = []

    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        self._kept.append(b"\x01" * _LEAK_BYTES)
        return super().predict(data)


MODELS: dict[str, type[Iris] | type[Wide]] = {model.qualified_name: model for model in (Iris, Wide)}
