"""Recipes of LightGBM: its text format, which is parsed and never run, and the description that
says what categories its codes are."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.models.learning.described import description_of
from streamrec.models.learning.examples import Examples, code_matrix, known_categories
from streamrec.models.learning.recipe import Parameter, Recipe

_ROUNDS = 150
_FIRST: Mapping[str, Parameter] = {"learning_rate": 0.06, "num_leaves": 31, "min_data_in_leaf": 20}


class LightgbmFit:
    """A booster that was trained, with one thread: equal seeds give equal trees."""

    def __init__(
        self, recipe: Recipe, parameters: Mapping[str, Parameter], examples: Examples
    ) -> None:
        import lightgbm  # here, since it takes a second

        self._recipe = recipe
        self._known = known_categories(recipe, examples)
        said = {**_FIRST, **parameters}
        rounds = int(said.pop("rounds", _ROUNDS))
        rows = lightgbm.Dataset(
            code_matrix(recipe, examples, self._known),
            examples.labels,
            weight=examples.weights,
            feature_name=[f"Column_{place}" for place in range(len(recipe.inputs))],
            categorical_feature=[place for place, each in enumerate(recipe.inputs) if each.is_text],
            params={"verbose": -1, "max_bin": said.get("max_bin", 255)},
        )
        self._booster = lightgbm.train(
            {
                **_objective(recipe),
                "verbose": -1,
                "seed": recipe.seed,
                "deterministic": True,
                "force_row_wise": True,
                "num_threads": 1,
                **said,
            },
            rows,
            rounds,
        )

    def chances(self, examples: Examples) -> NDArray[np.float64]:
        """(n, labels), or the numbers (n,) of a recipe without labels."""
        matrix = code_matrix(self._recipe, examples, self._known)
        found = np.asarray(self._booster.predict(matrix, num_threads=1), np.float64)
        if self._recipe.classes == 2:
            return np.stack([1.0 - found, found], axis=1)
        return found

    def files(self, threshold: float | None) -> dict[str, bytes]:
        """The trained file and its description."""
        name = self._recipe.name
        text = description_of(self._recipe, f"{name}.txt", known=self._known, threshold=threshold)
        model = self._booster.model_to_string(num_iteration=-1)
        return {f"{name}.txt": model.encode(), f"{name}.toml": text.encode()}


def _objective(recipe: Recipe) -> dict[str, Any]:
    if recipe.classes > 2:
        return {"objective": "multiclass", "num_class": recipe.classes}
    return {"objective": "binary" if recipe.classes else "regression"}


__all__ = ["LightgbmFit"]
