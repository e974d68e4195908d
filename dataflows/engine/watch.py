"""Ends a process that would otherwise wait for what does not come.

A thread looks at the wish to stop and at the peers, whatever the dataflow waits for: peers that do
not join, a registry, a broker, a flush, a lease. While the engine joins its peers no handler of
Python's runs, since the main thread is the engine's; so the thread hears of signals by the pipe
that the interpreter's own handler writes to, which runs at once.

- *Starting*: asked to stop it ends at once with status 0, since nothing was read; when a peer that
  had joined has died, at once with status 1; when not all have joined within `join_s`, with
  status 1.
- *Running*: asked to stop it ends in good order, or with status 1 after `LEAVE_S`, without peers
  after `ALONE_S`; when a peer has died the engine ends it, or this does after `LEAVE_S`, with
  status 1.
"""

import logging
import os
import select
import signal
import sys
import threading
import time
from types import FrameType

from streamrec.dataflows.engine.leaving import leave
from streamrec.dataflows.engine.peers import Peers
from streamrec.dataflows.engine.stopping import Stopping

_logger = logging.getLogger(__name__)

LEAVE_S = 9.0  # from the wish to stop, or a peer's death, for a process that has peers
ALONE_S = 18.0  # and for one that has none
_LOOK_S = 0.2
_LOOK_AT_PEERS_S = 1.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Watch:
    """Of this process, from `start` to its end."""

    def __init__(self, stopping: Stopping, peers: Peers, join_s: float) -> None:
        self._stopping = stopping
        self._peers = peers
        self._join_s = join_s
        self._runs = threading.Event()
        self._stop_s: float | None = None  # when it was first seen that a stop is wanted
        self._joining_s: float | None = None  # since when the engine joins
        self._most = 0  # peers that were connected at once
        self._alone_s: float | None = None  # since when one of them is not
        self._look_at_peers_s = 0.0

    def start(self) -> None:
        """For the main thread, which alone may ask for signals."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._stopping.first = self._leave_if_it_starts
        heard, told = os.pipe()
        os.set_blocking(told, False)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(heard,), name="watch", daemon=True).start()

    def runs(self) -> None:
        """All have joined, and the engine builds the dataflow."""
        self._runs.set()

    def _watch(self, heard: int) -> None:
        while True:
            readable, _, _ = select.select([heard], [], [], _LOOK_S)
            if readable:
                for number in os.read(heard, 64):
                    if number in _SIGNALS:
                        self._stopping.ask(signal.Signals(number).name)
            self._look()

    def _look(self) -> None:
        now_s = time.monotonic()
        if self._stopping():
            self._look_at_stop(now_s)
        if len(self._peers) and now_s >= self._look_at_peers_s:
            self._look_at_peers_s = now_s + (_LOOK_AT_PEERS_S if self._runs.is_set() else 0.0)
            self._look_at_peers(now_s)

    def _look_at_stop(self, now_s: float) -> None:
        self._leave_if_it_starts()
        self._stop_s = self._stop_s or now_s
        patience_s = LEAVE_S if len(self._peers) else ALONE_S
        if now_s - self._stop_s > patience_s:
            leave(
                1,
                f"could not end in good order within {patience_s:.0f} s of the wish to stop, since "
                "it waits for a peer, the log or the registry: leaving; what was not saved is done "
                "again by the next start with this recovery directory",
            )

    def _leave_if_it_starts(self) -> None:
        """Not by way of whoever waits: that would be told as a failure."""
        if not self._runs.is_set():
            leave(0, "stopped before it had begun: nothing was read")

    def _look_at_peers(self, now_s: float) -> None:
        connected = self._peers.connected()
        if self._runs.is_set():  # all had joined, though this may not have seen it
            self._most = len(self._peers)
        if connected is None:
            pass  # this kernel does not say
        elif connected < self._most:
            self._alone_s = self._alone_s or now_s
            if not self._runs.is_set():
                leave(1, f"a peer has ended while all were starting: {self._missing()}")
            if now_s - self._alone_s > LEAVE_S:
                leave(1, f"a peer has ended: {self._missing()}; leaving")
        else:
            self._alone_s = None
            self._most = max(self._most, connected)
        if connected == len(self._peers):
            self._runs.set()
        if self._runs.is_set() or not _is_the_engines(sys._current_frames()):
            self._joining_s = None
            return
        self._joining_s = self._joining_s or now_s
        if now_s - self._joining_s > self._join_s:
            leave(
                1,
                f"expected all {len(self._peers) + 1} processes to join within {self._join_s:g} s "
                f"(STREAMREC_JOIN_S), got no connection with {self._missing()}; look whether they "
                "run, and whether the addresses are the same, in the same order, everywhere",
            )

    def _missing(self) -> str:
        return ", ".join(self._peers.missing()) or "one whose address cannot be told"


def _is_the_engines(frames: dict[int, FrameType]) -> bool:
    """Whether the main thread has been handed to the engine: `bytewax.run` waits in it."""
    frame = frames.get(threading.main_thread().ident or 0)
    return (
        frame is not None
        and frame.f_globals.get("__name__") == "__main__"
        and ("cli_main" in frame.f_globals)
    )
