"""The one thread of a process that looks after all models in processes of their own."""

import logging
import os
import select
import threading
import time
from contextlib import suppress
from typing import NamedTuple, Protocol

_logger = logging.getLogger(__name__)

_LONGEST_S = 0.5  # between two looks; a process that ends without a word is found by then


class Awaited(NamedTuple):
    """What a member waits for."""

    until_s: float | None  # by time.monotonic(); None: nothing but the descriptors
    readable: tuple[int, ...]
    writable: tuple[int, ...]


class Member(Protocol):
    def step(self) -> None:
        """Do what there is to do, without waiting."""

    def watch(self) -> Awaited: ...

    def broke(self, error: Exception) -> None:
        """`step` or `watch` raised: a mistake of ours."""


class Loop:
    """Members are stepped when something of theirs can be read or written, or their time has come.

    The thread starts with the first member and lives as long as the process: the kernel ends the
    processes of a thread that ends.
    """

    def __init__(self) -> None:
        self._members: dict[Member, None] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._reads = self._writes = -1

    def add(self, member: Member) -> None:
        with self._lock:
            self._members[member] = None
            if self._thread is None:
                self._reads, self._writes = os.pipe()
                os.set_blocking(self._reads, False)
                os.set_blocking(self._writes, False)
                self._thread = threading.Thread(target=self._run, name="apart", daemon=True)
                self._thread.start()
        self.wake()

    def remove(self, member: Member) -> None:
        with self._lock:
            self._members.pop(member, None)

    def wake(self) -> None:
        """All members are stepped soon."""
        with suppress(BlockingIOError):  # full: it will wake
            os.write(self._writes, b"\0")

    def _run(self) -> None:
        due: set[Member] = set()
        while True:
            with self._lock:
                members = list(self._members)
            for member in members:
                if member in due:
                    self._guarded(member)
            due = self._wait(members)

    def _wait(self, members: list[Member]) -> set[Member]:
        """Those for whom something has come."""
        poll = select.poll()
        poll.register(self._reads, select.POLLIN)
        owners: dict[int, Member] = {}
        times: list[tuple[float, Member]] = []
        now_s = time.monotonic()
        for member in members:
            try:
                watch = member.watch()
            except Exception as error:  # noqa: BLE001  # as in _guarded
                member.broke(error)
                continue
            events: dict[int, int] = dict.fromkeys(watch.readable, select.POLLIN)
            for descriptor in watch.writable:
                events[descriptor] = events.get(descriptor, 0) | select.POLLOUT
            for descriptor, mask in events.items():
                poll.register(descriptor, mask)
                owners[descriptor] = member
            times.append((now_s + _LONGEST_S if watch.until_s is None else watch.until_s, member))
        until_s = min((time_s for time_s, _ in times), default=now_s + 60.0)
        found = poll.poll(max(0.0, 1000 * (until_s - now_s)))
        ready = [descriptor for descriptor, _ in found]
        if self._reads in ready:
            with suppress(BlockingIOError):
                os.read(self._reads, 4096)
            with self._lock:
                return set(self._members)
        now_s = time.monotonic()
        due = {member for time_s, member in times if time_s <= now_s}
        return due | {owners[descriptor] for descriptor in ready}

    def _guarded(self, member: Member) -> None:
        try:
            member.step()
        except Exception as error:  # the edge of a thread: its member tells its callers
            _logger.exception("a model's process can no longer be looked after")
            member.broke(error)


LOOP = Loop()

__all__ = ["LOOP", "Awaited", "Loop", "Member"]
