"""A simulated fleet: what cars say of themselves, and faults that some of them have.

Every car says something once a round. What it says follows from the seed, the round and the car
alone, so the same arguments always give the same stream.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

SLICE = 1_000  # cars that are reckoned at a time
ROUND_S = 10.0  # between two readings of a car
TYRES = ("front_left", "front_right", "rear_left", "rear_right")

# What may go wrong. NONE is no fault.
FAULTS = (
    "tyre_leak",  # one tyre has lost 4 to 20 % of its pressure
    "overheating",  # the coolant is 3 to 15 degrees too hot
    "worn_bearing",  # the engine vibrates 1.5 to 2.5 times as much
    "weak_cell",  # the battery's voltage falls 2 to 4 times as much under a current
    "air_leak",  # a fifth to a half of the air is not measured
    "stuck_throttle",  # the sensor says always the same, whatever the car does
)
NONE = -1


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """How large a fleet, how long, and how ill."""

    seed: int = 1
    vehicles: int = 100_000
    rounds: int = 10
    fault_share: float = 0.02  # of the cars
    healthy: float = 0.4  # this share of the rounds, at the beginning, has no fault


class Faults(NamedTuple):
    """Of each car, (vehicles,)."""

    kinds: NDArray[np.int8]  # index in FAULTS, or NONE
    first_rounds: NDArray[np.int64]  # from which on it has its fault
    severities: Values  # 0 to 1
    tyres: NDArray[np.int64]  # which one leaks


class Fleet:
    """The cars, and how they are now. Rounds are driven one after the other."""

    def __init__(self, options: FleetOptions) -> None:
        n = options.vehicles
        rng = np.random.default_rng([options.seed, 0])
        self.options = options
        self.round = 0
        self.faults = _faults_of(rng, options)
        self.firmware = rng.choice(np.array([1000, 2000, 2100], np.int32), n, p=[0.2, 0.5, 0.3])
        # What is particular to a car.
        self.mass = rng.normal(1.0, 0.06, n)
        self.ambient_c = rng.normal(14.0, 6.0, n)
        self.roughness = np.exp(rng.normal(0.0, 0.12, n))
        self.tyre_kpa = rng.normal(235.0, 6.0, n)
        # How it is now.
        self.cruise_kmh = _cruises(rng, n)
        self.speed_kmh = np.clip(self.cruise_kmh + rng.normal(0.0, 5.0, n), 0.0, 200.0)
        self.load = np.full(n, 0.25)
        self.charge = rng.uniform(30.0, 95.0, n)

    def drive(self) -> list[dict[str, NDArray[np.generic]]]:
        """All cars, one round on: their signals by field, in slices of SLICE cars in order."""
        n = self.options.vehicles
        slices = [slice(at, min(at + SLICE, n)) for at in range(0, n, SLICE)]
        said = [self._drive(part) for part in slices]
        self.round += 1
        return said

    def ill(self) -> NDArray[np.bool_]:
        """(vehicles,): which had a fault in the round that was driven last."""
        faults = self.faults
        ill: NDArray[np.bool_] = (faults.kinds != NONE) & (faults.first_rounds < self.round)
        return ill

    def _drive(self, part: slice) -> dict[str, NDArray[np.generic]]:
        rng = np.random.default_rng([self.options.seed, 1 + self.round, part.start])
        n = part.stop - part.start
        turns = rng.random(n) < 0.1
        self.cruise_kmh[part] = np.where(turns, _cruises(rng, n), self.cruise_kmh[part])
        before_kmh = self.speed_kmh[part]
        wish_kmh = self.cruise_kmh[part] + rng.normal(0.0, 6.0, n)
        speed_kmh = np.clip(before_kmh + 0.5 * (wish_kmh - before_kmh), 0.0, 220.0)
        acceleration = (speed_kmh - before_kmh) / 3.6 / ROUND_S + rng.normal(0.0, 0.3, n)
        push = 0.06 + 0.0022 * speed_kmh + 0.16 * np.maximum(acceleration, -0.3)
        throttle = np.clip(self.mass[part] * push + rng.normal(0.0, 0.015, n), 0.0, 1.0)
        load = 0.6 * self.load[part] + 0.4 * throttle
        charge = np.clip(self.charge[part] - 0.4 * throttle + rng.normal(0.12, 0.1, n), 5.0, 100.0)
        current_a = np.clip(6.0 + 190.0 * throttle + rng.normal(0.0, 3.0, n), 0.0, 300.0)
        ill = self._ill_in(part)
        sag = 0.11 * current_a * np.where(ill.weak_cell > 0, 2.0 + 2.0 * ill.weak_cell, 1.0)
        leak = np.where(ill.air_leak > 0, 1.0 - (0.2 + 0.3 * ill.air_leak), 1.0)
        rough = np.where(ill.worn_bearing > 0, 1.5 + ill.worn_bearing, 1.0)
        hot_c = np.where(ill.overheating > 0, 3.0 + 12.0 * ill.overheating, 0.0)
        flow = (3.0 + 75.0 * throttle * (0.5 + speed_kmh / 240.0)) * rng.normal(1.0, 0.03, n)
        ambient_c = self.ambient_c[part]
        values: dict[str, Values] = {
            "speed_kmh": speed_kmh,
            "throttle": np.where(ill.stuck_throttle > 0, 0.4 * ill.stuck_throttle, throttle),
            "coolant_c": 86.0 + 14.0 * load + 0.12 * ambient_c + hot_c + rng.normal(0.0, 1.2, n),
            "intake_air_c": ambient_c + 7.0 + rng.normal(0.0, 1.0, n),
            "intake_flow_gs": np.clip(flow * leak, 0.0, 120.0),
            "battery_percent": charge,
            "battery_v": 372.0 + 0.4 * charge - sag + rng.normal(0.0, 1.0, n),
            "current_a": current_a,
            "vibration_mms": self.roughness[part]
            * rough
            * (0.8 + 0.025 * speed_kmh + 2.0 * throttle)
            * rng.normal(1.0, 0.06, n),
            "acceleration_ms2": acceleration,
            "lateral_ms2": rng.normal(0.0, 0.2 + 0.006 * speed_kmh, n),
        }
        warm = 1.0 + 0.0012 * (ambient_c - 14.0) + 0.0003 * speed_kmh
        leaking = np.where(ill.tyre_leak > 0, 0.04 + 0.16 * ill.tyre_leak, 0.0)
        for number, tyre in enumerate(TYRES):
            lost = np.where(self.faults.tyres[part] == number, leaking, 0.0)
            pressure = self.tyre_kpa[part] * warm * (1.0 - lost) + rng.normal(0.0, 1.5, n)
            values[f"tyre_{tyre}_kpa"] = pressure
        self.speed_kmh[part], self.load[part], self.charge[part] = speed_kmh, load, charge
        return {
            "firmware": self.firmware[part],
            **{name: value.astype(np.float32) for name, value in values.items()},
        }

    def _ill_in(self, part: slice) -> "_Severities":
        """How ill each car of a slice is in this round, fault by fault; 0: not at all."""
        faults = self.faults
        has = faults.first_rounds[part] <= self.round
        severity = np.where(has, np.maximum(faults.severities[part], 0.01), 0.0)
        return _Severities(
            *(np.where(faults.kinds[part] == kind, severity, 0.0) for kind in range(len(FAULTS)))
        )


class _Severities(NamedTuple):
    """Of the cars of a slice, 0 to 1: one array a fault, as FAULTS has them."""

    tyre_leak: Values
    overheating: Values
    worn_bearing: Values
    weak_cell: Values
    air_leak: Values
    stuck_throttle: Values


def _faults_of(rng: np.random.Generator, options: FleetOptions) -> Faults:
    n = options.vehicles
    kinds = rng.integers(0, len(FAULTS), n).astype(np.int8)
    kinds[rng.random(n) >= options.fault_share] = NONE
    healthy = int(np.ceil(options.healthy * options.rounds))
    return Faults(
        kinds=kinds,
        first_rounds=rng.integers(healthy, max(healthy, options.rounds - 1) + 1, n),
        severities=rng.random(n),
        tyres=rng.integers(0, len(TYRES), n),
    )


def _cruises(rng: np.random.Generator, n: int) -> Values:
    """What cars come to drive at: in a town, on a road, on a motorway, or they stand."""
    return np.asarray(
        rng.choice([0.0, 32.0, 48.0, 85.0, 125.0], n, p=[0.05, 0.25, 0.3, 0.25, 0.15])
    )


__all__ = ["FAULTS", "NONE", "ROUND_S", "SLICE", "Fleet", "FleetOptions"]
