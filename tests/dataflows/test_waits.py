"""Wherever a dataflow waits it looks at the wish to stop and at its peers, and ends in time.

Each wait with SIGTERM and with a killed peer, as single processes and under the supervisor. How
long an end may take is what `docs/delivery.md` says, and some more for a busy machine: a process
that does not end at all is what these tests find.
"""

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from benchmarks.place import embedded_place
from streamrec.connectors.local.free_ports import LOOPBACK, free_ports
from streamrec.connectors.local.guarded_process import GuardedProcess
from streamrec.dataflows.engine.watch import ALONE_S, LEAVE_S
from tests.connectors.test_leases import held_by_another
from tests.dataflows.test_recovery_processes import (
    CAUGHT_UP_S,
    EVENTS,
    FLOW,
    Runs,
    Supervised,
    assert_exactly_once,
)

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(sys.platform != "linux", reason="looks at the kernel's table of sockets"),
]

_LATE_S = 15.0  # what a busy machine adds


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(embedded_place(tmp_path, lambda text: None))


class Process:
    """One process of a cluster, started by hand."""

    def __init__(self, runs: Runs, index: int, ports: list[int], **settings: str) -> None:
        self._log = runs.place.folder / f"process-{index}-{time.monotonic_ns()}.log"
        addresses = ";".join(f"{LOOPBACK}:{port}" for port in ports)
        place = ["-i", str(index), "-a", addresses] if len(ports) > 1 else []
        flags = ["-r", str(runs.place.folder / "recovery"), "-s", "1", "-b", "0"]
        environment = runs.environment(runs.topics, runs.place.prefix, **settings)
        command = [sys.executable, "-m", "bytewax.run", FLOW.module, *flags, *place]
        self.process = GuardedProcess(command, self._log, environment)

    @property
    def said(self) -> str:
        return self._log.read_text()

    def ended(self, within_s: float) -> int:
        """Its status, once it has ended by itself."""
        give_up = time.monotonic() + within_s
        while self.process.running():
            assert time.monotonic() < give_up, f"still running after {within_s} s\n{self.said}"
            time.sleep(0.05)
        assert self.process.status is not None
        return self.process.status


Started = Callable[..., Process]


@pytest.fixture
def start(runs: Runs) -> Iterator[Started]:
    """Starts processes, which end with the test."""
    started: list[Process] = []

    def start(index: int = 0, ports: list[int] | None = None, **settings: str) -> Process:
        started.append(Process(runs, index, ports or [0], **settings))
        return started[-1]

    yield start
    for process in started:
        process.process.kill()


def until(done: Callable[[], bool], what: Callable[[], str]) -> None:
    give_up = time.monotonic() + CAUGHT_UP_S
    while not done():
        assert time.monotonic() < give_up, what()
        time.sleep(0.05)


def sockets_at(port: int, state: str) -> int:
    """How many sockets of this machine have this local port, in a state as the kernel writes it."""
    table = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
    return sum(
        line.split()[1].endswith(f":{port:04X}") and line.split()[3] == state for line in table
    )


def until_joining(process: Process, port: int, peers: int = 0) -> None:
    """Until the engine of a process waits at its port, and so many peers have come."""

    def joining() -> bool:
        assert process.process.running(), process.said
        return sockets_at(port, "0A") > 0 and sockets_at(port, "01") >= peers

    until(joining, lambda: process.said)


def test_process_that_waits_for_its_peers_obeys_sigterm(start: Started) -> None:
    ports = free_ports(2)
    process = start(0, ports)
    until_joining(process, ports[0])

    process.process.ask_to_stop()

    assert process.ended(_LATE_S) == 0
    assert "stopped before it had begun" in process.said


def test_process_whose_peer_never_joins_ends_and_names_it(start: Started) -> None:
    ports = free_ports(3)
    first = start(0, ports, join_s="4")
    second = start(1, ports, join_s="600")
    until_joining(first, ports[0], peers=1)

    assert first.ended(4 + _LATE_S) == 1
    assert "expected all 3 processes to join within 4 s (STREAMREC_JOIN_S)" in first.said
    assert f"no connection with {LOOPBACK}:{ports[1]}, {LOOPBACK}:{ports[2]}" in first.said
    assert second.ended(LEAVE_S + _LATE_S) == 1
    assert "a peer has ended while all were starting" in second.said


def test_process_that_is_not_reached_names_the_addresses_before_it(start: Started) -> None:
    ports = free_ports(2)

    process = start(1, ports, join_s="1")

    assert process.ended(_LATE_S + CAUGHT_UP_S) == 1
    assert f"no connection with {LOOPBACK}:{ports[0]};" in process.said


def test_process_whose_peer_is_killed_while_all_start_ends(start: Started) -> None:
    ports = free_ports(3)
    first, second = start(0, ports), start(1, ports)
    until_joining(first, ports[0], peers=1)
    time.sleep(1.5)  # it looks once a second

    second.process.kill()

    assert first.ended(LEAVE_S + _LATE_S) == 1
    assert "a peer has ended while all were starting" in first.said


def test_process_that_waits_for_a_lease_obeys_sigterm(runs: Runs, start: Started) -> None:
    leases = runs.place.folder / "recovery" / "leases"
    with held_by_another(leases, 0, 600.0):
        process = start(lease_s="600")
        until(lambda: "waiting for 600 s for it to end" in process.said, lambda: process.said)

        process.process.ask_to_stop()

        assert process.ended(_LATE_S) == 0


def test_process_that_waits_for_the_registry_obeys_sigterm(runs: Runs, start: Started) -> None:
    [port] = free_ports(1)
    runs.place.environment["SCHEMA_REGISTRY_URL"] = f"http://{LOOPBACK}:{port}"  # type: ignore[index]
    process = start()
    until(lambda: "SCHEMA_REGISTRY_URL" in process.said, lambda: process.said)

    process.process.ask_to_stop()

    assert process.ended(ALONE_S + _LATE_S) == 0


@contextmanager
def log_away(runs: Runs) -> Iterator[None]:
    """Nobody else can write the log, so that a flush waits."""
    with closing(sqlite3.connect(runs.place.folder / "log.sqlite", timeout=30.0)) as db:
        db.isolation_level = None
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


@pytest.mark.slow
def test_process_that_waits_for_a_flush_obeys_sigterm_and_loses_nothing(
    runs: Runs, start: Started
) -> None:
    runs.feed(EVENTS // 2)
    process = start()
    until(lambda: runs.written() >= 1_000, lambda: process.said)
    with log_away(runs):
        process.process.ask_to_stop()
        assert process.ended(ALONE_S + _LATE_S) == 1
    assert "could not end in good order within 18 s of the wish to stop" in process.said

    runs.feed(EVENTS)
    runs.finish(1)
    assert_exactly_once(runs.verdict())


@pytest.mark.slow
def test_process_that_waits_for_a_flush_notices_that_its_peer_was_killed(
    runs: Runs, start: Started
) -> None:
    runs.feed(EVENTS // 2)
    ports = free_ports(2)
    first, second = start(0, ports), start(1, ports)
    until(lambda: runs.written() >= 1_000, lambda: first.said + second.said)
    with log_away(runs):
        second.process.kill()
        assert first.ended(LEAVE_S + _LATE_S) != 0, first.said

    runs.feed(EVENTS)
    runs.finish(2)
    assert_exactly_once(runs.verdict())


def supervised(runs: Runs) -> Supervised:
    folder = runs.place.folder
    flags = ["-r", str(folder / "recovery"), "-s", "1", "-b", "0"]
    environment = runs.environment(runs.topics, runs.place.prefix)
    return Supervised(flags, environment, folder / "process-all.log")


def hold_one_back(cluster: Supervised, runs: Runs) -> int:
    """Stop process 1 before it has joined; returns its id."""
    until(lambda: 1 in cluster.members(), runs.logs)
    member = cluster.members()[1]
    os.kill(member, signal.SIGSTOP)
    return member


@pytest.mark.slow
def test_supervisor_stops_a_cluster_of_which_one_has_not_joined(runs: Runs) -> None:
    cluster = supervised(runs)
    try:
        hold_one_back(cluster, runs)
        time.sleep(3.0)  # the other joins

        cluster.process.stop()
    finally:
        cluster.process.kill()

    assert cluster.process.status == 0, runs.logs()
    assert not cluster.members()


@pytest.mark.slow
def test_supervisor_starts_a_cluster_again_whose_member_is_killed_while_it_starts(
    runs: Runs,
) -> None:
    runs.feed(EVENTS)
    cluster = supervised(runs)
    try:
        os.kill(hold_one_back(cluster, runs), signal.SIGKILL)
        runs.await_caught_up(cluster)
        cluster.process.stop()
    finally:
        cluster.process.kill()

    assert cluster.process.status == 0, runs.logs()
    assert_exactly_once(runs.verdict())
