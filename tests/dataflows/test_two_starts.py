"""A second start of a dataflow that runs: it is refused, and nothing is answered twice."""

import shutil
from pathlib import Path

import pytest

from benchmarks.place import embedded_place, kafka_place
from streamrec.connectors.log_settings import LogSettings
from streamrec.dataflows.engine.supervisor import Cluster, ClusterOptions
from tests.dataflows.test_recovery_processes import (
    CAUGHT_UP_S,
    EVENTS,
    FLOW,
    SEED,
    STOP_S,
    Runs,
    assert_exactly_once,
)
from tests.proofs import chaos

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(embedded_place(tmp_path, lambda text: None))


def flags_of(runs: Runs, recovery: str) -> list[str]:
    return ["-r", str(runs.place.folder / recovery), "-s", "1", "-b", "0"]


def second_start(runs: Runs, processes: int = 1, recovery: str | None = "recovery") -> str:
    """Start the same dataflow again, which must end by itself; returns what it said. `recovery`
    None: without a recovery directory."""
    folder = runs.place.folder / "second"
    folder.mkdir(exist_ok=True)
    cluster = Cluster(
        ClusterOptions(
            FLOW.module,
            [] if recovery is None else flags_of(runs, recovery),
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
        told = [line for line in said.splitlines() if "in use" in line]
        assert len(told) == processes, said  # a line each
        assert all("recovery directory " in line and " by host " in line for line in told), said
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


@pytest.mark.slow
@pytest.mark.parametrize("recovery", ["another", None], ids=["another directory", "no directory"])
def test_second_start_of_one_group_is_refused_on_the_log(runs: Runs, recovery: str | None) -> None:
    runs.feed(EVENTS // 2)
    cluster = runs.cluster(2, lease_s="1")
    try:
        runs.await_written(cluster, 1_000)
        said = second_start(runs, 2, recovery)
        assert f"'{runs.place.prefix}.scoring' on embedded log" in said, said
        assert " is in use by host " in said and "STREAMREC_CONSUMER_GROUP of its own" in said, said
        runs.feed(EVENTS)
        runs.await_caught_up(cluster)
        assert cluster.stop(STOP_S), runs.logs()
    finally:
        cluster.end(0.0)

    assert_exactly_once(runs.verdict())


@pytest.mark.slow
def test_process_that_was_stopped_and_replaced_writes_nothing_when_it_goes_on(runs: Runs) -> None:
    """As on two machines: what would tell them of each other's locks is gone."""
    runs.feed(EVENTS // 2)
    first = runs.cluster(1, lease_s="1")
    second = None
    try:
        runs.await_written(first, 1_000)
        first.processes[0].pause()
        for folder in runs.place.folder.glob("**/*leases"):
            shutil.rmtree(folder)
        runs.feed(EVENTS // 4)
        second = runs.cluster(1, lease_s="1")
        runs.await_written(second, EVENTS // 2 + 100)
        first.processes[0].resume()
        first.wait(CAUGHT_UP_S)
        assert first.failed() == [0], runs.logs()
        assert "was taken over by host" in runs.logs()
        runs.feed(EVENTS)
        runs.await_caught_up(second)
        assert second.stop(STOP_S), runs.logs()
    finally:
        first.end(0.0)
        if second is not None:
            second.end(0.0)

    assert_exactly_once(runs.verdict())


@pytest.mark.slow
@pytest.mark.kafka
def test_second_start_on_kafka_is_refused_without_a_recovery_directory(
    tmp_path: Path, kafka_settings: LogSettings
) -> None:
    servers, registry = kafka_settings.kafka_bootstrap_servers, kafka_settings.schema_registry_url
    assert servers is not None and registry is not None
    runs = Runs(kafka_place(servers, registry, tmp_path, lambda text: None))
    runs.feed(EVENTS // 2)
    environment = runs.environment(runs.topics, runs.place.prefix, lease_s="2")
    first = Cluster(ClusterOptions(FLOW.module, [], 2, environment=environment, logs=tmp_path))
    first.start()
    try:
        runs.await_written(first, 1_000)
        said = second_start(runs, 2, recovery=None)
        assert f"'{runs.place.prefix}.scoring' on kafka" in said and "is in use by host" in said
        assert not first.failed(), runs.logs()
        assert first.stop(STOP_S), runs.logs()
    finally:
        first.end(0.0)


@pytest.mark.slow
def test_second_starts_and_processes_that_hang_change_nothing(tmp_path: Path) -> None:
    options = ["--kills=1", "--events=9000", "--dataflow=scoring", f"--seed={SEED}"]
    rivals = ["--second-start", "--stopped=replaced"]

    assert chaos.main(["--backend=embedded", f"--folder={tmp_path}", *options, *rivals]) == 0
