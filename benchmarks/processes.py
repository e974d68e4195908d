"""Runs what is measured in a process of its own, and reads what CPU it has used."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from streamrec.connectors.log import Log

_LOG_TAIL_BYTES = 4_000
SAMPLE_S = 0.05
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class BenchmarkError(Exception):
    """A benchmark did not come to an end, or its answers are wrong."""


@dataclass
class Running:
    """A process that was started here."""

    process: subprocess.Popen[bytes]
    log: Path
    ended: resource.struct_rusage | None = None
    status: int = 0

    def poll(self) -> bool:
        """Whether it still runs; keeps the CPU time that it had used when it ended."""
        if self.ended is None:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self._keep(status, usage)
        return self.ended is None

    def cpu_s(self) -> float:
        """CPU time of all its threads so far, user and system, in seconds."""
        if self.poll():
            return cpu_s_of(self.process.pid)
        assert self.ended is not None
        return self.ended.ru_utime + self.ended.ru_stime

    def rss_bytes(self) -> int:
        """Memory that it has resident; 0 once it has ended."""
        if not self.poll():
            return 0
        shown = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=False,  # it may have ended in between
        ).stdout.strip()
        return int(shown or 0) * 1024

    def peak_bytes(self) -> int:
        """The most that it had resident, once it has ended."""
        assert self.ended is not None
        return self.ended.ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def stop(self) -> None:
        """Ask it to end (SIGTERM) and wait. Raises BenchmarkError when it fails."""
        if self.poll():
            self.process.terminate()
        self.wait()

    def wait(self) -> None:
        """Wait for its end. Raises BenchmarkError when it fails."""
        if self.ended is None:
            _, status, usage = os.wait4(self.process.pid, 0)
            self._keep(status, usage)
        if self.status:
            raise BenchmarkError(
                f"{self.log.stem} ended with status {self.status}, the end of its log:\n"
                + self.log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
            )

    def _keep(self, status: int, usage: resource.struct_rusage) -> None:
        self.ended = usage
        self.status = self.process.returncode = os.waitstatus_to_exitcode(status)


def cpu_s_of(pid: int, ended_children: bool = False) -> float:
    """CPU time of a process so far in seconds, on Linux also of children that it has waited for;
    0 of one that has ended."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.exists():
        try:
            text = stat.read_text()
        except FileNotFoundError:
            return 0.0
        # After the name, which may hold anything but ends with the last parenthesis.
        fields = text.rpartition(")")[2].split()
        return sum(map(int, fields[11 : 15 if ended_children else 13])) * _TICK_S
    # macOS has no /proc, and its ps counts hundredths of a second.
    shown = subprocess.run(
        ["ps", "-o", "time=", "-p", str(pid)], capture_output=True, text=True, check=True
    ).stdout.strip()
    parts = shown.replace("-", ":").split(":")
    seconds = 0.0
    for part in parts:  # hours, minutes, seconds
        seconds = seconds * 60 + float(part)
    return seconds


@contextmanager
def running(
    name: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    program: Sequence[str] = (sys.executable, "-m"),
) -> Iterator[Running]:
    """Run `python -m ...` for the length of a `with` block; killed at its end if need be."""
    log = folder / f"{name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*program, *arguments],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    started = Running(process, log)
    try:
        yield started
    finally:
        if started.poll():
            process.kill()
            os.wait4(process.pid, 0)
            process.returncode = -9


def flow(module: str, *flags: str) -> list[str]:
    """Arguments for the real thing: `python -m bytewax.run MODULE`."""
    return ["bytewax.run", module, *flags]


def recovering(module: str, recovery: Path, epoch_s: int) -> list[str]:
    """The same with a recovery directory."""
    return flow(module, "-r", str(recovery), "-s", str(epoch_s), "-b", "0")


@dataclass(frozen=True, slots=True)
class Sample:
    at_s: float  # of time.monotonic
    cpu_s: float
    done: int  # records written


class Watched(Protocol):
    """A process, or several that are taken for one."""

    @property
    def log(self) -> Path: ...

    def poll(self) -> bool: ...

    def cpu_s(self) -> float: ...


@dataclass
class Progress:
    """CPU time of a process beside how many records it has written, sampled as it runs."""

    process: Watched
    log: Log
    topic: str
    samples: list[Sample] = field(default_factory=list)

    def watch(self, until: Callable[[Sample], bool], timeout_s: float = 600.0) -> Sample:
        """Sample until a condition holds or the process has ended; returns the last sample."""
        give_up = time.monotonic() + timeout_s
        with closing(self.log.admin()) as admin:
            while True:
                is_running = self.process.poll()
                done = sum(bounds.high for bounds in admin.bounds(self.topic).values())
                sample = Sample(time.monotonic(), self.process.cpu_s(), done)
                self.samples.append(sample)
                if until(sample) or not is_running:
                    return sample
                if time.monotonic() > give_up:
                    raise BenchmarkError(
                        f"{self.process.log.stem} expected to come further within {timeout_s:.0f} "
                        f"s, got {done} records in topic {self.topic!r}"
                    )
                time.sleep(SAMPLE_S)

    def warm_us(self, events: int, warm_up_share: float = 0.3) -> tuple[float, float]:
        """CPU in us, and wall time in us, per record once a share of them was written."""
        start = next(s for s in self.samples if s.done >= events * warm_up_share)
        end = next((s for s in self.samples if s.done >= events), self.samples[-1])
        records = end.done - start.done
        if records <= 0:
            raise BenchmarkError(f"{self.process.log.stem} ran too short for two samples")
        return (
            (end.cpu_s - start.cpu_s) * 1e6 / records,
            (end.at_s - start.at_s) * 1e6 / records,
        )


def expect_count(log: Log, topic: str, expected: int) -> None:
    """Raises BenchmarkError unless a topic holds exactly so many records."""
    with closing(log.admin()) as admin:
        got = sum(bounds.high - bounds.low for bounds in admin.bounds(topic).values())
    if got != expected:
        raise BenchmarkError(f"topic {topic!r} expected {expected} records, got {got}")
