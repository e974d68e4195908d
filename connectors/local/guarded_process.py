"""A process that cannot outlive the one that started it, however that one ends.

Between the two stands a guard, this module run as a program: it starts the command, and ends it
when its own standard input closes, which the kernel does when the parent dies, even by kill -9.
On Linux the command also asks the kernel to be killed with the guard.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import FrameType

_STOP_S = 10.0  # between asking a process to end and ending it


class GuardedProcess:
    """A command in a process group of its own. Its output goes to the file `log`, appended, or
    without one to where ours goes."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path | None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        # The guard by its path, not as `-m`: it needs nothing of the package and starts at once.
        guard = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), *command]
        with nullcontext() if log is None else log.open("ab") as output:
            self._guard = subprocess.Popen(
                guard,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=None if log is None else subprocess.STDOUT,
                start_new_session=True,
                env=dict(os.environ if environment is None else environment),
            )

    @property
    def pid(self) -> int:
        """The guard's id, which is also the process group's."""
        return self._guard.pid

    @property
    def status(self) -> int | None:
        """How it ended, 0 in good order, by a signal otherwise than 0; None: it runs."""
        return self._guard.poll()

    def running(self) -> bool:
        return self._guard.poll() is None

    def ask_to_stop(self) -> None:
        """Send SIGTERM and do not wait."""
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)

    def stop(self) -> None:
        """Ask it to end, and end it after some seconds. Does nothing when it has ended."""
        self.ask_to_stop()
        try:
            self._guard.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
        self._release()

    def kill(self) -> None:
        """End it now, as `kill -9` does."""
        self._signal(signal.SIGKILL)
        self._release()

    def pause(self) -> None:
        """Let it hang, connections and all, until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._guard.returncode is None:  # Not yet reaped, so the id is still ours.
            try:
                os.killpg(self._guard.pid, number)
            except ProcessLookupError:
                return

    def _release(self) -> None:
        self._guard.wait()
        if self._guard.stdin is not None:
            self._guard.stdin.close()


def _die_with_parent() -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _guard(command: Sequence[str]) -> int:
    ended_s: list[float] = []

    def forward(number: int, _: FrameType | None) -> None:
        # A signal to the group reaches the command as well; the guard only waits for its end.
        ended_s.append(time.monotonic())

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        # Safe here, unlike in a library: the guard has one thread, which lives as long as it does.
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )
    while process.poll() is None:
        readable, _, _ = select.select([0], [], [], 0.2)
        if readable and not os.read(0, 4096):
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
            break
    return process.wait()


if __name__ == "__main__":
    sys.exit(_guard(sys.argv[1:]))
