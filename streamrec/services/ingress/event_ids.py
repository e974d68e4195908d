"""Event ids: an event that a client sends again is written once, over a window.

Which ids were written is remembered by topic and record key, with their places, and read back from
the topics at a start: what one client calls an event says nothing of another's. What this does not
see, two processes at once or an acknowledgement that a kill cut off, the dataflows count once by
the header `event-id`.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

from streamrec.connectors.log import NO_TIMESTAMP_MS, Log, Place, UnknownTopicError
from streamrec.connectors.patience import Patience
from streamrec.connectors.reading import read_batches
from streamrec.dataflows.errors.failed import EVENT_ID as EVENT_ID

EVENT_ID_BYTES = 128
_IDS = 1_000_000

Id = tuple[str, bytes | None, str]  # topic, key of the record, and what the client calls it
_Known = tuple[float, Place]  # when, and where


class EventIds:
    """Ids that were written, of one process; used in its loop."""

    def __init__(
        self, once_s: float, ids: int = _IDS, clock: Callable[[], float] = time.time
    ) -> None:
        self.once_s = once_s
        self._ids = ids
        self._clock = clock
        self._known: OrderedDict[Id, _Known] = OrderedDict()  # oldest first
        self._under_way: dict[Id, asyncio.Future[Place | None]] = {}

    def place_of(self, event_id: Id) -> Place | None:
        """Where an event was written; None: it was not, in the window."""
        found = self._known.get(event_id)
        if found is None or self._clock() - found[0] > self.once_s:
            return None
        return found[1]

    def under_way(self, event_id: Id) -> "asyncio.Future[Place | None] | None":
        """What tells where an event that is being written will stand; None: it is not."""
        return self._under_way.get(event_id)

    def begin(self, event_id: Id) -> None:
        """It is being written from now on."""
        self._under_way[event_id] = asyncio.get_running_loop().create_future()

    def end(self, event_id: Id, place: Place | None) -> None:
        """It was written; None: it was not, and may be sent again."""
        waiting = self._under_way.pop(event_id, None)
        if place is not None:
            self.remember(event_id, place, self._clock())
        if waiting is not None and not waiting.done():
            waiting.set_result(place)

    def remember(self, event_id: Id, place: Place, at_s: float) -> None:
        """The first place of an id is the one that counts."""
        if self.place_of(event_id) is not None:
            return
        self._known[event_id] = (at_s, place)
        self._known.move_to_end(event_id)
        before_s = self._clock() - self.once_s
        while self._known:
            oldest = next(iter(self._known))
            if len(self._known) <= self._ids and self._known[oldest][0] >= before_s:
                break
            del self._known[oldest]

    def read_back(
        self, log: Log, topics: Sequence[str], stopping: Callable[[], bool] = lambda: False
    ) -> int:
        """Read the ids of a window from the topics; how many there were. Blocks, until `stopping`
        says that nobody needs them; to be called before the first request. Raises LogError."""
        patience = replace(log.patience, stopping=stopping)
        began_ms = int((self._clock() - self.once_s) * 1_000)
        count = 0
        for topic in topics:
            with closing(log.admin()) as admin:
                try:
                    starts = admin.offsets_at(topic, began_ms)
                except UnknownTopicError:
                    continue
                ends = admin.ends(topic, committed=True)
            # In the order of time: of more ids than are kept, the newest are.
            found = [
                (began_ms if ms == NO_TIMESTAMP_MS else ms, own, place)
                for ms, own, place in _ids_in(log, topic, starts, ends, patience)
            ]
            for ms, own, place in sorted(found, key=lambda each: each[0]):
                self.remember(own, place, ms / 1_000)
            count += len(found)
        return count


def _ids_in(
    log: Log,
    topic: str,
    starts: Mapping[int, int],
    ends: Mapping[int, int],
    patience: Patience,
) -> Iterator[tuple[int, Id, Place]]:
    """The log's time, id and place of each record that has an id."""
    for batch in read_batches(log, topic, starts, ends, patience):
        if patience.stopping():
            return
        for index in batch.with_headers():
            detail = batch.detail(index)
            for name, value in detail.headers:
                if name == EVENT_ID and value is not None:
                    own = (topic, detail.key, value.decode("utf-8", "replace"))
                    place = Place(batch.partition, int(batch.offsets[index]))
                    yield int(batch.times_ms[index]), own, place
                    break


__all__ = ["EVENT_ID", "EVENT_ID_BYTES", "EventIds", "Id"]
