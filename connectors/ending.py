"""Where sources ended, committed under the group only once every sink has flushed.

The engine closes the sources of a dataflow that ends before its sinks. What the sources had read by
then is progress only when its answers are acknowledged: a run without a recovery directory would
otherwise begin behind clicks that were never answered. Where answers come later, what still waits
for its own is not progress either.
"""

import threading
from collections.abc import Callable, Mapping

from streamrec.connectors.log import Log

_Place = tuple[str, str]  # group and topic


class Ending:
    """For the sources and sinks of one dataflow in one process, whatever the number of workers."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._sinks_open = 0
        self._offsets: dict[_Place, dict[int, int]] = {}
        self._unanswered: dict[_Place, Callable[[], Mapping[int, int]]] = {}

    def sink_opened(self) -> None:
        with self._lock:
            self._sinks_open += 1

    def source_ended(
        self,
        group: str,
        topic: str,
        offsets: Mapping[int, int],
        unanswered: Callable[[], Mapping[int, int]] | None = None,
    ) -> None:
        """A source has reached its end, or was asked to stop, at these next offsets. `unanswered`
        is asked when the sinks have closed: the first offsets that then wait for an answer."""
        with self._lock:
            self._offsets.setdefault((group, topic), {}).update(offsets)
            if unanswered is not None:
                self._unanswered[group, topic] = unanswered

    def sink_closed(self) -> None:
        """A sink has flushed and closed; with the last one the ends are committed."""
        with self._lock:
            self._sinks_open -= 1
            if self._sinks_open or not self._offsets:
                return
            offsets, self._offsets = self._offsets, {}
        reader = self._log.reader()
        try:
            for place, ends in offsets.items():
                if ends:
                    reader.commit(*place, self._answered(place, ends))
        finally:
            reader.close()

    def _answered(self, place: _Place, ends: Mapping[int, int]) -> dict[int, int]:
        unanswered = self._unanswered.get(place)
        waiting = {} if unanswered is None else unanswered()
        return {partition: min(at, waiting.get(partition, at)) for partition, at in ends.items()}
