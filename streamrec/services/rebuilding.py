"""The store made anew from the topic, beside the one in use, and swapped in.

Readers and the flow go on meanwhile. While the one takes the other's place nobody puts, for as long
as it takes to read what came since the last look: so all that the flow had put before is in the new
one, and all that it puts afterwards goes there.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from typing import NamedTuple

from streamrec.connectors.log import Log
from streamrec.connectors.per_thread import PerThread
from streamrec.connectors.reading import read_batches, whole
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.codecs import schema_of
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import RECOMMENDATIONS
from streamrec.dataflows.steps.newest import NewestOfUsers, fields_schema
from streamrec.schemas.wire import WireDecoder
from streamrec.services.store.contract import ValueStore
from streamrec.services.store.opening import open_replacement
from streamrec.services.store.users import USERS

_BEHIND = 5_000  # records that may be left to read while nobody puts
_ROUNDS_MAX = 20
_PUT_AT_ONCE = 20_000


class Rebuilt(NamedTuple):
    """What became of the topic's records."""

    put: int
    unreadable: int  # these stand on the topic of errors
    took_s: float


def rebuild(log: Log, settings: Settings, tell: Callable[[str], None]) -> Rebuilt:
    """Raises StoreError, LogError, RegistryUnavailableError; the store in use is then as it was."""
    began_s = time.monotonic()
    topic = settings.topic(RECOMMENDATIONS)
    replacement = open_replacement(settings.store)
    try:
        filling = _Filling(log, topic, replacement.store)
        for _ in range(_ROUNDS_MAX):
            behind = filling.behind()
            if behind < _BEHIND:
                break
            tell(f"reading {behind:,} recommendations")
            filling.read_on()
        replacement.swap(filling.read_on)
    finally:
        replacement.close()
    return Rebuilt(filling.put, filling.unreadable, time.monotonic() - began_s)


class _Filling:
    """Puts what a topic holds, as far as it has read."""

    def __init__(self, log: Log, topic: str, store: ValueStore) -> None:
        self.put = 0
        self.unreadable = 0
        self._log = log
        self._topic = topic
        self._store = store
        registry = log.registry()
        found = partial(schema_of, registry, log.patience)
        self._decode = NewestOfUsers(PerThread(lambda: WireDecoder(fields_schema(), found)))
        self._positions: Mapping[int, int] = {}

    def behind(self) -> int:
        """How many offsets are left."""
        return sum(end - at for at, end in self._ranges().values())

    def read_on(self) -> None:
        """To where the topic ends now."""
        ranges = self._ranges()
        starts = {partition: at for partition, (at, _) in ranges.items()}
        stops = {partition: end for partition, (_, end) in ranges.items()}
        items = []
        for batch in read_batches(self._log, self._topic, starts, stops):
            for each in self._decode([batch]):
                if isinstance(each, Failed):
                    self.unreadable += 1
                else:
                    items += each.items
            if len(items) >= _PUT_AT_ONCE:
                self._store.put(USERS, items)
                self.put += len(items)
                items = []
        self._store.put(USERS, items)
        self.put += len(items)
        self._positions = stops

    def _ranges(self) -> dict[int, tuple[int, int]]:
        """By partition, where to go on, and where it ends."""
        if not self._positions:
            starts, stops = whole(self._log, self._topic)
            return {p: (starts[p], max(starts[p], end)) for p, end in stops.items()}
        with closing(self._log.admin()) as admin:
            ends = admin.ends(self._topic, committed=True)
        return {p: (self._positions.get(p, 0), end) for p, end in ends.items()}


__all__ = ["Rebuilt", "rebuild"]
