"""What both dataflows write: an alert for each reading that a model finds anomalous."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import streamrec as sr


@dataclass(frozen=True, slots=True)
class Anomalous:
    """Some readings of a batch that score above the threshold."""

    batch: sr.RecordBatch
    rows: NDArray[np.int64]  # (m,), increasing
    scores: NDArray[np.float64]  # (m,)
    thresholds: NDArray[np.float64]  # (m,) as each was judged


class AlertColumns:
    """Makes the columns of `car-alerts`."""

    def __init__(self, dataflow: str) -> None:
        self._dataflow = dataflow

    def __call__(self, found: list[Anomalous]) -> Iterator[sr.Records]:
        for some in found:
            batch, rows, m = some.batch, some.rows, len(some.rows)
            places = batch.places(rows)
            keys = batch.keys
            yield sr.Records(
                {
                    "vehicle_id": sr.Bytes(keys.data, keys.starts[rows], keys.lengths[rows]),
                    "sent_at": sr.Numbers(batch.times_ms[rows]),
                    "score": sr.Numbers(some.scores),
                    "threshold": sr.Numbers(some.thresholds),
                    "source_partition": sr.Numbers(places[:, 0]),
                    "source_offset": sr.Numbers(places[:, 1]),
                    "source_topic": sr.constant(batch.topic, m),
                    "dataflow": sr.constant(self._dataflow, m),
                },
                batch,
                rows,
            )
