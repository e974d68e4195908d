"""What time it is for a shard, in event time: as its records say, and ticks where none come."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.models.users import watermarks

_LEAST_HORIZON_MS = 60 * 60_000


class EventClock:
    """The newest event time that is believed, and what has passed since by the clock of the ticks.

    One wrong clock moves it no further than an hour, or twice `late_ms` where that is more: a time
    further ahead counts when ten keys agree (`models.users.watermarks`). It does not go back, but
    while fewer than ten keys were seen: then one that is further behind than that sets it back,
    since nobody knows which of them is wrong.
    """

    def __init__(self, late_ms: int) -> None:
        self._horizon_ms = max(_LEAST_HORIZON_MS, 2 * late_ms)
        self._marks = watermarks.no_marks(1)
        self._base_ms = 0  # the watermark, and the tick at which it was reached
        self._base_tick_ms = 0
        self._tick_ms = 0  # the newest, since several may write them
        self.now_ms = -watermarks.NEVER_MS  # nothing was seen yet

    def are_late(self, times_ms: NDArray[np.int64], late_ms: int) -> NDArray[np.bool_]:
        """Which of some records (n,) come too late."""
        late: NDArray[np.bool_] = times_ms < self.now_ms - late_ms
        if not self._marks[0, watermarks.FOUNDED]:
            late &= times_ms >= self.now_ms - self._horizon_ms
        return late

    def move(
        self, times_ms: NDArray[np.int64], hashes: NDArray[np.int64], tick_ms: int
    ) -> list[tuple[int, int, int]]:
        """At a tick, with the records that came before it: times (n,) rising, and the hashes of
        their keys (n, 2) high half first. Returns what is refuted by them: time, high and low; it
        holds for all that came of the key up to that time, and is after `far_ms`."""
        refuted = self._weigh(times_ms, hashes)
        self._tick_ms = max(self._tick_ms, tick_ms)
        newest_ms = int(self._marks[0, watermarks.WATERMARK_MS])
        is_set_back = newest_ms < self._base_ms
        if newest_ms != self._base_ms:
            self._base_ms, self._base_tick_ms = newest_ms, self._tick_ms
        if newest_ms:
            # What time had passed without records is not taken back by one that is a little newer:
            # timers were called by then.
            reached_ms = newest_ms + self._tick_ms - self._base_tick_ms
            self.now_ms = reached_ms if is_set_back else max(self.now_ms, reached_ms)
        return refuted

    @property
    def far_ms(self) -> int:
        """What is later is not believed yet."""
        return int(self._marks[0, watermarks.WATERMARK_MS]) + self._horizon_ms

    def _weigh(
        self, times_ms: NDArray[np.int64], hashes: NDArray[np.int64]
    ) -> list[tuple[int, int, int]]:
        marks, n = self._marks, len(times_ms)
        if not n:
            return []
        limit_ms = int(marks[0, watermarks.LIMIT_MS])
        if times_ms[0] <= limit_ms and int(np.diff(times_ms).max(initial=0)) <= self._horizon_ms:
            newest_ms = max(int(times_ms[-1]), int(marks[0, watermarks.WATERMARK_MS]))
            marks[0, watermarks.WATERMARK_MS] = newest_ms
            marks[0, watermarks.LIMIT_MS] = newest_ms + self._horizon_ms
            return []
        found: list[tuple[int, int, int]] = []
        room = np.empty((watermarks.CANDIDATES_MAX + 1, 3), np.int64)
        for time_ms, (high, low) in zip(times_ms.tolist(), hashes.tolist(), strict=True):
            is_quiet = marks[0, watermarks.LIMIT_MS] >= 0
            if is_quiet and time_ms <= marks[0, watermarks.WATERMARK_MS]:
                continue  # it tells nothing new, and is not too late
            # What their own keys contradict is refuted, too, as what no others bear out.
            count = watermarks.weigh_one(
                marks, 0, time_ms, high, low, self._horizon_ms, self._horizon_ms, room
            )
            found += [tuple(each) for each in room[: max(0, count)].tolist()]
        return found

    def facts(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "now_ms": self.now_ms,
            "base_ms": self._base_ms,
            "base_tick_ms": self._base_tick_ms,
            "tick_ms": self._tick_ms,
            "watermark_ms": int(self._marks[0, watermarks.WATERMARK_MS]),
            "doubts": watermarks.doubts_of(self._marks),
        }

    def restore(self, facts: dict[str, Any]) -> None:
        """The inverse of `facts`."""
        self.now_ms = facts["now_ms"]
        self._base_ms, self._base_tick_ms = facts["base_ms"], facts["base_tick_ms"]
        self._tick_ms = facts["tick_ms"]
        newest_ms = np.array([facts["watermark_ms"]], np.int64)
        self._marks = watermarks.marks_of(newest_ms, facts["doubts"], self._horizon_ms)


__all__ = ["EventClock"]
