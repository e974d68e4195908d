"""An autoencoder: what it cannot put together again is anomalous.

A small network (scikit-learn's `MLPRegressor`) learns to give back the signals that it is given,
through a layer that is narrower than they are. It is kept as a skops file: loading it executes
nothing, and its types are checked.
"""

import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import skops.io
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from skops.io.exceptions import UntrustedTypesFoundException

import streamrec as sr
from signals import SIGNALS

MODEL = Path(os.environ.get("CARS_AUTOENCODER", Path(__file__).with_name("autoencoder.skops")))
# Beyond the types that skops trusts: how the network was trained, which lies in it.
TRUSTED = ["sklearn.neural_network._stochastic_optimizers.AdamOptimizer"]
LAYERS = (24, 6, 24)  # the one in the middle is what a reading is pressed into


@dataclass(frozen=True, slots=True)
class Autoencoder:
    """A trained network over SIGNALS, and the score above which a reading is anomalous."""

    scaler: StandardScaler
    network: MLPRegressor
    threshold: float

    def scores(self, readings: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, signals) to (n,): mean squared error of the signals, in units of their variance."""
        scaled = self.scaler.transform(readings)
        errors: NDArray[np.float64] = ((self.network.predict(scaled) - scaled) ** 2).mean(axis=1)
        return errors


def train(readings: NDArray[np.float64], quantile: float, seed: int) -> Autoencoder:
    """Train on four fifths of the readings; the threshold is a quantile of the scores of the last
    fifth."""
    rows = np.random.default_rng(seed).permutation(len(readings))
    learned, held_out = np.split(readings[rows], [len(rows) * 4 // 5])
    scaler = StandardScaler().fit(learned)
    network = MLPRegressor(
        hidden_layer_sizes=LAYERS,
        activation="tanh",
        batch_size=256,
        max_iter=20,
        random_state=seed,
    )
    scaled = scaler.transform(learned)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # so many rounds are enough
        network.fit(scaled, scaled)
    trained = Autoencoder(scaler, network, 0.0)
    threshold = float(np.quantile(trained.scores(held_out), quantile))
    return Autoencoder(scaler, network, threshold)


def save(trained: Autoencoder, path: Path, facts: dict[str, object]) -> None:
    """Write the network, and a JSON file beside it: signals, threshold, and `facts`."""
    skops.io.dump(make_pipeline(trained.scaler, trained.network), path)
    told = {"signals": list(SIGNALS), "threshold": trained.threshold, **facts}
    path.with_suffix(".json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def load(path: Path) -> Autoencoder:
    """Raises StartError where there is none, or where it is something else."""
    try:
        pipeline = skops.io.load(path, trusted=TRUSTED)
        told = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError, BadZipFile, UntrustedTypesFoundException) as error:
        raise sr.StartError(
            f"expected an autoencoder in {path} (train_autoencoder.py makes one), got {error}"
        ) from error
    if told.get("signals") != list(SIGNALS) or not isinstance(pipeline, Pipeline):
        raise sr.StartError(f"{path}: expected an autoencoder of {', '.join(SIGNALS)}, got {told}")
    scaler, network = (step for _, step in pipeline.steps)
    return Autoencoder(scaler, network, float(told["threshold"]))


__all__ = ["MODEL", "Autoencoder", "load", "save", "train"]
