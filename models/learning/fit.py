"""`fit`: examples to a model that can be served, judged by the newest of them.

The last part of the examples (`validation.share`) is held back: a model of the others is judged by
it, and the decision threshold chosen; then the model is made of all, with the same parameters.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from streamrec.models.learning.described import described
from streamrec.models.learning.examples import Examples, TooFewExamples
from streamrec.models.learning.measures import best_threshold, of_chances, of_numbers
from streamrec.models.learning.recipe import Parameter, Recipe

ABOUT = "about.json"
FORMAT = "streamrec-model/1"
Parameters = Mapping[str, Parameter]
# Better is more, for each parameters tried: `search` gives the best ones.
Search = Callable[[Callable[[Parameters], float]], Parameters]


class Fitted(Protocol):
    """A model of some examples."""

    def chances(self, examples: Examples) -> NDArray[np.float64]:
        """(n, labels), or the numbers (n,) of a recipe without labels."""

    def files(self, threshold: float | None) -> dict[str, bytes]:
        """What is served."""


class Trained(NamedTuple):
    """A model with what is known of it."""

    files: dict[str, bytes]  # by name: the trained file, its description, about.json
    about: dict[str, Any]  # plain values, as about.json says them

    @property
    def metrics(self) -> dict[str, float]:
        """By name, of the examples that were held back."""
        found: dict[str, float] = self.about["metrics"]
        return found


def fit(
    recipe: Recipe,
    examples: Examples,
    *,
    search: Search | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Trained:
    """A model by a recipe. `facts` go into about.json as they are. Equal examples give equal bytes.
    Raises TooFewExamples where nothing can be learned."""
    if len(examples) < 2:
        raise TooFewExamples(f"examples expected at least 2, got {len(examples)}")
    earlier, newest = examples.split(recipe.validation.share)
    check_labels(recipe, earlier)
    parameters: Parameters = recipe.model.parameters
    if search is not None:
        given = dict(parameters)
        found = search(lambda tried: quality(recipe, {**given, **tried}, earlier, newest))
        parameters = {**parameters, **found}
    judged = fitted(recipe, parameters, earlier)
    chances = judged.chances(newest)
    threshold = chosen_threshold(recipe, chances, newest)
    files = fitted(recipe, parameters, examples).files(threshold)
    about = about_model(
        recipe,
        files,
        metrics=measured(recipe, chances, newest),
        threshold=threshold,
        facts={
            "parameters": dict(parameters),
            "trained": range_of(examples),
            "validated": range_of(newest),
            **(facts or {}),
        },
    )
    return Trained({**files, ABOUT: about_bytes(about)}, about)


def quality(recipe: Recipe, parameters: Parameters, earlier: Examples, newest: Examples) -> float:
    """Of parameters, more is better: the log loss, or the error, of the newest, below 0."""
    found = measured(recipe, fitted(recipe, parameters, earlier).chances(newest), newest)
    return -found["log_loss" if recipe.classes else "rmse"]


def fitted(recipe: Recipe, parameters: Parameters, examples: Examples) -> Fitted:
    """A model of examples. What it is made with is imported here: it takes seconds."""
    if recipe.model.kind == "lightgbm":
        from streamrec.models.learning.lightgbm_fit import LightgbmFit

        return LightgbmFit(recipe, parameters, examples)
    from streamrec.models.learning.sklearn_fit import SklearnFit

    return SklearnFit(recipe, parameters, examples)


def measured(recipe: Recipe, chances: NDArray[np.float64], examples: Examples) -> dict[str, float]:
    """Measures by name."""
    of = of_chances if recipe.classes else of_numbers
    return of(chances, examples.labels, _weights(examples))


def chosen_threshold(
    recipe: Recipe, chances: NDArray[np.float64], examples: Examples
) -> float | None:
    """Of two labels; None: there is none to choose."""
    wanted = recipe.validation.threshold
    if recipe.classes != 2 or (not recipe.output.probability and not recipe.output.probabilities):
        return recipe.output.threshold
    if isinstance(wanted, float | int):
        return float(wanted)
    positive = examples.labels == 1
    if not positive.any() or positive.all():
        return 0.5
    return best_threshold(chances[:, 1], positive, _weights(examples), wanted)


def check_labels(recipe: Recipe, examples: Examples) -> None:
    """Raises TooFewExamples where one of two labels is missing, or nothing weighs anything."""
    if not examples.weights.sum() > 0:
        raise TooFewExamples("examples expected a weight above 0, got none")
    there = np.unique(examples.labels[examples.weights > 0])
    if recipe.classes and len(there) < recipe.classes:
        names = [recipe.output.labels[int(each)] for each in there]
        raise TooFewExamples(
            f"examples expected each of the labels {', '.join(recipe.output.labels)} before the "
            f"last part, got {', '.join(names)} only"
        )


def about_model(
    recipe: Recipe,
    files: Mapping[str, bytes],
    *,
    metrics: Mapping[str, float],
    threshold: float | None,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """What is known of a model, of plain values and the same for the same model."""
    text = files[f"{recipe.name}.toml"].decode()
    description = described(text, recipe.name)
    metadata = description.metadata(description.output.labels)
    return {
        "format": FORMAT,
        "name": recipe.name,
        "kind": recipe.model.kind,
        "file": f"{recipe.name}.toml",
        "recipe": recipe.digest(),
        "seed": recipe.seed,
        "input_schema": metadata.input_schema,
        "output_schema": metadata.output_schema,
        "digests": {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)},
        "metrics": {name: round(value, 9) for name, value in sorted(metrics.items())},
        "threshold": threshold,
        **facts,
    }


def about_bytes(about: Mapping[str, Any]) -> bytes:
    """The same text for the same content."""
    return json.dumps(about, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def range_of(examples: Examples) -> dict[str, int]:
    """How many, and of which time."""
    times = examples.times_ms
    return {"examples": len(examples), "from_ms": int(times[0]), "until_ms": int(times[-1])}


def _weights(examples: Examples) -> NDArray[np.float64]:
    weights = examples.weights
    return weights if weights.sum() > 0 else np.ones(len(weights))


__all__ = [
    "ABOUT",
    "Fitted",
    "Parameters",
    "Search",
    "Trained",
    "about_bytes",
    "about_model",
    "chosen_threshold",
    "fit",
    "fitted",
    "measured",
    "range_of",
]
