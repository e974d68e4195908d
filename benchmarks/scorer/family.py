"""A process with those that it has started, watched as one."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import Running, cpu_s_of


@dataclass(frozen=True, slots=True)
class Family:
    """CPU time of a process and of all its descendants. Where there is no /proc, of itself and of
    those that have ended."""

    process: Running

    @property
    def log(self) -> Path:
        return self.process.log

    def poll(self) -> bool:
        return self.process.poll()

    def cpu_s(self) -> float:
        if not self.poll():
            return self.process.cpu_s()  # of those that it has waited for, too
        pid = self.process.process.pid
        return cpu_s_of(pid, ended_children=True) + sum(
            cpu_s_of(child, ended_children=True) for child in _descendants(pid)
        )


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:  # the thread has ended in between
            continue
        for child in children:
            found += [child, *_descendants(child)]
    return found
