"""Purchase propensity: how likely a user is to buy within the hour, a logistic score of counts.

The model is one small JSON file: names of the features it reads, in order, a coefficient for each,
and an intercept. It holds numbers only, so that loading it runs nothing.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import kernel
from streamrec.models.artifact import BadArtifact

PROPENSITY_FILE = Path(__file__).parent / "artifacts" / "propensity.json"


@kernel("float32[::1](float32[:, ::1], int64[::1], float32[::1], float32)")
def _logistic(
    features: NDArray[np.float32],
    rows: NDArray[np.int64],
    coefficients: NDArray[np.float32],
    intercept: np.float32 | float,
) -> NDArray[np.float32]:
    """Scores of some rows. A loop, since NumPy would copy the rows first and make four passes."""
    scores = np.empty(len(rows), np.float32)
    for i in range(len(rows)):
        total = intercept
        for j in range(len(coefficients)):
            total += coefficients[j] * features[rows[i], j]
        scores[i] = np.float32(1) / (np.float32(1) + np.exp(-total))
    return scores


@dataclass(frozen=True, slots=True)
class Propensity:
    """Scores users by their features. Keeps no state and does not learn online.

    >>> model = Propensity(("carts",), np.array([0.5], np.float32), -2.0, "v1")
    >>> model.scores(np.array([[0.0], [4.0]], np.float32), np.array([0, 1])).round(3).tolist()
    [0.11900000274181366, 0.5]
    """

    features: tuple[str, ...]  # names, in the order of the columns
    coefficients: NDArray[np.float32]  # (n_features,)
    intercept: float
    version: str  # digest of the artifact

    def scores(self, features: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """`features` (n, n_features), `rows` (m,) of it to score; returns (m,) within [0, 1]."""
        scores: NDArray[np.float32] = _logistic(features, rows, self.coefficients, self.intercept)
        return scores


def save_propensity(
    path: Path, features: Sequence[str], coefficients: NDArray[np.float64], intercept: float
) -> None:
    """Write a model; floats in as many digits as float32 holds."""
    model = {
        "intercept": float(np.float32(intercept)),
        "coefficients": {
            name: round(float(value), 7) for name, value in zip(features, coefficients, strict=True)
        },
    }
    path.write_text(json.dumps(model, indent=2) + "\n")


def read_features(path: Path) -> tuple[str, ...]:
    """The features that a model reads, in order. Raises BadArtifact."""
    try:
        return tuple(json.loads(path.read_bytes())["coefficients"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadArtifact(f"{path} expected coefficients by feature: {error!r}") from error


def load_propensity(path: Path, features: Sequence[str]) -> Propensity:
    """Read a model for these features. Raises BadArtifact when it is not one or reads others."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BadArtifact(f"{path} expected a model as JSON, got {error.strerror}") from error
    try:
        model = json.loads(text)
        by_name: dict[str, float] = model["coefficients"]
        coefficients = np.array(list(by_name.values()), np.float32)
        intercept = float(model["intercept"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadArtifact(f"{path} expected intercept and coefficients: {error!r}") from error
    if tuple(by_name) != tuple(features):
        raise BadArtifact(
            f"{path} expected coefficients of {', '.join(features)}, got {', '.join(by_name)}; "
            "train it anew for the declared features"
        )
    if not (np.isfinite(coefficients).all() and np.isfinite(intercept)):
        raise BadArtifact(f"{path} expected finite numbers, got {by_name} and {intercept}")
    version = hashlib.sha256(text).hexdigest()[:12]
    return Propensity(tuple(by_name), coefficients, intercept, version)
