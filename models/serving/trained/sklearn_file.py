"""A scikit-learn pipeline in a skops file: loaded type by type, asked with a plain matrix.

pandas is not needed. A ColumnTransformer that was fitted with names of columns is asked by their
places, which the pipeline knows; the names must be those of the description, in their order.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.models.loading import BadModel
from streamrec.models.serving.trained.description import Description
from streamrec.models.serving.trained.engine import Found, chosen_of

# What is trusted beside skops' own list: data that fitted parts hold.
_TRUSTED = frozenset(
    {
        "numpy.dtype",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.compose._column_transformer._RemainderColsList",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    }
)
# What a description may trust beyond what skops does: types of these packages only. Some of their
# internal ones (trees) can crash a process when a file was crafted; they run nothing.
_TRUSTABLE = ("sklearn.", "numpy.", "scipy.")


class SklearnEngine:
    """Asks `predict`, or `predict_proba` where chances are wanted."""

    codes_categories = False

    def __init__(self, path: Path, description: Description) -> None:
        """Raises BadModel."""
        self._model = _loaded(path, description)
        _check_inputs(path, self._model, [each.name for each in description.inputs])
        _by_places(self._model)
        output = description.output
        self._threshold = output.threshold
        self._classes = _classes(self._model)
        self.labels = _labels(path, self._classes, output.labels)
        wants_chances = bool(output.probability or output.probabilities or output.threshold)
        if wants_chances and not (self.labels and hasattr(self._model, "predict_proba")):
            raise BadModel(
                f"{path}: probability, probabilities and threshold expected a classifier with "
                f"predict_proba, got {type(self._model).__name__}"
            )
        self._wants_chances = wants_chances

    def ask(self, matrix: NDArray[Any]) -> Found:
        if not self.labels:
            numbers = np.asarray(self._model.predict(matrix), np.float64)
            return Found(numbers=numbers.reshape(len(matrix), -1))
        if self._wants_chances:
            chances = np.asarray(self._model.predict_proba(matrix), np.float64)
            return Found(chosen=chosen_of(chances, self._threshold), chances=chances)
        return Found(chosen=np.searchsorted(self._classes, self._model.predict(matrix)))


def _loaded(path: Path, description: Description) -> Any:
    import skops.io  # here, since it takes seconds

    refused = [each for each in description.trust if not _is_trustable(each)]
    if refused:
        raise BadModel(
            f"{path}: trust expected types of {', '.join(p[:-1] for p in _TRUSTABLE)}, "
            f"got {', '.join(refused)}"
        )
    try:
        untrusted = skops.io.get_untrusted_types(file=path)
        known = _TRUSTED.union(description.trust)
        unknown = [each for each in untrusted if each not in known]
        if unknown:
            raise BadModel(
                f"{path} expected types that are trusted, got {', '.join(map(str, unknown))}; "
                "those of scikit-learn, NumPy and SciPy can be named in its description: "
                "trust = [...]"
            )
        return skops.io.load(path, trusted=[*untrusted])
    except BadModel:
        raise
    except Exception as error:  # a broken file, another version: whatever skops stumbles over
        raise BadModel(f"{path} expected a skops file: {type(error).__name__}: {error}") from error


def untrusted_parts(content: bytes) -> list[str]:
    """The types of a skops file, given as bytes, that its description must trust by name."""
    import skops.io  # here, since it takes seconds

    return sorted({*skops.io.get_untrusted_types(data=content)} - _TRUSTED)


def _is_trustable(name: str) -> bool:
    """Whether it is a class: some functions of these packages run what they are given, as a
    FunctionTransformer would with each record."""
    if not name.startswith(_TRUSTABLE):
        return False
    module, _, held = name.rpartition(".")
    try:
        return isinstance(getattr(import_module(module), held, None), type)
    except ImportError:
        return False


def _check_inputs(path: Path, model: Any, names: list[str]) -> None:
    if not callable(getattr(model, "predict", None)):
        raise BadModel(f"{path} expected a model with predict, got {type(model).__name__}")
    count = getattr(model, "n_features_in_", None)
    if count is not None and count != len(names):
        raise BadModel(f"{path} expected {count} inputs in its description, got {len(names)}")
    fitted = getattr(model, "feature_names_in_", None)
    if fitted is not None and fitted.tolist() != names:
        raise BadModel(
            f"{path} expected the inputs {', '.join(map(str, fitted))} in this order, "
            f"got {', '.join(names)}"
        )


def _by_places(model: Any) -> None:
    """Let every part be asked without names of columns, which a plain matrix has not."""
    for part in _parts(model, set()):
        places = getattr(part, "_transformer_to_input_indices", None)
        if places is not None and hasattr(part, "transformers_"):
            part.transformers_ = [
                (name, each, list(places[name]) if name in places else columns)
                for name, each, columns in part.transformers_
            ]
        if "feature_names_in_" in getattr(part, "__dict__", {}):
            del part.feature_names_in_


def _parts(thing: Any, seen: set[int]) -> list[Any]:
    if id(thing) in seen:
        return []
    seen.add(id(thing))
    if isinstance(thing, dict):
        return [part for each in thing.values() for part in _parts(each, seen)]
    if isinstance(thing, list | tuple):
        return [part for each in thing for part in _parts(each, seen)]
    if hasattr(thing, "get_params") and not isinstance(thing, type):
        return [thing, *_parts(vars(thing), seen)]
    return []


def _classes(model: Any) -> Any:
    found = getattr(model, "classes_", None)
    return found if isinstance(found, np.ndarray) and found.ndim == 1 else None


def _labels(path: Path, classes: Any, said: tuple[str, ...]) -> tuple[str, ...]:
    """In the order of the model's classes, which is that of its chances."""
    if classes is None:
        if said:
            raise BadModel(f"{path}: labels expected a classifier, got a model without classes")
        return ()
    own = [str(each) for each in classes.tolist()]
    is_text = classes.dtype.kind in "OU"
    if not said:
        return tuple(own) if is_text else ()
    if len(said) != len(own) or (is_text and set(said) != set(own)):
        raise BadModel(
            f"{path}: labels expected names of the {len(own)} classes {', '.join(own)}, "
            f"got {', '.join(said)}"
        )
    return tuple(own) if is_text else said
