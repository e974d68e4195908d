"""Where sources ended, committed under the group only once every sink has flushed.

The engine closes the sources of a dataflow that ends before its sinks. What the sources had read by
then is progress only when its answers are acknowledged: a run without a recovery directory would
otherwise begin behind clicks that were never answered.
"""

import threading
from collections.abc import Mapping

from streamrec.connectors.log import Log


class Ending:
    """For the sources and sinks of one dataflow in one process, whatever the number of workers."""

    def __init__(self, log: Log, group: str) -> None:
        self._log = log
        self._group = group
        self._lock = threading.Lock()
        self._sinks_open = 0
        self._offsets: dict[str, dict[int, int]] = {}  # by topic

    def sink_opened(self) -> None:
        with self._lock:
            self._sinks_open += 1

    def source_ended(self, topic: str, offsets: Mapping[int, int]) -> None:
        """A source has reached its end, or was asked to stop, at these next offsets."""
        with self._lock:
            self._offsets.setdefault(topic, {}).update(offsets)

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
                    reader.commit(self._group, topic, ends)
        finally:
            reader.close()
