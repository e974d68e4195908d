"""The simulated fleet: the same from the same seed, healthy until it falls ill."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from fleet import FAULTS, NONE, Fleet, FleetOptions
from send import encoded, vehicle_ids
from signals import RANGES, SIGNALS
from streamrec.schemas.columns import Bytes

Signals = dict[str, NDArray[np.generic]]
ILL = FleetOptions(seed=4, vehicles=3_000, rounds=10, fault_share=0.3)


def driven(options: FleetOptions) -> Iterator[tuple[Fleet, Signals]]:
    """Each round: the fleet after it, and what all its cars said."""
    fleet = Fleet(options)
    for _ in range(options.rounds):
        parts = fleet.drive()
        yield fleet, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def test_equal_seeds_give_equal_readings_and_others_do_not() -> None:
    options = FleetOptions(seed=7, vehicles=2_500, rounds=2)
    first, again = list(encoded(options, 1)), list(encoded(options, 1))
    assert first == again
    assert [len(values) for _, values in first] == [1_000, 1_000, 500] * 2
    assert first != list(encoded(FleetOptions(seed=8, vehicles=2_500, rounds=2), 1))


def test_what_a_car_can_say_lies_in_the_ranges() -> None:
    for _, said in driven(ILL):
        assert set(said) == {*SIGNALS, "firmware"}
        for name, (low, high) in RANGES.items():
            assert low <= said[name].min() and said[name].max() <= high, name


def test_cars_are_healthy_at_first_and_stay_ill() -> None:
    before = np.zeros(ILL.vehicles, np.bool_)
    for fleet, _ in driven(ILL):
        ill = fleet.ill()
        assert not ill.any() or fleet.round > ILL.healthy * ILL.rounds
        assert (ill >= before).all()
        before = ill
    assert 0.25 < before.mean() < 0.35
    assert set(fleet.faults.kinds.tolist()) == {NONE, *range(len(FAULTS))}


@pytest.mark.parametrize(
    ("fault", "signal", "sign"),
    [
        ("tyre_leak", "tyres", -1),
        ("overheating", "coolant_c", 1),
        ("worn_bearing", "vibration_mms", 1),
        ("weak_cell", "battery_v", -1),
        ("air_leak", "intake_flow_gs", -1),
    ],
)
def test_a_fault_shows_in_its_signal(fault: str, signal: str, sign: int) -> None:
    *_, (fleet, said) = driven(ILL)
    said["tyres"] = np.min([said[name] for name in SIGNALS if name.startswith("tyre_")], axis=0)
    ill = fleet.ill() & (fleet.faults.kinds == FAULTS.index(fault))
    healthy = ~fleet.ill()
    difference = float(said[signal][ill].mean() - said[signal][healthy].mean())
    assert difference * sign > 0


def test_vehicle_ids_are_in_order() -> None:
    ids = vehicle_ids(1_001)
    assert isinstance(ids, Bytes)
    assert ids.bytes_at(1_000) == b"car-001000"
