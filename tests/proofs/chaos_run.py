"""A dataflow under load whose processes are killed at random and brought back."""

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.place import Place
from benchmarks.processes import BenchmarkError
from streamrec.connectors.local.guarded_process import GuardedProcess
from streamrec.connectors.log import LogAdmin
from streamrec.dataflows.engine.supervisor import Cluster, ClusterOptions

_POLL_S = 0.02
_MARKERS_MAX = 64  # offsets that they take
_READY_S = 180.0
_CAUGHT_UP_S = 900.0
_STOP_S = 30.0
_LEAVE_S = 30.0  # by themselves; some 2 s on an idle machine
_LOG_TAIL_BYTES = 4_000
_SNAPSHOT_S = 1.0
_UP_S = 3.0  # a process is killed at most so long after its cluster began to write

Moment = Literal["start-up", "running", "snapshot"]
# Most kills hit a cluster at work; a share of them the moment when state is being written.
_MOMENTS: tuple[tuple[Moment, float], ...] = (
    ("start-up", 0.2),
    ("running", 0.45),
    ("snapshot", 0.35),
)
# A process that hangs (SIGSTOP) for longer than its lease: goes on, or is replaced meanwhile by
# another that cannot see its locks, as on another machine, and goes on then.
Stopped = Literal["never", "goes-on", "replaced"]
_OFTEN = 0.5  # how many of the lives of a cluster have such an event
_LEASE_S = 2.0
_BRIEFLY_S = 8.0  # a cluster runs so long at most before it is stopped to be rescaled
_ALL_SHARE = 0.15  # of the kills that hit every process at once


@dataclass(frozen=True, slots=True)
class ChaosOptions:
    """What is run and how it is killed."""

    flow: str  # module
    kills: int
    events: int
    processes: int
    workers: int
    seed: int
    delivery: str
    # How many processes in each part of the kills, and at last; empty: as many all along.
    sizes: tuple[int, ...] = ()
    wrong_clocks: float = 0.0  # share of the clicks whose producers are years ahead
    subscriber: bool = False  # somebody subscribes under the group
    unwell_registry: bool = False  # the registry answers nonsense in turns
    seconds_per_kill: float = 6.0  # the load of one life of the cluster is spread over so long
    second_start: bool = False  # now and then start all again while they run
    stopped: Stopped = "never"


@dataclass
class ChaosRun:
    """One run, from the first start to the graceful stop at the end."""

    options: ChaosOptions
    place: Place
    environment: dict[str, str]
    feed: Sequence[str]  # module that writes the load, and what it is told
    inputs: Sequence[str]  # topics
    output: str
    group: str
    say: Callable[[str], None]
    while_killing: Callable[[], AbstractContextManager[None]] = nullcontext
    kills: int = 0
    second_starts: int = 0
    stops: int = 0
    rescalings: int = 0
    stop_s: float = 0.0
    moments: dict[str, int] = field(default_factory=dict)
    longest_leave_s: float = 0.0

    def __post_init__(self) -> None:
        self._random = random.Random(self.options.seed)
        self._recovery = self.place.folder / "recovery"
        if self._has_rivals():
            self.environment = {**self.environment, "STREAMREC_LEASE_S": str(_LEASE_S)}
        self._cluster = self._make_cluster(self.place.folder, self._size())

    def _has_rivals(self) -> bool:
        return self.options.second_start or self.options.stopped != "never"

    def _size(self) -> int:
        """How many processes there must be by now."""
        sizes, kills = self.options.sizes or (self.options.processes,), self.options.kills
        part = self.kills * (len(sizes) - 1) // kills if kills else len(sizes)
        return sizes[min(part, len(sizes) - 1)]

    def _rescale(self) -> None:
        """To another number of processes where it is time, after a kill or after a stop. That may
        come while they start: who has begun then gives up for those who had not."""
        before, after = self._cluster.options.processes, self._size()
        if before == after:
            return
        if self._random.random() < _OFTEN:
            self._cluster.start()
            time.sleep(self._random.random() * _BRIEFLY_S)
            for process in self._cluster.running():
                process.ask_to_stop()
            self._cluster.wait(_STOP_S)
            if self._cluster.end(0.0):
                self._fail(f"did not end within {_STOP_S} s of being asked to")
        self._cluster = self._make_cluster(self.place.folder, after)
        self.rescalings += 1

    def _make_cluster(self, logs: Path, processes: int) -> Cluster:
        flags = ["-r", str(self._recovery), "-s", str(int(_SNAPSHOT_S)), "-b", "0"]
        logs.mkdir(exist_ok=True)
        return Cluster(
            ClusterOptions(
                self.options.flow,
                flags,
                processes,
                self.options.workers,
                self.environment,
                logs,
            )
        )

    def run(self) -> None:
        """Raises BenchmarkError when a process fails that was not killed, or does not go on."""
        feeder = self._feeder()
        try:
            with closing(self.place.log.admin()) as admin:
                with self.while_killing():
                    while self.kills < self.options.kills:
                        self._allow(feeder, self._load_by(self.kills + 1))
                        self._live_and_die(admin)
                self._allow(feeder, self.options.events)
                self._rescale()
                self._cluster.start()
                self._await_end_of(feeder)
                self._await_caught_up(admin)
                self._stop()
        finally:
            feeder.kill()
            feeder.communicate()
            self._cluster.end(0.0)

    def _load_by(self, kill: int) -> int:
        """How many events have gone in by a kill: all lives of the cluster get the same."""
        return self.options.events * kill // (self.options.kills + 1)

    def _allow(self, feeder: subprocess.Popen[str], count: int) -> None:
        assert feeder.stdin is not None
        feeder.stdin.write(f"{count}\n")
        feeder.stdin.flush()

    def _feeder(self) -> subprocess.Popen[str]:
        options = self.options
        rate = options.events / ((options.kills + 1) * options.seconds_per_kill)
        arguments = {"events": options.events, "seed": options.seed, "rate": rate}
        flags = [f"--{name}={value}" for name, value in arguments.items()]
        with (self.place.folder / "feeder.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *self.feed, *flags],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
            )

    def _live_and_die(self, admin: LogAdmin) -> None:
        self._rescale()
        rng = self._random
        moment = rng.choices([m for m, _ in _MOMENTS], [share for _, share in _MOMENTS])[0]
        hit_all = rng.random() < _ALL_SHARE
        victim, wait = rng.randrange(self._cluster.options.processes), rng.random()
        self._cluster.start()
        if moment == "start-up":
            time.sleep(wait * 5.0)
        else:
            self._await_ready(admin)
            if moment == "running":
                time.sleep(wait * _UP_S)
            else:
                self._await_snapshot()
                time.sleep(wait * 0.03)
            if self._has_rivals():
                self._meet_rivals(admin)
        if self._cluster.failed():
            self._fail("ended without having been killed")
        processes = self._cluster.processes
        for process in processes if hit_all else [processes[victim]]:
            process.kill()
        died_s = time.monotonic()
        # A process that waits for its peers to start waits for ever: that is what a cluster is for.
        left = self._cluster.end(0.0 if moment == "start-up" else _LEAVE_S)
        if moment != "start-up":
            self.longest_leave_s = max(self.longest_leave_s, time.monotonic() - died_s)
            if left:
                self._fail(f"did not end within {_LEAVE_S} s after another one had died")
        self.kills += len(processes) if hit_all else 1
        self.moments[moment] = self.moments.get(moment, 0) + 1
        if self.kills % 10 < (len(processes) if hit_all else 1):
            self.say(f"{self.kills} kills, {self._written(admin)} outputs")

    def _meet_rivals(self, admin: LogAdmin) -> None:
        if self.options.second_start and self._random.random() < _OFTEN:
            self._start_again()
        if self.options.stopped != "never" and self._random.random() < _OFTEN:
            if self.options.stopped == "goes-on":
                self._stop_one_for_a_while(admin)
            else:
                self._replace_stopped(admin)

    def _start_again(self) -> None:
        """All once more, which must be refused."""
        second = self._make_cluster(self.place.folder / "second", self._cluster.options.processes)
        second.start()
        try:
            second.wait(_READY_S)
            statuses = [process.status for process in second.processes]
        finally:
            second.end(0.0)
        said = "".join(_tail(log) for log in (self.place.folder / "second").glob("*.log"))
        if not all(statuses) or "is in use by" not in said:
            raise BenchmarkError(f"a second start was not refused: {statuses}\n{said}")
        self.second_starts += 1

    def _stop_one_for_a_while(self, admin: LogAdmin) -> None:
        process = self._random.choice(self._cluster.processes)
        process.pause()
        time.sleep(2 * _LEASE_S)
        process.resume()
        self._await_ready(admin)
        self.stops += 1

    def _replace_stopped(self, admin: LogAdmin) -> None:
        """All hang, others take over that cannot see their locks, and then all wake."""
        old = self._cluster
        self._cluster = self._make_cluster(self.place.folder, old.options.processes)
        try:
            for process in old.processes:
                process.pause()
            for folder in self.place.folder.glob("**/*leases"):
                shutil.rmtree(folder)
            self._cluster.start()
            self._await_ready(admin)
            for process in old.processes:
                process.resume()
            old.wait(_READY_S)
            if old.running() or len(old.failed()) < len(old.processes):
                self._fail("was replaced, and goes on")
        finally:
            old.end(0.0)
        self.stops += 1

    def _written(self, admin: LogAdmin) -> int:
        return sum(bounds.high for bounds in admin.bounds(self.output).values())

    def _await_ready(self, admin: LogAdmin) -> None:
        # More than the markers of transactions that a new process aborts before it meets its peers.
        enough = self._written(admin) + _MARKERS_MAX
        self._until(lambda: self._written(admin) > enough, _READY_S, "write outputs")

    def _await_snapshot(self) -> None:
        """Until a state file appears: at a moment when an epoch is being closed."""
        state = self._recovery / "state"
        before, give_up = _newest(state), time.monotonic() + 3 * _SNAPSHOT_S
        while _newest(state) == before and time.monotonic() < give_up:
            time.sleep(0.001)

    def _until(
        self, done: Callable[[], bool], timeout_s: float, what: str, poll_s: float = 0.1
    ) -> None:
        give_up = time.monotonic() + timeout_s
        while not done():
            if self._cluster.failed():
                self._fail("ended without having been killed")
            if time.monotonic() > give_up:
                self._fail(f"expected to {what} within {timeout_s} s")
            time.sleep(poll_s)

    def _await_end_of(self, feeder: subprocess.Popen[str]) -> None:
        self._until(lambda: feeder.poll() is not None, _CAUGHT_UP_S, "outlive the load")
        if feeder.returncode:
            log = (self.place.folder / "feeder.log").read_bytes()[-_LOG_TAIL_BYTES:]
            raise BenchmarkError(f"the feeder failed: {log.decode(errors='replace')}")

    def _await_caught_up(self, admin: LogAdmin) -> None:
        """Until the group's offsets say that everything was processed and is durable."""
        ends = {
            topic: {p: bounds.high for p, bounds in admin.bounds(topic).items() if bounds.high}
            for topic in self.inputs
        }

        def caught_up() -> bool:
            for topic, of_topic in ends.items():
                committed = admin.committed(self.group, topic)
                if any(committed.get(partition, 0) < end for partition, end in of_topic.items()):
                    return False
            return True

        self._until(caught_up, _CAUGHT_UP_S, "commit the group's offsets up to the end")

    def _stop(self) -> None:
        asked_s = time.monotonic()
        stopped = self._cluster.stop(_STOP_S)
        self.stop_s = time.monotonic() - asked_s
        if not stopped:
            self._fail(f"did not stop in good order within {_STOP_S} s")

    def _fail(self, what: str) -> None:
        logs = sorted(self.place.folder.glob("process-*.log"))
        tails = [_tail(log) for log in logs]
        statuses = [process.status for process in self._cluster.processes]
        raise BenchmarkError(f"a process {what}; statuses {statuses}\n" + "\n".join(tails))


def _tail(log: Path) -> str:
    text = log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
    return f"--- the end of {log.name}:\n{text}"


def _newest(folder: Path) -> int:
    """When the newest file below a folder was made, in nanoseconds; 0: there is none."""
    newest = 0
    for path in folder.glob("*/*"):
        try:
            newest = max(newest, path.stat().st_mtime_ns)
        except FileNotFoundError:
            continue  # renamed or removed since it was listed
    return newest


def run_to_the_end(flow: str, environment: dict[str, str], log: Path) -> None:
    """Run a dataflow once over what its topic holds, without kills. Raises BenchmarkError."""
    process = GuardedProcess([sys.executable, "-m", "bytewax.run", flow], log, environment)
    try:
        while process.running():
            time.sleep(_POLL_S)
    finally:
        process.kill()
    if process.status:
        raise BenchmarkError(f"the run without kills failed\n{_tail(log)}")
