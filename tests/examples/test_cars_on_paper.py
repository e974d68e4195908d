"""The two dataflows of the cars, without a log."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from bytewax.testing import run_main
from numpy.typing import NDArray

import autoencoder
import online
import reconstruct
import streamrec as sr
from comparisons import UNIT, compared
from fleet import FleetOptions
from half_space import OnlineTrees, Options
from send import encoded, vehicle_ids
from signals import CAR_ALERTS, CARS, SIGNALS, matrix_of
from streamrec.connectors.log import RawBatch
from streamrec.dataflows.job.paper import SCHEMA_ID
from streamrec.schemas.hashing import partitions
from streamrec.schemas.wire import WireDecoder

FLEET = FleetOptions(seed=2, vehicles=1_000, rounds=14, fault_share=0.1)
PARTITIONS = 8
BROKEN = b"\0broken"


@cache
def values_by_partition() -> list[list[bytes]]:
    """What stands in each partition, in order."""
    targets = partitions(vehicle_ids(FLEET.vehicles), PARTITIONS).tolist()
    found: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
    for first, values in encoded(FLEET, SCHEMA_ID):
        for number, value in enumerate(values, first):
            found[targets[number]].append(value)
    return found


def signals_of(values: list[bytes]) -> NDArray[np.float64]:
    decoded = WireDecoder(CARS.schema, lambda _: CARS.schema).decode([*values])
    return matrix_of(decoded.columns, decoded.rows)


def batches(per_batch: int) -> list[RawBatch]:
    """All partitions in turn; partition 3 begins with a record that is none."""
    found = []
    for partition, values in enumerate(values_by_partition()):
        values = [BROKEN, *values] if partition == 3 else values
        for at in range(0, len(values), per_batch):
            part: list[bytes] = values[at : at + per_batch]
            found.append(sr.batch_of(CARS, part, partition=partition, first_offset=at))
    return found


def alerts(job: sr.PaperJob) -> dict[tuple[int, int], float]:
    """Scores by partition and offset."""
    records = job.records(CAR_ALERTS)
    found = {(r["source_partition"], r["source_offset"]): r["score"] for r in records}
    assert len(found) == len(records)
    assert all(record["score"] > record["threshold"] for record in records)
    return found


def expected(
    scores: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> dict[tuple[int, int], float]:
    """The same, from scores and thresholds of each partition."""
    return {
        (partition, row + (partition == 3)): score
        for partition, (found, limits) in enumerate(scores)
        for row, (score, limit) in enumerate(zip(found.tolist(), limits.tolist(), strict=True))
        if score > limit
    }


@pytest.mark.parametrize("per_batch", [37, 1_000])
def test_each_shard_alerts_as_its_trees_score_however_readings_are_batched(per_batch: int) -> None:
    job = sr.PaperJob(online.FLOW_ID, {"cars": batches(per_batch)})
    run_main(online.build_flow(job))  # type: ignore[no-untyped-call]
    scores = [
        OnlineTrees(UNIT, Options()).advance(compared(signals_of(values)))
        for values in values_by_partition()
    ]
    found = alerts(job)
    assert found == expected(scores)
    assert len(found) > 20
    (error,) = job.records(sr.ERRORS)
    assert (error["partition"], error["offset"], error["dataflow"]) == (3, 0, online.FLOW_ID)


@pytest.fixture(scope="module")
def trained() -> autoencoder.Autoencoder:
    healthy = [signals_of(values[: len(values) // 3]) for values in values_by_partition()]
    return autoencoder.train(np.concatenate(healthy), quantile=0.98, seed=1)


def test_a_saved_autoencoder_scores_as_it_did(
    trained: autoencoder.Autoencoder, tmp_path: Path
) -> None:
    autoencoder.save(trained, tmp_path / "a.skops", {})
    loaded = autoencoder.load(tmp_path / "a.skops")
    readings = signals_of(values_by_partition()[0])
    assert loaded.threshold == trained.threshold
    assert np.array_equal(loaded.scores(readings), trained.scores(readings))


def test_batches_alert_as_the_autoencoder_scores(
    trained: autoencoder.Autoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    autoencoder.save(trained, tmp_path / "a.skops", {})
    monkeypatch.setattr(reconstruct, "MODEL", tmp_path / "a.skops")
    job = sr.PaperJob(reconstruct.FLOW_ID, {"cars": batches(500)})
    run_main(reconstruct.build_flow(job))  # type: ignore[no-untyped-call]
    scores = []
    for values in values_by_partition():
        found = trained.scores(signals_of(values))
        scores.append((found, np.full(len(found), trained.threshold)))
    found_alerts = alerts(job)
    wanted = expected(scores)
    assert found_alerts.keys() == wanted.keys()
    assert np.allclose([found_alerts[k] for k in wanted], list(wanted.values()))
    assert len(job.records(sr.ERRORS)) == 1


@pytest.mark.parametrize("text", [None, "{}", '{"signals": ["speed_kmh"]}'])
def test_what_is_no_autoencoder_is_refused(
    trained: autoencoder.Autoencoder, tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "a.skops"
    with pytest.raises(sr.StartError, match="expected an autoencoder"):
        autoencoder.load(path)
    autoencoder.save(trained, path, {})
    facts = path.with_suffix(".json")
    facts.unlink() if text is None else facts.write_text(text)
    with pytest.raises(sr.StartError, match="expected an autoencoder"):
        autoencoder.load(path)


def test_a_sensor_beyond_its_range_is_an_error_that_names_it() -> None:
    reading = dict.fromkeys(SIGNALS, 1.0) | {
        "vehicle_id": "car-1",
        "sent_at": 1_767_225_600_000,
        "firmware": 1000,
        "battery_v": 380.0,
        "coolant_c": 999.0,
    }
    job = sr.PaperJob(online.FLOW_ID, {"cars": [sr.batch_of(CARS, [reading])]})
    run_main(online.build_flow(job))  # type: ignore[no-untyped-call]
    (error,) = job.records(sr.ERRORS)
    assert "field coolant_c expected a number from -40.0 to 150.0, got 999.0" in error["message"]
