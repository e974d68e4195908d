"""The shop's records put on a topic of clicks, and where each of them then stands.

The topic must be there, and nobody else write to it meanwhile: so the offsets are known beforehand.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import Log
from streamrec.connectors.partitioner import partition_for_key
from streamrec.dataflows.job.settings import Settings
from streamrec.models.users.features import EVENT_TYPES
from streamrec.shop.faults import SchemaIds
from streamrec.shop.shop import Shop, ShopBatch

_FLUSH_S = 60.0


@dataclass(frozen=True, slots=True)
class SentBatch:
    """A batch of the shop and where it stands."""

    records: ShopBatch
    partitions: NDArray[np.int64]  # (n,)
    offsets: NDArray[np.int64]  # (n,)

    def places(self) -> list[tuple[int, int]]:
        """Partition and offset of each record."""
        return list(zip(self.partitions.tolist(), self.offsets.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class SentClicks:
    """All that was put on the topic."""

    batches: list[SentBatch] = field(default_factory=list)

    def errors(self) -> Counter[str]:
        """How many errors must come out, by reason."""
        return sum((batch.records.error_counts() for batch in self.batches), Counter[str]())

    def asks(self, settings: Settings) -> int:
        """How many recommendations must come out."""
        asking = np.array([event_type in settings.recommend_on for event_type in EVENT_TYPES])
        return sum(
            int((batch.is_good() & asking[batch.clicks.event_types]).sum())
            for batch in (sent.records for sent in self.batches)
        )


def send_shop(log: Log, topic: str, shop: Callable[[SchemaIds], Shop]) -> Iterator[SentBatch]:
    """Put all records on the topic, under the ids of its own schemas; all are there at the end."""
    ids = schema_ids(log, topic)
    with closing(ShopWriter(log, topic)) as writer:
        for batch in shop(ids).batches():
            yield writer.write(batch)


def send_paced(log: Log, topic: str, seed: int, rate: int) -> Iterator[int]:
    """Put records on the topic for ever, `rate` a second; yields how many each time."""
    shop = Shop(seed=seed, clicks=sys.maxsize, schema_ids=schema_ids(log, topic))
    with closing(ShopWriter(log, topic)) as writer:
        began, count = time.monotonic(), 0
        for batch in shop.batches():
            step = max(1, rate // 20)
            for start in range(0, len(batch), step):
                part = batch.part(slice(start, start + step))
                writer.write(part)
                writer.flush()
                count += len(part)
                yield len(part)
                time.sleep(max(0.0, began + count / rate - time.monotonic()))


def schema_ids(log: Log, topic: str) -> SchemaIds:
    """What the shop writes with on this topic."""
    with closing(log.registry()) as registry:
        return SchemaIds.of(registry, topic)


class ShopWriter:
    """Writes batches of the shop, and says where each record will stand."""

    def __init__(self, log: Log, topic: str) -> None:
        with closing(log.admin()) as admin:
            bounds = admin.bounds(topic)
        self._topic = topic
        self._next = np.array([bounds[partition].high for partition in range(len(bounds))])
        self._places = _Places(len(bounds))
        self._writer = log.writer()

    def write(self, batch: ShopBatch) -> SentBatch:
        partitions = self._places.of(batch)
        offsets = np.empty(len(batch), dtype=np.int64)
        for partition in np.unique(partitions).tolist():
            rows = np.flatnonzero(partitions == partition)
            offsets[rows] = self._next[partition] + np.arange(len(rows))
            self._next[partition] += len(rows)
            chosen = rows.tolist()
            self._writer.write_columns(
                self._topic,
                partition,
                [batch.keys[row] for row in chosen],
                [batch.values[row] for row in chosen],
            )
        return SentBatch(batch, partitions, offsets)

    def flush(self) -> None:
        self._writer.flush(_FLUSH_S)

    def close(self) -> None:
        self._writer.flush(_FLUSH_S)
        self._writer.close()


class _Places:
    """The partition of each user, reckoned once."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._by_user = np.full(1_024, -1, dtype=np.int64)

    def of(self, batch: ShopBatch) -> NDArray[np.int64]:
        users = batch.clicks.users
        if (most := int(users.max(initial=0))) >= len(self._by_user):
            more = np.full(2 * most, -1, dtype=np.int64)
            more[: len(self._by_user)] = self._by_user
            self._by_user = more
        new = np.flatnonzero(self._by_user[users] < 0)
        for user, row in dict(zip(users[new].tolist(), new.tolist(), strict=True)).items():
            self._by_user[user] = partition_for_key(batch.keys[row], self._partitions)
        return self._by_user[users]
