"""Anomalies by an autoencoder that was trained before (`train_autoencoder.py`).

    cars ─▶ decode ─▶ score ─▶ encode car-alerts ─▶ car-alerts
              └─ bad ────────────┴─ unencodable ─▶ encode errors ─▶ errors

- `cars`: key vehicle_id, value `cars.avsc`; event time in Unix milliseconds.
- `car-alerts`: key vehicle_id, value `car_alerts.avsc`; one record for each reading that scores
  above the threshold, also over a crash.

What has come is scored by one call, column by column; no reading is ever a dict. The file is named
by CARS_AUTOENCODER. `streamrec run --flow reconstruct -r state -s 10 -b 0` runs it.
"""

from collections.abc import Callable, Iterator
from itertools import groupby

import numpy as np
from bytewax.dataflow import Dataflow

import streamrec as sr
from alerts import AlertColumns, Anomalous
from autoencoder import MODEL, Autoencoder, load
from signals import CAR_ALERTS, CARS, RULES, matrix_of

FLOW_ID = "cars-autoencoder"


class Score:
    """Joins the shards of a batch again, and scores its readings at once."""

    def __init__(self, model: Callable[[], Autoencoder]) -> None:
        self._model = model

    def __call__(self, parts: list[sr.ShardRecords]) -> Iterator[Anomalous]:
        model = self._model()
        for _, group in groupby(parts, key=lambda part: id(part.batch)):
            same = list(group)
            batch = same[0].batch
            rows = np.sort(np.concatenate([part.rows for part in same]))
            scores = model.scores(matrix_of(batch.columns, rows))
            above = scores > model.threshold
            if above.any():
                limits = np.full(int(above.sum()), model.threshold)
                yield Anomalous(batch, rows[above], scores[above], limits)


def build_flow(job: sr.Job) -> Dataflow:
    flow = Dataflow(FLOW_ID)
    model = job.share(lambda: load(MODEL))
    decode = sr.decode_records(job, CARS, rules=RULES)
    cars = sr.each_batch("decode", job.read(flow, CARS), decode, failing="bad")
    scored = sr.each_batch("score", cars.good, Score(model), failing="failed")
    wrong = job.write(scored.good, CAR_ALERTS, AlertColumns(FLOW_ID), failing="unencodable")
    job.write_errors(cars.failed, wrong)
    return flow


def flow() -> Dataflow:
    return build_flow(sr.open_job(FLOW_ID))
