"""How long the epochs of a process last, how long closing them takes, and how much they hold."""

import threading
import time
from collections.abc import Callable

from streamrec.services.metrics.buckets import SECONDS, Buckets


class EpochTimes:
    """Told by source lanes, each of which is asked for a snapshot once at the end of every epoch,
    and by sink lanes, when they have given theirs: those that have written something, and before
    any source is let on to the end of the next epoch."""

    def __init__(
        self,
        read: Callable[[], int] = lambda: 0,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`read` says how many records were read so far."""
        self.lock = threading.Lock()
        self.durations = Buckets(SECONDS)  # from one closing to the next
        self.closings = Buckets(SECONDS)  # from the first source's snapshot to the last sink's
        self.closed_count = 0
        self.records = 0  # read in the last epoch
        self.saved_bytes = 0  # in files of state, by the last epoch
        self._read = read
        self._clock_s = clock_s
        self._read_before = 0
        self._saving = 0
        self._asked: set[int] = set()  # source lanes, at the end of this epoch
        self._began_s: float | None = None  # the closing that was last begun
        self._ended_s: float | None = None  # its last sink; None: no sink was asked yet

    def closing(self, lane: int) -> None:
        """A source lane is asked for its snapshot. Of an epoch the first one counts: the next has
        come to its end when a lane is asked again."""
        with self.lock:
            if self._asked and lane not in self._asked:
                self._asked.add(lane)
                return
            self._asked = {lane}
            now_s = self._clock_s()
            if self._began_s is not None:
                self.durations.observe(now_s - self._began_s)
                self.saved_bytes = self._saving
                if self._ended_s is not None:
                    self.closings.observe(self._ended_s - self._began_s)
            self._began_s, self._ended_s, self._saving = now_s, None, 0
            read = self._read()
            self.records, self._read_before = read - self._read_before, read
            self.closed_count += 1

    def saved(self, size: int) -> None:
        """A shard wrote so many bytes of its state."""
        with self.lock:
            self._saving += size

    def closed(self) -> None:
        """A sink lane has given its snapshot."""
        with self.lock:
            self._ended_s = self._clock_s()


__all__ = ["EpochTimes"]
