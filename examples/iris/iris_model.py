"""Which iris a flower is, by its measures."""

import json
from pathlib import Path
from typing import Any

LENGTHS = ("sepal_length", "sepal_width", "petal_length", "petal_width")
INPUT = {
    "type": "object",
    "properties": {
        name: {"type": "number", "exclusiveMinimum": 0, "maximum": 100} for name in LENGTHS
    },
    "required": list(LENGTHS),
    "additionalProperties": False,
}
OUTPUT = {
    "type": "object",
    "properties": {"species": {"enum": ["setosa", "versicolor", "virginica"]}},
    "required": ["species"],
}


class Iris:
    """Softmax regression over four lengths, in centimetres."""

    display_name = "Iris"
    qualified_name = "iris"
    description = "Says of which species an iris is, by the lengths of its sepals and petals."
    major_version = 1
    minor_version = 0
    input_schema = INPUT
    output_schema = OUTPUT

    def __init__(self) -> None:
        text = Path(__file__).with_name("iris.json").read_text(encoding="utf-8")
        self._parameters = json.loads(text)

    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        known = self._parameters
        lengths = [data[name] for name in known["features"]]
        scaled = [
            (length - mean) / scale
            for length, mean, scale in zip(lengths, known["means"], known["scales"], strict=True)
        ]
        scores = [
            intercept + sum(w * x for w, x in zip(weights, scaled, strict=True))
            for weights, intercept in zip(known["weights"], known["intercepts"], strict=True)
        ]
        return {"species": known["species"][scores.index(max(scores))]}
