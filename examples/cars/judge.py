"""How well each model tells ill cars from healthy ones, beside a plain rule.

    python judge.py --labels faults.csv --first 50000

Reads the topic as the dataflows do. The trees go over all of it, from its beginning, as they would
have; what is judged are readings from offset `--first` on in each partition.
"""

import argparse
import csv
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

import streamrec as sr
from autoencoder import MODEL, load
from comparisons import UNIT, compared
from fleet import FAULTS
from from_topic import RangeError, Readings, read_columns
from half_space import OnlineTrees, Options
from signals import CARS
from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Log, LogError
from streamrec.connectors.log_settings import LogSettings
from streamrec.schemas.placing import keys_of

Scores = NDArray[np.float64]


class Judged(NamedTuple):
    """Readings of cars that may be ill."""

    faults: NDArray[np.int64]  # (n,) index in FAULTS, -1: healthy
    scores: dict[str, Scores]  # (n,) by what scored


class Labels:
    """Which car is ill from when on."""

    def __init__(self, path: Path) -> None:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self._ill = {
            row["vehicle_id"].encode(): (FAULTS.index(row["fault"]), int(row["from_ms"]))
            for row in rows
        }

    def faults(self, readings: Readings) -> NDArray[np.int64]:
        """(m,): index in FAULTS of what is wrong with each, -1: nothing."""
        ids, times = readings.columns["vehicle_id"], readings.columns["sent_at"]
        assert isinstance(ids, sr.Bytes) and isinstance(times, sr.Numbers)
        keys = keys_of(ids)
        at_ms = times.values.astype(np.int64).tolist()
        found = np.full(len(readings.rows), -1, np.int64)
        for place, row in enumerate(readings.rows.tolist()):
            fault, from_ms = self._ill.get(keys[row] or b"", (-1, 0))
            if fault >= 0 and at_ms[row] >= from_ms:
                found[place] = fault
        return found


class Limits:
    """The plain rule: how far the worst signal lies outside of what was normal, in parts of its
    normal span."""

    def __init__(self, normal: NDArray[np.float64]) -> None:
        self._low, self._high = np.quantile(normal, [0.001, 0.999], axis=0)

    def scores(self, readings: NDArray[np.float64]) -> Scores:
        middle, half = (self._low + self._high) / 2, (self._high - self._low) / 2
        worst: Scores = (np.abs(readings - middle) / half).max(axis=1)
        return worst


def judge(log: Log, topic: str, labels: Labels, first: int) -> Judged:
    """Score a topic; the limits of rules are those of what lies before `first`."""
    trees: dict[int, OnlineTrees] = {}
    autoencoder = load(MODEL)
    before = list(read_columns(log, topic, 0, first))
    healthy = np.concatenate([readings.signals for readings in before])
    plain, on_comparisons = Limits(healthy), Limits(compared(healthy))
    for readings in before:
        _trees_of(trees, readings).advance(compared(readings.signals))
    faults: list[NDArray[np.int64]] = []
    scores: dict[str, list[Scores]] = {}
    for readings in read_columns(log, topic, first, None):
        faults.append(labels.faults(readings))
        comparisons = compared(readings.signals)
        found = {
            "threshold rule": plain.scores(readings.signals),
            "  on comparisons": on_comparisons.scores(comparisons),
            "half-space trees": _trees_of(trees, readings).advance(comparisons)[0],
            "autoencoder": autoencoder.scores(readings.signals),
        }
        for name, each in found.items():
            scores.setdefault(name, []).append(each)
    return Judged(
        np.concatenate(faults), {name: np.concatenate(each) for name, each in scores.items()}
    )


def _trees_of(trees: dict[int, OnlineTrees], readings: Readings) -> OnlineTrees:
    """A partition's own trees."""
    if readings.partition not in trees:
        trees[readings.partition] = OnlineTrees(UNIT, Options())
    return trees[readings.partition]


def auc(judged: Judged, name: str, fault: int | None = None) -> float:
    """Odds that an ill reading scores higher than a healthy one, of one fault or of all."""
    faults = judged.faults
    healthy, ill = faults < 0, faults >= 0 if fault is None else faults == fault
    if not ill.any() or not healthy.any():
        return float("nan")
    chosen = healthy | ill
    return float(roc_auc_score(ill[chosen], judged.scores[name][chosen]))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topic", default=CARS.name)
    parser.add_argument("--labels", type=Path, default=Path("faults.csv"))
    parser.add_argument("--first", type=int, required=True, help="offset, in each partition")
    given = parser.parse_args(arguments)
    try:
        judged = judge(open_log(LogSettings()), given.topic, Labels(given.labels), given.first)
    except (LogError, RangeError, OSError, sr.StartError) as error:
        sys.exit(str(error))
    ill = judged.faults >= 0
    print(f"{len(ill):,} readings, {int(ill.sum()):,} of them of ill cars")
    print(f"{'AUC':<18}{'all':>8}" + "".join(f"{fault:>16}" for fault in FAULTS))
    for name in judged.scores:
        each = "".join(f"{auc(judged, name, at):>16.3f}" for at in range(len(FAULTS)))
        print(f"{name:<18}{auc(judged, name):>8.3f}{each}")


if __name__ == "__main__":
    main(sys.argv[1:])
