"""LightGBM's own text format, which is parsed and never run."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.models.loading import BadModel
from streamrec.models.serving.trained.description import Description
from streamrec.models.serving.trained.engine import Found, chosen_of

_UNNAMED = "Column_"


class LightgbmEngine:
    """Asks the booster with one thread: the process has others."""

    codes_categories = True

    def __init__(self, path: Path, description: Description) -> None:
        """Raises BadModel."""
        import lightgbm  # here, since it takes a second

        try:
            text = path.read_text()
            if not text.startswith("tree\n"):
                raise BadModel(f"{path} expected LightGBM's text format, got {text[:20]!r}")
            self._booster = lightgbm.Booster(model_str=text)
        except (lightgbm.basic.LightGBMError, OSError, UnicodeDecodeError) as error:
            raise BadModel(f"{path} expected LightGBM's text format: {error}") from error
        self._check_inputs(path, description)
        self._outputs = self._booster.num_model_per_iteration()
        self.labels = description.output.labels
        self._threshold = description.output.threshold
        objective = next((x for x in text[:4000].splitlines() if x.startswith("objective=")), "")
        self._check_output(path, description, objective)

    def ask(self, matrix: NDArray[Any]) -> Found:
        found = np.asarray(self._booster.predict(matrix, num_threads=1), np.float64)
        found = found.reshape(len(matrix), -1)
        if not self.labels:
            return Found(numbers=found)
        chances = np.hstack([1.0 - found, found]) if self._outputs == 1 else found
        return Found(chosen=chosen_of(chances, self._threshold), chances=chances)

    def _check_inputs(self, path: Path, description: Description) -> None:
        names = [each.name for each in description.inputs]
        fitted = self._booster.feature_name()
        if len(fitted) != len(names):
            raise BadModel(
                f"{path} expected {len(fitted)} inputs in its description, got {len(names)}"
            )
        are_named = not all(each.startswith(_UNNAMED) for each in fitted)
        if are_named and fitted != [each.replace(" ", "_") for each in names]:
            raise BadModel(
                f"{path} expected the inputs {', '.join(fitted)} in this order, "
                f"got {', '.join(names)}"
            )
        refuse_bare_text(path, description)

    def _check_output(self, path: Path, description: Description, objective: str) -> None:
        output = description.output
        if self.labels:
            wanted = 2 if self._outputs == 1 else self._outputs
            if len(self.labels) != wanted:
                raise BadModel(f"{path}: labels expected {wanted} names, got {len(self.labels)}")
            if not objective.startswith(("objective=binary", "objective=multiclass")):
                raise BadModel(
                    f"{path}: labels expected a classifier, got {objective or 'no objective'}"
                )
        elif output.probability or output.probabilities or output.threshold:
            raise BadModel(f"{path}: probability, probabilities and threshold expected labels")
        elif len(output.names or (output.name,)) != self._outputs:
            got = ", ".join(output.names or (output.name,))
            raise BadModel(f"{path}: output expected {self._outputs} names, got {got}")


def refuse_bare_text(path: Path, description: Description) -> None:
    """Raises BadModel for text of which nothing says what its numbers are."""
    bare = [each.name for each in description.inputs if each.is_text and not each.categories]
    if bare:
        raise BadModel(
            f"{path}: {', '.join(bare)} expected type category with its categories, in the order "
            "of their codes"
        )
