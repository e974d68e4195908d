"""Real processes of a real dataflow: killed, stopped in good order, and resumed by more or fewer.

Scoring is used because it starts fastest; recovery is the same code in the main job. Every input is
compared with every output by the checker of `tests.proofs.chaos`, whose readers are not ours.
"""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol

import pytest

from benchmarks.place import Place, embedded_place
from streamrec.connectors.local.guarded_process import GuardedProcess
from streamrec.connectors.log import Outgoing
from streamrec.connectors.log_settings import LogSettings
from streamrec.dataflows.engine.supervisor import Cluster, ClusterOptions
from streamrec.shop.faults import SchemaIds
from tests.proofs import chaos
from tests.proofs.chaos_check import ChaosVerdict, inputs_of, judge, outputs_of
from tests.proofs.chaos_feed import shop_of, steps
from tests.proofs.chaos_run import run_to_the_end

SEED = 11
EVENTS = 24_000
FLOW = chaos.FLOWS["scoring"]
CAUGHT_UP_S = 120.0
STOP_S = 10.0

pytestmark = pytest.mark.timeout(400)


class Members(Protocol):
    """A cluster, or what keeps one running."""

    def failed(self) -> list[int]: ...


class Supervised:
    """`streamrec run-cluster` as an operator starts it."""

    def __init__(self, flags: list[str], environment: dict[str, str], log: Path) -> None:
        command = [sys.executable, "-m", "streamrec", "run-cluster", "2"]
        self.process = GuardedProcess([*command, FLOW.module, *flags], log, environment)
        self._mark = flags[1]  # the recovery directory, which no other process names

    def failed(self) -> list[int]:
        return [0] if self.process.status else []

    def members(self) -> dict[int, int]:
        """The dataflow's processes: by index their ids."""
        shown = subprocess.run(
            ["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True
        ).stdout
        found = {}
        for line in shown.splitlines():
            pid, *command = line.split()
            # Not their guards, nor the supervisor: those that Python itself was asked to run.
            if self._mark in command and command[1:3] == ["-m", "bytewax.run"]:
                found[int(command[command.index("-i") + 1])] = int(pid)
        return found


class Runs:
    """Runs of the scoring dataflow over one shop, fed bit by bit, with one recovery directory."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.clicks = place.make_topic("clicks")
        self.topics = chaos.Topics.make(place, FLOW)
        with closing(place.log.registry()) as registry:
            self.shop = shop_of(SEED, EVENTS, SchemaIds.of(registry))
        self._rest = self._records()
        self._group = place.prefix

    def _records(self) -> Iterator[Outgoing]:
        for batch in self.shop.batches():
            for step in steps(batch, 1_000):
                yield from step

    def feed(self, count: int) -> None:
        """Write the next records."""
        with closing(self.place.log.writer()) as writer:
            writer.write(self.clicks, itertools.islice(self._rest, count))

    def environment(self, topics: chaos.Topics, group: str, **settings: str) -> dict[str, str]:
        return self.place.process_environment(
            clicks_topic=self.clicks, consumer_group=group, **topics.settings(FLOW), **settings
        )

    def cluster(
        self,
        processes: int,
        workers: int = 1,
        epoch_s: int = 1,
        topics: chaos.Topics | None = None,
        **settings: str,
    ) -> Cluster:
        flags = ["-r", str(self.place.folder / "recovery"), "-s", str(epoch_s), "-b", "0"]
        environment = self.environment(topics or self.topics, self._group, **settings)
        folder = self.place.folder
        cluster = Cluster(
            ClusterOptions(FLOW.module, flags, processes, workers, environment, folder)
        )
        cluster.start()
        return cluster

    def python(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`python -m ...` to its end, in the environment of these runs."""
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            env=self.environment(self.topics, self._group),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=CAUGHT_UP_S,
        )

    def await_caught_up(self, cluster: Members) -> None:
        """Until the group's offsets say that all there is was processed and is durable."""
        give_up = time.monotonic() + CAUGHT_UP_S
        with closing(self.place.log.admin()) as admin:
            while True:
                ends = {p: bounds.high for p, bounds in admin.bounds(self.clicks).items()}
                at = admin.committed(self._group + FLOW.group_suffix, self.clicks)
                if all(at.get(partition, 0) >= end for partition, end in ends.items()):
                    return
                assert not cluster.failed(), self.logs()
                assert time.monotonic() < give_up, f"at {at} of {ends}\n{self.logs()}"
                time.sleep(0.1)

    def finish(self, processes: int, workers: int = 1) -> None:
        """Run a cluster until all there is was processed, and stop it in good order."""
        cluster = self.cluster(processes, workers)
        try:
            self.await_caught_up(cluster)
            assert cluster.stop(STOP_S), self.logs()
        finally:
            cluster.end(0.0)

    def written(self) -> int:
        with closing(self.place.log.admin()) as admin:
            return sum(bounds.high for bounds in admin.bounds(self.topics.answers).values())

    def await_written(self, cluster: Members, count: int) -> None:
        give_up = time.monotonic() + CAUGHT_UP_S
        while self.written() < count:
            assert not cluster.failed(), self.logs()
            assert time.monotonic() < give_up, f"{self.written()} of {count}\n{self.logs()}"
            time.sleep(0.05)

    def verdict(self) -> ChaosVerdict:
        """Everything compared with a run without kills or stops."""
        reference = chaos.Topics.make(self.place, FLOW)
        run_to_the_end(
            FLOW.module,
            self.environment(reference, f"{self._group}-reference", follow="false"),
            self.place.folder / "reference.log",
        )
        inputs = inputs_of(self.place, self.clicks, self.shop, lambda name: True)
        return judge(
            inputs,
            outputs_of(self.place, inputs, self.topics.outputs(FLOW), False),
            outputs_of(self.place, inputs, reference.outputs(FLOW), False),
        )

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in self.place.folder.glob("process-*.log"))


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(embedded_place(tmp_path, lambda text: None))


def assert_exactly_once(verdict: ChaosVerdict) -> None:
    assert verdict.good, "\n".join([*verdict.offenders, verdict.line(0, SEED)])
    assert verdict.outputs + verdict.errors == verdict.inputs == EVENTS


def test_two_processes_then_three_then_one_with_two_threads(runs: Runs) -> None:
    for processes, workers in ((2, 1), (3, 1), (1, 2)):
        runs.feed(EVENTS // 3)
        runs.finish(processes, workers)

    assert_exactly_once(runs.verdict())


def test_replay_into_other_topics_gives_the_same_features(runs: Runs) -> None:
    runs.feed(EVENTS)
    runs.finish(2)

    command = ["streamrec", "replay", "--from", "earliest", "--flow", FLOW.module]
    engine = ["-r", str(runs.place.folder / "recovery"), "-s", "1", "-b", "0"]
    refused = runs.python(*command, *engine)
    assert refused.returncode != 0
    assert "set STREAMREC_REPLAY=reset to put that state aside" in refused.stdout
    replayed = runs.python(*command, "--into", "again", "--state", "fork", *engine)
    assert replayed.returncode == 0, replayed.stdout

    elsewhere = chaos.Topics(*(f"{topic}-again" for topic in runs.topics))
    inputs = inputs_of(runs.place, runs.clicks, runs.shop, lambda name: True)
    first, second = (
        outputs_of(runs.place, inputs, topics.outputs(FLOW), False)
        for topics in (runs.topics, elsewhere)
    )
    assert_exactly_once(judge(inputs, second, first))


def test_at_least_once_loses_nothing_and_repeats_what_no_snapshot_holds(runs: Runs) -> None:
    runs.feed(EVENTS // 2)
    cluster = runs.cluster(1, epoch_s=300, delivery="at_least_once")
    try:
        runs.await_written(cluster, 1_000)
        cluster.processes[0].kill()
    finally:
        cluster.end(0.0)

    runs.feed(EVENTS)
    cluster = runs.cluster(1, epoch_s=300, delivery="at_least_once", follow="false")
    try:
        cluster.wait(CAUGHT_UP_S)
        assert not cluster.running() and not cluster.failed(), runs.logs()
    finally:
        cluster.end(0.0)

    verdict = runs.verdict()
    assert verdict.counts["lost"] == verdict.counts["different"] == 0
    assert verdict.counts["duplicated"] >= 1_000


def test_stop_of_one_process_under_load_stops_all_in_good_order(runs: Runs) -> None:
    runs.feed(EVENTS // 3)
    cluster = runs.cluster(2)
    try:
        while not runs.written():
            assert not cluster.failed(), runs.logs()
            time.sleep(0.01)
        runs.feed(EVENTS // 3)
        cluster.processes[1].ask_to_stop()
        cluster.wait(STOP_S)
        assert not cluster.running(), "expected to stop within 10 s"
        assert not cluster.failed(), runs.logs()

        runs.feed(EVENTS // 3)
        cluster.start()
        runs.await_caught_up(cluster)
        assert cluster.stop(STOP_S), runs.logs()
    finally:
        cluster.end(0.0)

    assert_exactly_once(runs.verdict())


def test_supervisor_brings_back_what_was_killed_and_stops_in_good_order(runs: Runs) -> None:
    runs.feed(EVENTS // 2)
    folder = runs.place.folder
    flags = ["-r", str(folder / "recovery"), "-s", "1", "-b", "0"]
    environment = runs.environment(runs.topics, runs.place.prefix)
    supervised = Supervised(flags, environment, folder / "process-all.log")
    try:
        runs.await_written(supervised, 1_000)
        before = supervised.members()
        os.kill(before[1], signal.SIGKILL)
        runs.feed(EVENTS)
        runs.await_caught_up(supervised)
        after = supervised.members()
        supervised.process.stop()
    finally:
        supervised.process.kill()

    assert sorted(before) == sorted(after) == [0, 1]
    assert not set(before.values()) & set(after.values())
    assert supervised.process.status == 0, runs.logs()
    assert "starting all again" in runs.logs()
    assert_exactly_once(runs.verdict())


def test_peers_of_a_dead_process_end_by_themselves(runs: Runs) -> None:
    runs.feed(1_000)
    cluster = runs.cluster(2)
    try:
        runs.await_caught_up(cluster)
        cluster.processes[0].kill()

        assert cluster.end(leave_s=15.0) == 0
        assert cluster.failed() == [0, 1]
    finally:
        cluster.end(0.0)


def test_killed_on_the_embedded_log_loses_and_repeats_nothing(tmp_path: Path) -> None:
    options = ["--kills=3", "--events=12000", "--dataflow=scoring", f"--seed={SEED}"]

    assert chaos.main(["--backend=embedded", f"--folder={tmp_path}", *options]) == 0


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.parametrize("delivery", ["read_back", "transactions"])
def test_killed_on_kafka_loses_and_repeats_nothing(
    delivery: str, tmp_path: Path, kafka_settings: LogSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kafka_settings.kafka_bootstrap_servers is not None
    assert kafka_settings.schema_registry_url is not None
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_settings.kafka_bootstrap_servers)
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", kafka_settings.schema_registry_url)
    options = ["--kills=2", "--events=12000", "--dataflow=scoring", f"--seed={SEED}"]
    place = ["--kafka=external", f"--folder={tmp_path}", f"--delivery={delivery}"]

    assert chaos.main([*place, *options]) == 0
