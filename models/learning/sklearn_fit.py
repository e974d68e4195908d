"""Recipes of scikit-learn: preprocessing and model as one pipeline, in a skops file.

Of parts that skops loads without running anything. Unseen categories are served: of `linear` they
weigh nothing, to trees they are missing. A crossed input is the products of one-hot columns.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.models.learning.described import description_of
from streamrec.models.learning.examples import Examples, object_matrix
from streamrec.models.learning.recipe import Parameter, Recipe
from streamrec.models.learning.steady_skops import skops_bytes
from streamrec.models.serving.trained.sklearn_file import untrusted_parts

_MISSING = ""  # of text, in the pipeline


class SklearnFit:
    """A pipeline that was fitted."""

    def __init__(
        self, recipe: Recipe, parameters: Mapping[str, Parameter], examples: Examples
    ) -> None:
        self._recipe = recipe
        self._pipeline = _pipeline(recipe, parameters)
        labels: NDArray[Any] = examples.labels
        if recipe.classes:
            labels = labels.astype(np.int64)
        self._pipeline.fit(
            object_matrix(recipe, examples), labels, model__sample_weight=examples.weights
        )

    def chances(self, examples: Examples) -> NDArray[np.float64]:
        """(n, labels), or the numbers (n,) of a recipe without labels."""
        matrix = object_matrix(self._recipe, examples)
        ask = self._pipeline.predict_proba if self._recipe.classes else self._pipeline.predict
        return np.asarray(ask(matrix), np.float64)

    def files(self, threshold: float | None) -> dict[str, bytes]:
        """The trained file and its description."""
        name = self._recipe.name
        content = skops_bytes(self._pipeline)
        text = description_of(
            self._recipe,
            f"{name}.skops",
            threshold=threshold,
            trust=untrusted_parts(content),
        )
        return {f"{name}.skops": content, f"{name}.toml": text.encode()}


def _pipeline(recipe: Recipe, parameters: Mapping[str, Parameter]) -> Any:
    from sklearn.pipeline import Pipeline  # here, since it takes a second

    is_linear = recipe.model.kind == "linear"
    before = _linear_columns(recipe) if is_linear else _tree_columns(recipe)
    model = _linear(recipe, parameters) if is_linear else _trees(recipe, parameters)
    return Pipeline([("inputs", before), ("model", model)])


def _linear_columns(recipe: Recipe) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    how = recipe.preprocess
    numbers, texts = _places(recipe)
    place_of = {each.name: place for place, each in enumerate(recipe.inputs)}
    parts = []
    if numbers:
        steps: list[tuple[str, Any]] = [
            # Kept where a column has no value at all, so that the columns stay what they are.
            (
                "missing",
                SimpleImputer(add_indicator=how.missing_marked, keep_empty_features=True),
            )
        ]
        if how.scale:
            steps.append(("scaled", StandardScaler()))
        parts.append(("numbers", Pipeline(steps), numbers))
    if texts:
        parts.append(("categories", _one_hot(how.max_categories), texts))
    for number, names in enumerate(how.crossed):
        crossed = Pipeline(
            [
                ("one by one", _one_hot(how.max_categories)),
                (
                    "crossed",
                    PolynomialFeatures(len(names), interaction_only=True, include_bias=False),
                ),
            ]
        )
        parts.append((f"crossed {number}", crossed, [place_of[name] for name in names]))
    return ColumnTransformer(parts)


def _one_hot(max_categories: int) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    return Pipeline(
        [
            ("missing", _missing_text(SimpleImputer)),
            (
                "one column each",
                OneHotEncoder(handle_unknown="ignore", max_categories=max_categories),
            ),
        ]
    )


def _missing_text(imputer: Any) -> Any:
    return imputer(
        missing_values=None, strategy="constant", fill_value=_MISSING, keep_empty_features=True
    )


def _tree_columns(recipe: Recipe) -> Any:
    """Numbers first, then codes."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    numbers, texts = _places(recipe)
    parts: list[tuple[str, Any, list[int]]] = []
    if numbers:
        # Changes nothing but the type: text and numbers came in one matrix.
        whole = SimpleImputer(strategy="constant", fill_value=np.nan, keep_empty_features=True)
        parts.append(("numbers", whole, numbers))
    if texts:
        codes = OrdinalEncoder(
            handle_unknown="use_encoded_value",
            unknown_value=np.nan,
            max_categories=recipe.preprocess.max_categories,
        )
        steps = [("missing", _missing_text(SimpleImputer)), ("codes", codes)]
        parts.append(("categories", Pipeline(steps), texts))
    return ColumnTransformer(parts)


def _places(recipe: Recipe) -> tuple[list[int], list[int]]:
    texts = [place for place, each in enumerate(recipe.inputs) if each.is_text]
    return [place for place in range(len(recipe.inputs)) if place not in texts], texts


def _linear(recipe: Recipe, parameters: Mapping[str, Parameter]) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    strength = float(parameters.get("C", 1.0))
    iterations = int(parameters.get("max_iter", 1_000))
    if recipe.classes:
        return LogisticRegression(C=strength, max_iter=iterations)
    return Ridge(alpha=1.0 / strength, max_iter=iterations)


def _trees(recipe: Recipe, parameters: Mapping[str, Parameter]) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if recipe.classes else HistGradientBoostingRegressor
    # Codes go in as numbers: told of categories, it would hold functions, which are not loaded.
    return kind(
        categorical_features=None,
        early_stopping=False,
        random_state=recipe.seed,
        **parameters,
    )


__all__ = ["SklearnFit"]
