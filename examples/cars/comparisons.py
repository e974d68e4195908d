"""What the half-space trees look at: signals set against each other, as a mechanic would.

A signal alone says little: an engine may well vibrate so much, but not at that speed. Trees divide
one number at a time, so what belongs together is put together first. Nothing here is learned.
"""

import numpy as np
from numpy.typing import NDArray

from signals import SIGNALS

# What is compared, and the span of it that the trees divide; what lies outside is still scored.
SPANS: dict[str, tuple[float, float]] = {
    "lowest_tyre": (0.96, 1.02),  # of the mean of all four
    "coolant": (75.0, 107.0),  # degrees Celsius
    "vibration_at_speed": (0.0, 0.1),  # mm/s to km/h
    "air_at_throttle": (0.0, 115.0),  # g/s to the throttle's position
    "current_at_throttle": (0.0, 370.0),  # A to the throttle's position
    "battery": (340.0, 440.0),  # V
    "current": (0.0, 200.0),  # A
}
# All spans as one: river's trees choose what they divide by how wide it is.
UNIT = dict.fromkeys(SPANS, (0.0, 1.0))

_LOW, _HIGH = np.array(list(SPANS.values())).T
_AT = {name: at for at, name in enumerate(SIGNALS)}
_TYRES = [at for name, at in _AT.items() if name.startswith("tyre_")]


def compared(readings: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, signals) to (n, len(SPANS)), 0 to 1 within their spans."""
    of = {name: readings[:, at] for name, at in _AT.items()}
    tyres = readings[:, _TYRES]
    throttle = of["throttle"]
    found = np.stack(
        [
            tyres.min(axis=1) / np.maximum(tyres.mean(axis=1), 1.0),
            of["coolant_c"],
            of["vibration_mms"] / (20.0 + of["speed_kmh"]),
            of["intake_flow_gs"] / (0.1 + throttle),
            of["current_a"] / (0.05 + throttle),
            of["battery_v"],
            of["current_a"],
        ],
        axis=1,
    )
    unit: NDArray[np.float64] = (found - _LOW) / (_HIGH - _LOW)
    return unit


__all__ = ["SPANS", "UNIT", "compared"]
