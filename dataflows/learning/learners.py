"""What is kept of one pipeline: how far it was counted, its drift, and of online ones the model."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from streamrec.dataflows.learning.plan import TrainerKeys
from streamrec.dataflows.learning.progress import Counted
from streamrec.dataflows.learning.targets import error_of
from streamrec.models.learning.adwin import Adwin
from streamrec.models.learning.examples import Examples
from streamrec.models.learning.fit import about_bytes, about_model, chosen_threshold, measured
from streamrec.models.learning.online import OnlineLearner
from streamrec.models.learning.recipe import Recipe

_JUDGED = 500  # of an online model, the newest answers by which it is judged


class Version(NamedTuple):
    """A model that is to be published."""

    name: str
    files: Mapping[str, bytes]
    about: Mapping[str, Any]


class Counting:
    """Counts, and whether the error has risen. State is plain values."""

    def __init__(self, keys: TrainerKeys, recipe: Recipe | None) -> None:
        self.keys = keys
        self.recipe = recipe
        self.progress = Counted()
        self.drift = Adwin()

    def take(self, example: Mapping[str, Any], inputs: Mapping[str, Any], label: float) -> bool:
        """One example that counts; whether the error has risen with it."""
        self.progress.add(self.keys.max_examples)
        if example["score"] is None:
            return False
        classes = 2 if self.recipe is None else self.recipe.classes
        return self.drift.update(error_of(example["score"], label, classes))

    def state(self) -> dict[str, Any]:
        return {"progress": self.progress.state(), "drift": self.drift.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what `state` told of."""
        self.progress = Counted.restored(state["progress"])
        self.drift = Adwin.restored(state["drift"])


class Online(Counting):
    """The same with a model that predicts and then learns; its own error is the one that drifts."""

    def __init__(self, keys: TrainerKeys, recipe: Recipe) -> None:
        """Raises BadModel for a recipe that cannot be learned online."""
        super().__init__(keys, recipe)
        self._recipe = recipe
        self._learner = OnlineLearner(recipe)
        self._judged: deque[tuple[float, float, float, int]] = deque(maxlen=_JUDGED)
        self._first_ms: int | None = None

    def take(self, example: Mapping[str, Any], inputs: Mapping[str, Any], label: float) -> bool:
        """As of Counting. Raises TypeError or ValueError for what does not fit; then nothing is
        counted."""
        weight = float(example["weight"])
        if not (math.isfinite(label) and math.isfinite(weight) and weight >= 0):
            raise ValueError(
                f"label and weight expected finite numbers, the weight >= 0, got {label} and "
                f"{weight}"
            )
        time_ms = example["labelled_ms"]
        predicted = self._learner.learn(inputs, label, weight)
        self.progress.add(self.keys.max_examples)
        label = float(label > 0) if self._recipe.classes else label
        self._judged.append((predicted, label, weight, time_ms))
        self._first_ms = time_ms if self._first_ms is None else self._first_ms
        return self.drift.update(error_of(predicted, label, self._recipe.classes))

    def version(self, run: Mapping[str, Any]) -> Version:
        """The model as it is now, with what is known of it."""
        recipe = self._recipe
        predicted, labels, weights, times = (
            np.array(each) for each in zip(*self._judged, strict=True)
        )
        chances = np.stack([1.0 - predicted, predicted], 1) if recipe.classes else predicted
        judged = Examples({}, labels, weights, times.astype(np.int64))
        threshold = chosen_threshold(recipe, chances, judged)
        files = self._learner.files(threshold)
        about = about_model(
            recipe,
            files,
            metrics=measured(recipe, chances, judged),
            threshold=threshold,
            facts={
                "trainer": "online",
                "parameters": dict(recipe.model.parameters),
                "trained": {
                    "examples": self.progress.count,
                    "from_ms": self._first_ms,
                    "until_ms": int(times[-1]),
                },
                "validated": {
                    "examples": len(labels),
                    "from_ms": int(times[0]),
                    "until_ms": int(times[-1]),
                },
                "run": dict(run),
            },
        )
        return Version(recipe.name, {**files, "about.json": about_bytes(about)}, about)

    def state(self) -> dict[str, Any]:
        return {
            **super().state(),
            "learner": self._learner.state(),
            "judged": [list(each) for each in self._judged],
            "first_ms": self._first_ms,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self._learner = OnlineLearner.restored(self._recipe, state["learner"])
        self._judged.extend((p, y, w, ms) for p, y, w, ms in state["judged"])
        self._first_ms = state["first_ms"]


__all__ = ["Counting", "Online", "Version"]
