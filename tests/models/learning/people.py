"""Rows that a recipe is fitted to: numbers, texts, what is missing, and a rule behind the label."""

from typing import Any

import numpy as np

from streamrec.models.learning.recipe import Recipe

KEYS: dict[str, Any] = {
    "name": "people",
    "inputs": [
        {"name": "age", "type": "number", "nullable": True},
        {"name": "hours", "type": "integer", "nullable": True},
        {"name": "work", "type": "category", "nullable": True, "unseen": "pass"},
        {"name": "town", "type": "string", "nullable": True},
    ],
    "output": {"name": "rich", "labels": ["no", "yes"], "probabilities": "chances"},
}


def recipe(kind: str = "linear", **keys: Any) -> Recipe:
    """The people's recipe, with other keys."""
    return Recipe.model_validate({**KEYS, "model": {"kind": kind}, **keys})


def people(n: int, seed: int = 1) -> tuple[list[dict[str, Any]], list[float]]:
    """Rows and labels; who works in an office of town b is rich, the older the more."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    labels = []
    for _ in range(n):
        row: dict[str, Any] = {
            "age": None if rng.random() < 0.1 else float(rng.integers(18, 80)),
            "hours": int(rng.integers(0, 60)),
            "work": None if rng.random() < 0.1 else str(rng.choice(["office", "farm", "mine"])),
            "town": str(rng.choice(["a", "b"])),
        }
        odds = ((row["age"] or 40) - 45) / 10 - 1.0
        odds += 3.0 * (row["work"] == "office" and row["town"] == "b")
        rows.append(row)
        labels.append(float(rng.random() < 1 / (1 + np.exp(-odds))))
    return rows, labels
