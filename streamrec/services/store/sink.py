"""The sink over a store: values by key, merged into what is there.

- *Unit of parallelism*: a lane, as in `connectors.source`: what comes of partition p of the input
  is put by lane `p % lanes`. Lanes take turns.
- *A snapshot* holds nothing: it waits until what the lanes of this process have put is synced, so
  that the engine never takes an epoch for done of which a power cut could take something back.
- *After a crash* the engine repeats what came after the last snapshot, which changes nothing: a
  store merges.
- *A store that is away* is waited for, and said; a full disk stops the flow.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain

from streamrec.connectors.ending import Ending
from streamrec.connectors.sink import SinkPosition
from streamrec.connectors.source import lane_name
from streamrec.services.store.contract import Item, Space, StoreAwayError, ValueStore

_logger = logging.getLogger(__name__)

_RETRY_S = 1.0
_SAY_S = 30.0


@dataclass(frozen=True, slots=True)
class Puts:
    """What a store is to put of the records of one partition, in their order."""

    shard: str  # the lane, under which the engine routes it
    items: list[Item]


@dataclass(frozen=True, slots=True)
class StoreSinkOptions:
    """How a space is written."""

    space: Space
    lanes: int = 8
    ending: Ending | None = None  # is told when a lane has put for the last time
    holding: Callable[[], object] = lambda: None  # returns when this process still may write
    stopping: Callable[[], bool] = lambda: False  # whether waiting is to end
    on_write: Callable[[list[Item]], object] = lambda items: None  # told what was put


@dataclass
class StoreSink:
    """Writes one space. For any engine that routes `Puts` to the lane `puts.shard`."""

    store: ValueStore
    options: StoreSinkOptions
    lanes_open: int = 0
    unsynced: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def list_parts(self) -> list[str]:
        return [lane_name(lane) for lane in range(self.options.lanes)]

    def open_lane(self, name: str, resume: SinkPosition | None) -> "StoreLane":
        """One of `list_parts`."""
        with self.lock:
            self.lanes_open += 1
        if self.options.ending is not None:
            self.options.ending.sink_opened()
        return StoreLane(self)

    def put(self, items: list[Item]) -> None:
        self.options.holding()
        self._wait_for(lambda: self.store.put(self.options.space, items))
        self.unsynced = True
        self.options.on_write(items)

    def sync(self) -> None:
        """For all lanes: the first snapshot of an epoch does it for the others."""
        with self.lock:
            if self.unsynced:
                self.unsynced = False  # what is put meanwhile is not of this epoch's snapshot
                try:
                    self._wait_for(self.store.sync)
                except BaseException:
                    self.unsynced = True
                    raise

    def close_lane(self) -> None:
        self.sync()
        if self.options.ending is not None:
            self.options.ending.sink_closed()
        with self.lock:
            self.lanes_open -= 1
            if not self.lanes_open:
                self.store.close()

    def _wait_for(self, act: Callable[[], None]) -> None:
        said_s = -_SAY_S
        while True:
            try:
                act()
                return
            except StoreAwayError as error:
                if self.options.stopping():
                    raise
                if time.monotonic() - said_s >= _SAY_S:
                    said_s = time.monotonic()
                    _logger.warning("%s; waiting for it", error)
                time.sleep(_RETRY_S)


@dataclass(frozen=True, slots=True)
class StoreLane:
    """One lane of a `StoreSink`."""

    sink: StoreSink

    def write_batch(self, values: list[Puts]) -> None:
        self.sink.put(list(chain.from_iterable(puts.items for puts in values)))

    def snapshot(self) -> SinkPosition:
        self.sink.sync()
        return SinkPosition({})

    def close(self) -> None:
        self.sink.close_lane()


__all__ = ["Puts", "StoreLane", "StoreSink", "StoreSinkOptions"]
