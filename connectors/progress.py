"""Progress of a consumer group on its way from the source to the transactions of a sink.

Both run in the same worker, which is a thread. What no transaction takes until the source has more
to say is committed by the source itself, so that an input without outputs shows no lag for ever.
"""

from collections.abc import Mapping

from streamrec.connectors.log import GroupOffsets
from streamrec.connectors.per_thread import PerThread


class GroupProgress:
    """The next offsets of a group in a topic, durable and not yet recorded; of each thread."""

    def __init__(self, group: str, topic: str) -> None:
        self._group = group
        self._topic = topic
        self._offsets = PerThread[dict[int, int]](dict)

    def offer(self, offsets: Mapping[int, int]) -> dict[int, int]:
        """Leave offsets for the next transaction; returns those of the last time, if still here."""
        waiting = self._offsets()
        left = {p: waiting[p] for p in offsets if p in waiting}
        waiting.update(offsets)
        return left

    def waiting(self) -> GroupOffsets | None:
        waiting = self._offsets()
        return GroupOffsets(self._group, self._topic, dict(waiting)) if waiting else None

    def taken(self) -> None:
        """A transaction with what was waiting has been committed."""
        self._offsets().clear()
