"""Anomalies by half-space trees that learn as they go.

    cars ─▶ decode ─▶ watch ─▶ encode car-alerts ─▶ car-alerts
              └─ bad ──┴─ failed ─┴─ unencodable ─▶ encode errors ─▶ errors

- `cars`: key vehicle_id, value `cars.avsc`; event time in Unix milliseconds.
- `car-alerts`: key vehicle_id, value `car_alerts.avsc`; one record for each reading that scores
  above the threshold, also over a crash.

Each shard of cars has trees of its own. They are kept with the shard: a restart goes on with what
was learned. `streamrec run --flow online -r state -s 10 -b 0` runs it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from bytewax.dataflow import Dataflow

import streamrec as sr
from alerts import AlertColumns, Anomalous
from comparisons import UNIT, compared
from half_space import OnlineTrees, Options
from signals import CAR_ALERTS, CARS, RULES, matrix_of

FLOW_ID = "cars-online"


class Watch:
    """The cars of one shard: each reading is scored, then learned from if it is normal."""

    def __init__(self, options: Options | None = None) -> None:
        self.trees = OnlineTrees(UNIT, options or Options())

    def update(self, items: list[sr.ShardRecords]) -> list[Anomalous]:
        found = []
        for part in items:
            scores, thresholds = self.trees.advance(
                compared(matrix_of(part.batch.columns, part.rows))
            )
            above = scores > thresholds
            if above.any():
                rows = part.rows[above]
                found.append(Anomalous(part.batch, rows, scores[above], thresholds[above]))
        return found

    def changed(self, whole: bool) -> tuple[pa.Table, dict[str, Any]]:
        """One row a tree: all of them change between any two snapshots."""
        trees = self.trees
        table = {
            "tree": np.arange(len(trees.features)),
            **{name: list(getattr(trees, name)) for name in TREE_ARRAYS},
        }
        return pa.table(table), {name: getattr(trees, name).tolist() for name in SMALL_ARRAYS}

    def restore(self, tables: Sequence[pa.Table], facts: dict[str, Any]) -> None:
        """Trees are restored with where they divide: another river may grow other ones."""
        newest = tables[-1]
        for name in TREE_ARRAYS:
            getattr(self.trees, name)[:] = np.stack(newest[name].to_numpy())
        for name in SMALL_ARRAYS:
            getattr(self.trees, name)[:] = facts[name]


TREE_ARRAYS = ("features", "cuts", "coming", "masses")
SMALL_ARRAYS = ("histogram", "counts", "threshold")


def build_flow(job: sr.Job) -> Dataflow:
    flow = Dataflow(FLOW_ID)
    decode = sr.decode_records(job, CARS, rules=RULES)
    cars = sr.each_batch("decode", job.read(flow, CARS), decode, failing="bad")
    watched = sr.by_shard("watch", cars.good, job.keep(Watch), failing="failed")
    wrong = job.write(watched.good, CAR_ALERTS, AlertColumns(FLOW_ID), failing="unencodable")
    job.write_errors(cars.failed, watched.failed, wrong)
    return flow


def flow() -> Dataflow:
    return build_flow(sr.open_job(FLOW_ID))
