"""A second start of a dataflow that runs: it is refused, and nothing is answered twice."""

from pathlib import Path

import pytest

from benchmarks.place import embedded_place
from streamrec.dataflows.engine.supervisor import Cluster, ClusterOptions
from tests.dataflows.test_recovery_processes import (
    CAUGHT_UP_S,
    EVENTS,
    FLOW,
    STOP_S,
    Runs,
    assert_exactly_once,
)

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(embedded_place(tmp_path, lambda text: None))


def second_start(runs: Runs, processes: int = 1, recovery: str = "recovery") -> str:
    """Start the same dataflow again, which must end by itself; returns what it said."""
    folder = runs.place.folder / "second"
    folder.mkdir(exist_ok=True)
    cluster = Cluster(
        ClusterOptions(
            FLOW.module,
            ["-r", str(runs.place.folder / recovery), "-s", "1", "-b", "0"],
            processes,
            environment=runs.environment(runs.topics, runs.place.prefix, lease_s="1"),
            logs=folder,
        )
    )
    cluster.start()
    try:
        cluster.wait(CAUGHT_UP_S)
        assert cluster.failed() == list(range(processes)), f"expected all to fail\n{runs.logs()}"
    finally:
        cluster.end(0.0)
    return "\n".join(path.read_text() for path in folder.glob("process-*.log"))


@pytest.mark.parametrize("processes", [1, 2], ids=["same shape", "another shape"])
def test_second_start_in_one_recovery_directory_is_refused(runs: Runs, processes: int) -> None:
    runs.feed(EVENTS // 2)
    cluster = runs.cluster(1, lease_s="1")
    try:
        runs.await_written(cluster, 1_000)
        said = second_start(runs, processes)
        assert "recovery directory " in said and " is in use by host " in said, said
        runs.feed(EVENTS)
        runs.await_caught_up(cluster)
        assert cluster.stop(STOP_S), runs.logs()
    finally:
        cluster.end(0.0)

    assert_exactly_once(runs.verdict())


def test_killed_dataflow_starts_again_without_waiting_for_its_lease(runs: Runs) -> None:
    runs.feed(EVENTS)
    cluster = runs.cluster(2, lease_s="600")  # who waited for that would not end in time
    try:
        runs.await_written(cluster, 1_000)
        for process in cluster.processes:
            process.kill()
        cluster.end(0.0)
        cluster.start()
        runs.await_caught_up(cluster)
        assert cluster.stop(STOP_S), runs.logs()
    finally:
        cluster.end(0.0)

    assert_exactly_once(runs.verdict())
