"""A range of a topic of cars as a matrix, for training and for judging."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from signals import CARS, matrix_of
from streamrec.connectors.log import Log, schema_named
from streamrec.connectors.reading import read_batches
from streamrec.schemas.columns import Columns
from streamrec.schemas.wire import WireDecoder


class RangeError(Exception):
    """The topic does not hold the offsets that were asked for."""


class Readings(NamedTuple):
    """Some readings of one partition, in order."""

    partition: int
    columns: Columns
    rows: NDArray[np.int64]  # of the columns, those that lie in the range
    signals: NDArray[np.float64]  # (m, signals) of these rows


def read_columns(log: Log, topic: str, first: int, stop: int | None) -> Iterator[Readings]:
    """Readings of all partitions, from offset `first` up to, not including, `stop` in each (None:
    up to its end). What is no reading is left out. Raises RangeError, UnknownTopicError."""
    with closing(log.admin()) as admin:
        bounds = admin.bounds(topic)
    stops = {}
    for partition, (low, high) in bounds.items():
        stops[partition] = high if stop is None else stop
        if first < low or stops[partition] > high:
            raise RangeError(
                f"topic {topic!r}, partition {partition}: expected offsets {first} to "
                f"{stops[partition]}, got {low} to {high}"
            )
    with closing(log.registry()) as registry:
        decoder = WireDecoder(CARS.schema, partial(schema_named, registry))
        for batch in read_batches(log, topic, dict.fromkeys(bounds, first), stops):
            decoded = decoder.decode(batch.values)
            rows = np.flatnonzero(batch.offsets[decoded.rows] < stops[batch.partition])
            yield Readings(batch.partition, decoded.columns, rows, matrix_of(decoded.columns, rows))


def read_matrix(log: Log, topic: str, first: int, stop: int | None) -> NDArray[np.float64]:
    """(n, signals): the same in one piece."""
    parts = [readings.signals for readings in read_columns(log, topic, first, stop)]
    return np.concatenate(parts) if parts else matrix_of({}, np.empty(0, np.int64))


__all__ = ["RangeError", "Readings", "read_columns", "read_matrix"]
