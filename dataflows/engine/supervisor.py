"""Runs the processes of a dataflow on this machine and brings them back when one dies.

    streamrec run-cluster 2 dataflows.recommender -r state -s 10 -b 0

What comes after the module goes to `bytewax.run`; the supervisor adds process ids and addresses.
When a process dies, the others notice it by themselves (their connections to it close) and end
within seconds; those that do not are ended. Then all start again from the last snapshot, at once
the first time and ever more slowly, up to 30 s, while they die young. SIGTERM and SIGINT stop the
dataflow in good order.
"""

import logging
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from streamrec.connectors.local.free_ports import LOOPBACK, free_ports
from streamrec.connectors.local.guarded_process import GuardedProcess
from streamrec.services.metrics.watched import Watched

_logger = logging.getLogger(__name__)

_POLL_S = 0.05
LEAVE_S = 10.0  # after a process died, the others have so long to notice it and end
STOP_S = 20.0  # a stop in good order takes 10 s at most, and longer only if a broker is away
_DELAY_S_MAX = 30.0
_YOUNG_S = 60.0
# Who is asked before it listens, while it imports, is ended by the signal itself: it had read
# nothing. The guard's status is then what is left of a negative one.
_AS_ASKED = (0, 256 - signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """What to run."""

    flow: str  # module of the dataflow
    flags: Sequence[str]  # for `bytewax.run`
    processes: int = 1
    workers: int = 1  # threads of a process
    environment: Mapping[str, str] | None = None  # None: ours
    logs: Path | None = None  # folder of the processes' logs; None: where ours goes


@dataclass
class Cluster:
    """The processes of a dataflow, started and ended together."""

    options: ClusterOptions
    processes: list[GuardedProcess] = field(default_factory=list)
    starts: int = 0  # of all of them

    def measure(self, seen: Watched) -> None:
        """Let others see how often it had to start again."""
        seen.counter(
            "streamrec_cluster_restarts_total",
            "How often all processes were started again, since one had died.",
            lambda: max(0, self.starts - 1),
            dataflow=self.options.flow.rpartition(".")[2],
        )

    def start(self) -> None:
        """Start all. Those of an earlier start must have ended."""
        assert not self.running(), "a cluster that runs cannot be started"
        self.end(0.0)
        self.starts += 1
        options = self.options
        command = [sys.executable, "-m", "bytewax.run", options.flow, *options.flags]
        if options.workers > 1:
            command += ["-w", str(options.workers)]
        addresses = ";".join(f"{LOOPBACK}:{port}" for port in free_ports(options.processes))
        self.processes = []
        for index in range(options.processes):
            place = ["-i", str(index), "-a", addresses] if options.processes > 1 else []
            log = None if options.logs is None else options.logs / f"process-{index}.log"
            self.processes.append(GuardedProcess([*command, *place], log, options.environment))

    def running(self) -> list[GuardedProcess]:
        return [process for process in self.processes if process.running()]

    def failed(self) -> list[int]:
        """Indexes of the processes that have ended otherwise than in good order."""
        return [i for i, process in enumerate(self.processes) if process.status]

    def end(self, leave_s: float = LEAVE_S) -> int:
        """Wait until the rest ends by itself after one died; returns how many had to be killed."""
        self.wait(leave_s)
        left = len(self.running())
        for process in self.processes:
            process.kill()  # of one that has ended this lets go of what is left
        return left

    def stop(self, stop_s: float = STOP_S) -> bool:
        """Ask all to stop; says whether all did, in good order and in time."""
        for process in self.running():
            process.ask_to_stop()
        self.wait(stop_s)
        ended = self.end(0.0) == 0
        return ended and all(process.status in _AS_ASKED for process in self.processes)

    def wait(self, timeout_s: float) -> None:
        """Wait until all have ended, for so long at most."""
        until_s = time.monotonic() + timeout_s
        while self.running() and time.monotonic() < until_s:
            time.sleep(_POLL_S)


class Supervisor:
    """Keeps a cluster running until it ends in good order."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._stop = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._stop = True

    def run(self) -> int:
        """Returns the exit status: 0 when all processes ended in good order."""
        cluster, delay_s = self._cluster, 0.0
        while True:
            started_s = time.monotonic()
            cluster.start()
            while cluster.running() and not cluster.failed() and not self._stop:
                time.sleep(_POLL_S)
            if self._stop:
                return 0 if cluster.stop() else 1
            failed = cluster.failed()
            if not failed:
                return 0
            killed = cluster.end()
            lived_s = time.monotonic() - started_s
            delay_s = 0.0 if lived_s > _YOUNG_S else min(max(2 * delay_s, 1.0), _DELAY_S_MAX)
            _logger.warning(
                "process %d ended with status %s, %d others had to be ended; starting all again in "
                "%.0f s",
                failed[0],
                cluster.processes[failed[0]].status,
                killed,
                delay_s,
            )
            until_s = time.monotonic() + delay_s
            while time.monotonic() < until_s and not self._stop:
                time.sleep(_POLL_S)
            if self._stop:
                return 0
