"""The sink over a store: values by key, merged into what is there.

- *Unit of parallelism*: a lane, as in `connectors.source`: what comes of partition p of the input
  is put by lane `p % lanes`. The lanes of a process hand over to one thread (`store.putting`),
  which puts together what has come meanwhile.
- *A snapshot* holds nothing: it waits until what the lanes of this process have put is synced, so
  that the engine never takes an epoch for done of which a power cut could take something back.
- *After a crash* the engine repeats what came after the last snapshot, which changes nothing: a
  store merges.
- *A store that is away* is waited for, and said; a full disk stops the flow.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain

from streamrec.connectors.ending import Ending
from streamrec.connectors.sink import SinkPosition
from streamrec.connectors.source import lane_name
from streamrec.services.store.contract import Item, Space, ValueStore
from streamrec.services.store.putting import Putting, waited_for


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


class StoreSink:
    """Writes one space. For any engine that routes `Puts` to the lane `puts.shard`."""

    def __init__(self, store: ValueStore, options: StoreSinkOptions) -> None:
        self.options = options
        self._store = store
        self._putting = Putting(store, options.space, options.stopping)
        self._lanes_open = 0
        self._unsynced = False
        self._failed = False
        self._lock = threading.Lock()
        self._is_made = False

    def list_parts(self) -> list[str]:
        self._make()
        return [lane_name(lane) for lane in range(self.options.lanes)]

    def open_lane(self, name: str, resume: SinkPosition | None) -> "StoreLane":
        """One of `list_parts`."""
        with self._lock:
            self._lanes_open += 1
        if self.options.ending is not None:
            self.options.ending.sink_opened()
        return StoreLane(self)

    def _make(self) -> None:
        """So that who reads it need not wait for the first record, when lanes are opened."""
        with self._lock, self._failing():
            if not self._is_made:  # by another worker
                empty = partial(self._store.put, self.options.space, ())
                waited_for(empty, self.options.stopping)
                self._is_made = True

    @property
    def waiting(self) -> int:
        """How many values wait to be put."""
        return self._putting.waiting

    def put(self, items: list[Item]) -> None:
        with self._failing():
            self.options.holding()
            self._putting.hand_over(items)
            # Not before: another lane's sync, meanwhile, would take it for its own.
            self._unsynced = True
        self.options.on_write(items)

    def sync(self) -> None:
        """For all lanes: the first snapshot of an epoch does it for the others."""
        with self._lock, self._failing():
            if self._unsynced:
                self.options.holding()
                self._unsynced = False  # what is put meanwhile is not of this epoch's snapshot
                self._putting.until_put()
                waited_for(self._store.sync, self.options.stopping)

    def close_lane(self) -> None:
        """The engine closes what it drops after a failure, too, which has been told then."""
        if self._failed:
            return
        self.sync()
        if self.options.ending is not None:
            self.options.ending.sink_closed()
        with self._lock:
            self._lanes_open -= 1
            if not self._lanes_open:
                self._putting.end()
                self._store.close()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self._failed = True
            raise


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
