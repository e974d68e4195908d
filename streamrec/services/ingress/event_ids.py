"""Event ids: an event that a client sends again is written once, over a window.

Which ids were written is remembered by topic, with their places, and read back from the topics at a
start. What this does not see, two processes at once or an acknowledgement that a kill cut off, the
dataflows count once by the header `event-id`.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import closing

from streamrec.connectors.log import NO_TIMESTAMP_MS, Log, Place, UnknownTopicError
from streamrec.connectors.reading import read_batches
from streamrec.dataflows.errors.failed import EVENT_ID as EVENT_ID

EVENT_ID_BYTES = 128
_IDS = 1_000_000

_Id = tuple[str, str]  # topic and id
_Known = tuple[float, Place]  # when, and where


class EventIds:
    """Ids that were written, of one process; used in its loop."""

    def __init__(
        self, once_s: float, ids: int = _IDS, clock: Callable[[], float] = time.time
    ) -> None:
        self.once_s = once_s
        self._ids = ids
        self._clock = clock
        self._known: OrderedDict[_Id, _Known] = OrderedDict()  # oldest first
        self._under_way: dict[_Id, asyncio.Future[Place | None]] = {}

    def place_of(self, topic: str, event_id: str) -> Place | None:
        """Where an event was written; None: it was not, in the window."""
        found = self._known.get((topic, event_id))
        if found is None or self._clock() - found[0] > self.once_s:
            return None
        return found[1]

    def under_way(self, topic: str, event_id: str) -> "asyncio.Future[Place | None] | None":
        """What tells where an event that is being written will stand; None: it is not."""
        return self._under_way.get((topic, event_id))

    def begin(self, topic: str, event_id: str) -> None:
        """It is being written from now on."""
        self._under_way[topic, event_id] = asyncio.get_running_loop().create_future()

    def end(self, topic: str, event_id: str, place: Place | None) -> None:
        """It was written; None: it was not, and may be sent again."""
        waiting = self._under_way.pop((topic, event_id), None)
        if place is not None:
            self.remember(topic, event_id, place, self._clock())
        if waiting is not None and not waiting.done():
            waiting.set_result(place)

    def remember(self, topic: str, event_id: str, place: Place, at_s: float) -> None:
        """The first place of an id is the one that counts."""
        if self.place_of(topic, event_id) is not None:
            return
        self._known[topic, event_id] = (at_s, place)
        self._known.move_to_end((topic, event_id))
        before_s = self._clock() - self.once_s
        while self._known:
            oldest = next(iter(self._known))
            if len(self._known) <= self._ids and self._known[oldest][0] >= before_s:
                break
            del self._known[oldest]

    def read_back(self, log: Log, topics: Sequence[str]) -> int:
        """Read the ids of a window from the topics; how many there were. Blocks; to be called
        before the first request. Raises LogError."""
        began_ms = int((self._clock() - self.once_s) * 1_000)
        found: list[tuple[int, _Id, Place]] = []
        for topic in topics:
            with closing(log.admin()) as admin:
                try:
                    starts = admin.offsets_at(topic, began_ms)
                except UnknownTopicError:
                    continue
                ends = admin.ends(topic, committed=True)
            for batch in read_batches(log, topic, starts, ends):
                for index, offset in enumerate(batch.offsets.tolist()):
                    for name, value in batch.detail(index).headers:
                        if name == EVENT_ID and value is not None:
                            ms = int(batch.times_ms[index])
                            ms = began_ms if ms == NO_TIMESTAMP_MS else ms
                            own = (topic, value.decode("utf-8", "replace"))
                            found.append((ms, own, Place(batch.partition, offset)))
        for ms, (topic, event_id), place in sorted(found):
            self.remember(topic, event_id, place, ms / 1_000)
        return len(found)


__all__ = ["EVENT_ID", "EVENT_ID_BYTES", "EventIds"]
