"""`OnlineLearner`: a recipe's linear model that predicts and then learns, one example at a time.

river's scaling and logistic (or linear) regression over columns of 0 and 1 for texts, for missing
values and for crossed texts. Its state is plain values; its weights are served as they are
(`models.serving.trained.linear_file`).
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from river import linear_model, optim, preprocessing, utils

from streamrec.models.learning.described import description_of
from streamrec.models.learning.recipe import Recipe
from streamrec.models.loading import BadModel
from streamrec.models.serving.trained.linear_file import FORMAT, SUFFIX

_LEARNING_RATE = 0.03
_L2 = 1e-6
_CLIP = 10.0  # of a gradient: one example changes little, whatever it holds

# A column: of a number, of its being missing, of a text's value, of crossed values.
Column = tuple[Any, ...]
_NUMBER, _MISSING, _TEXT, _CROSSED = "number", "missing", "text", "crossed"


class OnlineLearner:
    """One model. Of each text `max_categories` values are learned, of crossed ones ten times as
    many; the first that come, any others weigh nothing. So state is bounded."""

    def __init__(self, recipe: Recipe) -> None:
        """Raises BadModel for a recipe that is not linear, or of more than two labels."""
        if recipe.model.kind != "linear" or recipe.classes not in (0, 2):
            raise BadModel(
                f"recipe {recipe.name!r}: learning online expected model.kind 'linear' and two "
                f"labels or none, got {recipe.model.kind!r} and {recipe.classes}"
            )
        self.recipe = recipe
        said = recipe.model.parameters
        rate = optim.SGD(float(said.get("learning_rate", _LEARNING_RATE)))
        kind: Any = (
            linear_model.LogisticRegression if recipe.classes else linear_model.LinearRegression
        )
        self._model = kind(optimizer=rate, l2=float(said.get("l2", _L2)), clip_gradient=_CLIP)
        self._scaler = preprocessing.StandardScaler()
        self._numbers = [each.name for each in recipe.inputs if not each.is_text]
        self._texts = [each.name for each in recipe.inputs if each.is_text]
        self._counts: Counter[Column] = (
            Counter()
        )  # of columns that are learned, by what they are of
        self._known: set[Column] = set()

    def predict(self, inputs: Mapping[str, Any]) -> float:
        """The second label's chance, or the number. Changes nothing. Raises TypeError, ValueError
        for inputs that do not fit."""
        return self._answer(self._columns(inputs))

    def learn(self, inputs: Mapping[str, Any], label: float, weight: float = 1.0) -> float:
        """Predict, then learn; gives what it predicted. Raises as `predict` does."""
        found = self._answer(self._columns(inputs))
        numbers = self._given(inputs)
        self._scaler.learn_one(numbers)  # type: ignore[no-untyped-call]  # river's are not typed
        columns = {
            column: value
            for column, value in self._columns(inputs).items()
            if column in self._known or self._is_new(column)
        }
        target = bool(label > 0) if self.recipe.classes else float(label)
        self._model.learn_one(columns, target, w=weight)
        return found

    def files(self, threshold: float | None) -> dict[str, bytes]:
        """The weights, and the description."""
        name = self.recipe.name
        weights = json.dumps(self.weights(), ensure_ascii=False, sort_keys=True)
        text = description_of(self.recipe, f"{name}{SUFFIX}", threshold=threshold)
        return {f"{name}{SUFFIX}": weights.encode(), f"{name}.toml": text.encode()}

    def weights(self) -> dict[str, Any]:
        """What is served, as `linear_file` has it."""
        held = self._model.weights
        texts: dict[str, dict[str, Any]] = {
            name: {"weights": {}, "missing": 0.0} for name in self._texts
        }
        crossed: list[dict[str, Any]] = [
            {"names": list(names), "weights": []} for names in self.recipe.preprocess.crossed
        ]
        for column in sorted(held, key=repr):
            what, of, *values = column
            weight = float(held[column])
            if what == _TEXT and values[0] is None:
                texts[of]["missing"] = weight
            elif what == _TEXT:
                texts[of]["weights"][values[0]] = weight
            elif what == _CROSSED:
                crossed[of]["weights"].append([*values, weight])
        numbers = {
            name: {
                "mean": float(self._scaler.means[name]) if self._scales else 0.0,
                "inverse": self._inverse(name),
                "weight": float(held.get((_NUMBER, name), 0.0)),
                "missing": float(held.get((_MISSING, name), 0.0)),
            }
            for name in self._numbers
        }
        return {
            "format": FORMAT,
            "link": "logistic" if self.recipe.classes else "identity",
            "intercept": float(self._model.intercept),
            "numbers": numbers,
            "texts": texts,
            "crossed": crossed,
        }

    def state(self) -> dict[str, Any]:
        """Plain values, from which `restored` goes on exactly."""
        scaler = self._scaler
        return {
            "scaler": [
                [name, scaler.counts[name], scaler.means[name], scaler.vars[name]]
                for name in self._numbers
                if name in scaler.counts
            ],
            "weights": [[list(column), weight] for column, weight in self._model.weights.items()],
            "known": sorted(([*column] for column in self._known), key=repr),
            "intercept": self._model.intercept,
            "iterations": self._model.optimizer.n_iterations,
        }

    @classmethod
    def restored(cls, recipe: Recipe, state: Mapping[str, Any]) -> "OnlineLearner":
        """The learner that `state` told of."""
        made = cls(recipe)
        scaler, model = made._scaler, made._model
        said = state["scaler"]
        scaler.counts = Counter({name: count for name, count, _, _ in said})
        scaler.means = defaultdict(float, {name: mean for name, _, mean, _ in said})
        scaler.vars = defaultdict(float, {name: variance for name, _, _, variance in said})
        weights = {tuple(column): weight for column, weight in state["weights"]}
        model._weights = utils.VectorDict(weights)
        model.intercept = state["intercept"]
        model.optimizer.n_iterations = state["iterations"]
        made._known = {tuple(column) for column in state["known"]}
        made._counts = Counter(column[:2] for column in made._known)
        return made

    @property
    def _scales(self) -> bool:
        return self.recipe.preprocess.scale

    def _answer(self, columns: Mapping[Column, float]) -> float:
        if self.recipe.classes:
            return float(self._model.predict_proba_one(columns)[True])
        return float(self._model.predict_one(columns))

    def _given(self, inputs: Mapping[str, Any]) -> dict[str, float]:
        """The numbers that are there."""
        found = {}
        for name in self._numbers:
            value = inputs.get(name)
            if value is not None:
                if not isinstance(value, bool | int | float):
                    raise TypeError(f"input {name!r} expected a number, got {value!r}")
                found[name] = float(value)
        return found

    def _columns(self, inputs: Mapping[str, Any]) -> dict[Column, float]:
        given = self._given(inputs)
        made: dict[Column, float] = {}
        for name in self._numbers:
            if name in given:
                mean = self._scaler.means[name] if self._scales else 0.0
                made[_NUMBER, name] = (given[name] - mean) * self._inverse(name)
            elif self.recipe.preprocess.missing_marked:
                made[_MISSING, name] = 1.0
        for name in self._texts:
            value = inputs.get(name)
            if value is not None and not isinstance(value, str):
                raise TypeError(f"input {name!r} expected text, got {value!r}")
            made[_TEXT, name, value] = 1.0
        for place, names in enumerate(self.recipe.preprocess.crossed):
            made[_CROSSED, place, *(inputs.get(name) for name in names)] = 1.0
        return made

    def _inverse(self, name: str) -> float:
        if not self._scales:
            return 1.0
        variance = float(self._scaler.vars[name])
        return variance**-0.5 if variance > 0 else 0.0  # as river does: what never varied is 0

    def _is_new(self, column: Column) -> bool:
        """Whether there is room for a column that was not seen; then it is known from now on."""
        most = self.recipe.preprocess.max_categories
        kind = column[:2]
        if column[0] == _CROSSED:
            most *= 10
        if column[0] in (_TEXT, _CROSSED) and self._counts[kind] >= most:
            return False
        self._counts[kind] += 1
        self._known.add(column)
        return True


__all__ = ["OnlineLearner"]
