"""What the learning demo is configured with: a table of past offers, and three files."""

import csv
from collections.abc import Iterable
from pathlib import Path

from streamrec.shop.learning.offers import CATEGORIES, GROUPS, Offered

OFFERS = "offers"  # the topic that all models read
FROZEN, RETRAINED, ONLINE = PIPELINES = ("frozen", "retrained", "online")
HISTORY, RECIPE = "offers.csv", "taste.learn.toml"
MODELS, LEARNING = "models.toml", "learning.toml"
COLUMNS = ("user_id", "group", "category", "price", "hour", "taken")


def write_history(folder: Path, offers: Iterable[Offered]) -> Path:
    """Past offers and what came of them, a row each: what the first models are learned from."""
    path = folder / HISTORY
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for offer, taken in offers:
            rows.writerow([*(offer[name] for name in COLUMNS[:-1]), int(taken)])
    return path


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


_CROSSED = """
[preprocess]
crossed = [["group", "category"]]
"""


def recipe_text(kind: str) -> str:
    """How offers and what came of them become a model. `kind`: as `models.learning.recipe` says."""
    return f"""\
name = "taste"
description = "How likely somebody takes an offer."
label = "taken"

[[inputs]]
name = "group"
type = "category"
categories = [{_quoted(GROUPS)}]

[[inputs]]
name = "category"
type = "category"
categories = [{_quoted(CATEGORIES)}]

[[inputs]]
name = "price"
type = "number"
min = 0

[[inputs]]
name = "hour"
type = "integer"
min = 0
max = 23

[output]
name = "taken"
labels = ["no", "yes"]
probabilities = "chances"
{_CROSSED if kind == "linear" else ""}
[model]
kind = "{kind}"
"""


def models_text(prefix: str, frozen: str) -> str:
    """The list of models: one that stays as it is, and two that follow what is published."""
    named = {FROZEN: frozen, RETRAINED: f"published:{RETRAINED}", ONLINE: f"published:{ONLINE}"}
    entries = "".join(
        f'\n[[models]]\nmodel = "{model}"\nname = "{name}"\ncut_ms = 1000\n'
        f'inputs = ["topic:{prefix}{OFFERS}"]\n'
        for name, model in named.items()
    )
    return f'prefix = "{prefix}models"\n{entries}'


def learning_text(
    recipes: dict[str, str], window_s: float, every: dict[str, int], judged_s: float
) -> str:
    """The learning file. `recipes` by pipeline, of those that learn; `every` so many examples."""
    entries = []
    for name in PIPELINES:
        entries.append(
            f"""\
[[models]]
pipeline = "{name}"

[models.labels]
window_s = {window_s}
default = 0.0
score = "chances.yes"
late_ms = 500

[models.evaluation]
window_s = {judged_s}
late_ms = 3000
"""
        )
        if name in recipes:
            entries.append(
                f"""\

[models.trainer]
kind = "{"online" if name == ONLINE else "retrain"}"
recipe = "{recipes[name]}"
every = {every[name]}
max_examples = {2 * every[name]}
late_ms = 1500
"""
            )
        entries.append("\n")
    return "".join(entries)


__all__ = [
    "FROZEN",
    "HISTORY",
    "LEARNING",
    "MODELS",
    "OFFERS",
    "ONLINE",
    "PIPELINES",
    "RECIPE",
    "RETRAINED",
    "learning_text",
    "models_text",
    "recipe_text",
    "write_history",
]
