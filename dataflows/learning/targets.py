"""What is learned from an example: what came of it, or what a baseline answered (apprentice)."""

import json
from collections.abc import Mapping
from typing import Any

from streamrec.dataflows.learning.plan import TrainerKeys
from streamrec.models.learning.recipe import Recipe


def target_of(keys: TrainerKeys, recipe: Recipe, example: Mapping[str, Any]) -> float | None:
    """The label to learn; None: the example does not count."""
    if example["mode"] != "served":
        return None
    if keys.learn_from == "label":
        found: float | None = example["label"]
        return found
    return _answered(recipe, example)


def _answered(recipe: Recipe, example: Mapping[str, Any]) -> float | None:
    """Of labels the place of the one that was chosen, else the number."""
    answer = inputs_of(example["answer"])
    chosen = answer.get(recipe.output.name)
    if chosen in recipe.output.labels:
        return float(recipe.output.labels.index(chosen))
    if not recipe.classes and isinstance(chosen, int | float):
        return float(chosen)
    score: float | None = example["score"]
    return None if score is None else float(score > 0.5) if recipe.classes == 2 else score


def inputs_of(text: str | None) -> Mapping[str, Any]:
    """A JSON object that an example holds as text; empty where it holds none."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def error_of(answered: float, label: float, classes: int) -> float:
    """How far an answer was from the label, 0 to 1: what drift is told by."""
    if classes == 2:
        return min(abs(float(label > 0) - answered), 1.0)
    off = abs(label - answered)
    return off / (1.0 + off)


__all__ = ["error_of", "inputs_of", "target_of"]
