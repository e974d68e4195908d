"""Where sources ended, committed under the group only once every sink has flushed.

The engine closes the sources of a dataflow that ends before its sinks. What the sources had read by
then is progress only when its answers are acknowledged: a run without a recovery directory would
otherwise begin behind clicks that were never answered. Where answers come later, what still waits
for its own is not progress either.
"""

import threading
from collections.abc import Callable, Mapping

from streamrec.connectors.log import Log


class Ending:
    """For the sources and sinks of one dataflow in one process, whatever the number of workers."""

    def __init__(self, log: Log, group: str) -> None:
        self._log = log
        self._group = group
        self._lock = threading.Lock()
        self._sinks_open = 0
        self._offsets: dict[str, dict[int, int]] = {}  # by topic
        self._unanswered: dict[str, Callable[[], Mapping[int, int]]] = {}  # by topic

    def sink_opened(self) -> None:
        with self._lock:
            self._sinks_open += 1

    def source_ended(
        self,
        topic: str,
        offsets: Mapping[int, int],
        unanswered: Callable[[], Mapping[int, int]] | None = None,
    ) -> None:
        """A source has reached its end, or was asked to stop, at these next offsets. `unanswered`
        is asked when the sinks have closed: the first offsets that then wait for an answer."""
        with self._lock:
            self._offsets.setdefault(topic, {}).update(offsets)
            if unanswered is not None:
                self._unanswered[topic] = unanswered

    def sink_closed(self) -> None:
        """A sink has flushed and closed; with the last one the ends are committed."""
        with self._lock:
            self._sinks_open -= 1
            if self._sinks_open or not self._offsets:
                return
            offsets, self._offsets = self._offsets, {}
        reader = self._log.reader()
        try:
            for topic, ends in offsets.items():
                if ends:
                    reader.commit(self._group, topic, self._answered(topic, ends))
        finally:
            reader.close()

    def _answered(self, topic: str, ends: Mapping[int, int]) -> dict[int, int]:
        unanswered = self._unanswered.get(topic)
        waiting = {} if unanswered is None else unanswered()
        return {partition: min(at, waiting.get(partition, at)) for partition, at in ends.items()}
