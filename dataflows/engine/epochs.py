"""Which epoch a worker is closing: the engine tells nobody, but it can be counted.

A source lane is asked for its snapshot once at the end of each epoch, before the shards of its
worker are, and again only when that epoch is durable.
"""

from typing import Any

from streamrec.connectors.per_thread import PerThread
from streamrec.dataflows.engine.epoch_times import EpochTimes


class Epochs:
    """Counts the epochs of each worker. `before` is the last one that is durable, 0: none is; None:
    not known, and then nothing is counted."""

    def __init__(self, before: int | None, times: EpochTimes | None = None) -> None:
        self.before = before
        self.times = times or EpochTimes()
        self._closing = PerThread[dict[str, Any]](dict)

    def closing(self, epoch: int | None, ended: bool) -> None:
        """A lane of this worker closes an epoch; `ended`: and has no more to come. Of several
        sources one may have ended earlier, and counts no more."""
        if epoch is None:
            return
        found = self._closing()
        if epoch > found.get("epoch", -1):
            found.update(epoch=epoch, last=ended)
        elif epoch == found["epoch"]:
            found["last"] &= ended

    def mark(self) -> dict[str, Any]:
        """What the worker closes, for who saves something meanwhile: {"epoch": number, "last":
        whether the count may have ended before it}; empty where nothing is counted."""
        return dict(self._closing())
