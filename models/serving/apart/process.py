"""The other side of a model's process: what starts it, talks to it without waiting, and ends it."""

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress

from streamrec.models.serving.apart.memory import resident_bytes
from streamrec.models.serving.apart.printed import Printed
from streamrec.models.serving.apart.progress import At, Progress
from streamrec.models.serving.apart.settings import Limits, Plan
from streamrec.models.serving.apart.wire import HEADER_BYTES, FirstMessage, Header

_PROGRAM = "streamrec.models.serving.apart.child"
_READ_BYTES = 1 << 20
_IDLE = 19  # of niceness


class ModelProcess:
    """Starts at once. To be made in a thread that lives as long as this process: where that thread
    ends, the kernel takes it for the parent's end."""

    def __init__(self, name: str, plan: Plan, limits: Limits) -> None:
        self._socket, theirs = socket.socketpair()
        self._progress = Progress()
        output, their_output = os.pipe()
        descriptors = (theirs.fileno(), self._progress.descriptor)
        # -P: a `pickle.py` in the folder in which we run is not the library's.
        command = [sys.executable, "-P", "-m", _PROGRAM, *map(str, descriptors), str(os.getpid())]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=their_output,
                stderr=subprocess.STDOUT,
                pass_fds=descriptors,
                # A group of its own: signals to ours pass it by, and it is ended with all it began.
                start_new_session=True,
            )
        except OSError:
            self._socket.close()
            self._progress.close()
            os.close(output)
            raise
        finally:
            theirs.close()
            os.close(their_output)
        give_way(self._process.pid, limits.nice)
        self._socket.setblocking(False)
        self.printed = Printed(name, output)
        self.started_s = time.monotonic()
        self.base_bytes: int | None = None  # of memory when it was warm
        self.rest_bytes = 0  # of memory after its last answer
        self.answered = 0  # records
        self.one_by_one = False
        self.closed_its_end = False
        self._outgoing: deque[memoryview] = deque()
        self._incoming = bytearray()
        memory = None if limits.memory_mb is None else int(limits.memory_mb * 1e6)
        start = FirstMessage(
            tuple(path or os.getcwd() for path in sys.path),  # noqa: PTH109 - a str, as the path
            plan.folder,
            memory,
            pickle.dumps(plan),
        )
        self.send(0, pickle.dumps(start))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def descriptors(self) -> tuple[int, int]:
        """To wait for: the channel, and what it prints."""
        return self._socket.fileno(), self.printed.descriptor

    @property
    def has_to_send(self) -> bool:
        return bool(self._outgoing)

    @property
    def status(self) -> int | None:
        """As of Popen; None: it runs."""
        return self._process.poll()

    def at(self) -> At:
        return self._progress.read()

    def resident(self) -> int | None:
        return resident_bytes(self.pid)

    def send(self, number: int, body: bytes) -> None:
        """Does not wait: what does not go now goes by `flush`."""
        header = Header(number, len(body), 0, 0).packed()
        if len(body) < 1 << 16:
            self._outgoing.append(memoryview(header + body))
        else:
            self._outgoing += [memoryview(header), memoryview(body)]
        self.flush()

    def flush(self) -> None:
        while self._outgoing:
            first = self._outgoing[0]
            try:
                sent = self._socket.send(first)
            except BlockingIOError:
                return
            except OSError:  # it has ended, which is seen elsewhere
                self._outgoing.clear()
                return
            if sent == len(first):
                self._outgoing.popleft()
            else:
                self._outgoing[0] = first[sent:]

    def receive(self) -> list[tuple[Header, bytes]]:
        """What has come in whole."""
        while not self.closed_its_end:
            try:
                data = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            self._incoming += data
            self.closed_its_end = not data
        return self._messages()

    def _messages(self) -> list[tuple[Header, bytes]]:
        found: list[tuple[Header, bytes]] = []
        position = 0
        while len(self._incoming) - position >= HEADER_BYTES:
            header = Header.unpacked(self._incoming[position : position + HEADER_BYTES])
            end = position + HEADER_BYTES + header.length
            if end > len(self._incoming):
                break
            found.append((header, bytes(self._incoming[position + HEADER_BYTES : end])))
            position = end
        del self._incoming[:position]
        return found

    def kill(self) -> None:
        """Ends it and all that it has started; does not wait for the end."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def reaped(self, wait_s: float = 0.0) -> bool:
        """Whether a killed process is gone, and everything of it is closed."""
        try:
            self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """After `kill`, once what was sent before has been received."""
        self.printed.close()
        self._socket.close()
        self._progress.close()


def give_way(pid: int, nice: int) -> None:
    """Make a process take what others leave: from outside, so that it does so as it starts, too."""
    if not nice:
        return
    with suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, pid, min(19, os.getpriority(os.PRIO_PROCESS, 0) + nice))
        if nice == _IDLE and sys.platform == "linux":
            os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))


__all__ = ["ModelProcess", "give_way"]
