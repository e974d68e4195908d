"""The topics of cars, what a valid reading is, and its signals as a matrix."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import streamrec as sr
from streamrec.schemas.columns import Columns

HERE = Path(__file__).parent

CARS = sr.Topic("cars", HERE / "cars.avsc", key_field="vehicle_id")
# Two dataflows alert: a restart of each finds by these which readings it has answered already.
CAR_ALERTS = sr.Topic(
    "car-alerts",
    HERE / "car_alerts.avsc",
    key_field="vehicle_id",
    answers=("source_partition", "source_offset", "source_topic", "dataflow"),
)

# What can be measured, by field: beyond these a sensor is broken, and the reading an error.
RANGES: dict[str, tuple[float, float]] = {
    "speed_kmh": (0.0, 260.0),
    "throttle": (0.0, 1.0),
    "coolant_c": (-40.0, 150.0),
    "intake_air_c": (-40.0, 90.0),
    "intake_flow_gs": (0.0, 120.0),
    "battery_percent": (0.0, 100.0),
    "battery_v": (250.0, 450.0),
    "current_a": (0.0, 300.0),
    "vibration_mms": (0.0, 30.0),
    "tyre_front_left_kpa": (0.0, 400.0),
    "tyre_front_right_kpa": (0.0, 400.0),
    "tyre_rear_left_kpa": (0.0, 400.0),
    "tyre_rear_right_kpa": (0.0, 400.0),
    "acceleration_ms2": (-15.0, 15.0),
    "lateral_ms2": (-15.0, 15.0),
}
SIGNALS = tuple(RANGES)
RULES: tuple[sr.Rule, ...] = (
    sr.TextLength("vehicle_id", 1, 64),
    *(sr.Between(name, low, high) for name, (low, high) in RANGES.items()),
)


def matrix_of(columns: Columns, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """(m, len(SIGNALS)): the signals of chosen rows."""
    matrix = np.empty((len(rows), len(SIGNALS)), np.float64)
    for at, name in enumerate(SIGNALS):
        column = columns[name]
        assert isinstance(column, sr.Numbers)
        matrix[:, at] = column.values[rows]
    return matrix
