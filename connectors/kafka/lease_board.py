"""A topic on which holders of leases say that they are there.

Each slot's record is written in a transaction of its own `transactional.id`: who opens it shuts out
the holder before, whose next heartbeat then fails. Records are read as they come, committed or not:
a heartbeat is a sign of life either way.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from streamrec.connectors.kafka.admin import KafkaAdmin
from streamrec.connectors.kafka.reader import KafkaReader
from streamrec.connectors.kafka.transactions import KafkaTransactionalWriter
from streamrec.connectors.leases.holder import Claim, Holder
from streamrec.connectors.log import LogError, Outgoing, TopicSpec, UnknownTopicError
from streamrec.connectors.patience import Patience
from streamrec.connectors.reading import read_to

_logger = logging.getLogger(__name__)

_TRANSACTION_S = 120.0  # a heartbeat takes milliseconds, and longer where the broker is away
_PARTITION = 0
_HOUR_MS = 3_600_000
# Each record counts for a lease, minutes at most; without closing files early nothing goes.
_CONFIGS = {"retention.ms": str(_HOUR_MS), "segment.ms": str(_HOUR_MS // 6)}
# A heartbeat every few seconds: asking the broker as often as a source does would cost for nothing.
_READING = {
    "isolation.level": "read_uncommitted",
    "fetch.min.bytes": 1,
    "fetch.wait.max.ms": 500,
}


def ensure_topic(admin: KafkaAdmin, topic: str) -> None:
    """Make the topic at the first start. Raises LogError when that is not allowed."""
    try:
        admin.partitions(topic)
    except UnknownTopicError:
        try:
            admin.create(TopicSpec(topic, 1, replication=-1, configs=_CONFIGS))
        except LogError:
            admin.partitions(topic)  # another process was first, or it cannot be made


class TopicBoard:
    """A Board for what is held under one name."""

    def __init__(
        self,
        where: str,
        options: Mapping[str, Any],
        patience: Patience,
        topic: str,
        name: str,
        claim: Claim,
    ) -> None:
        """`patience` is for one look or one heartbeat."""
        self._topic = topic
        self._name = name
        self._claim = claim
        self._admin = KafkaAdmin(where, options, patience)
        self._open_reader: Callable[[], KafkaReader] = lambda: KafkaReader(
            where, {**options, **_READING}, patience, ends=True
        )
        writes_as = f"{name}.slot-{claim.slot}"
        self._open_writer: Callable[[], KafkaTransactionalWriter] = lambda: (
            KafkaTransactionalWriter(where, options, patience, writes_as, _TRANSACTION_S)
        )
        self._reader: KafkaReader | None = None
        self._writer: KafkaTransactionalWriter | None = None
        self._next = 0
        self._holders: dict[int, Holder] = {}
        self._gone: set[str] = set()  # tokens
        self._before: dict[str, Holder | None] = {}  # by token

    def read(self) -> dict[int, Holder]:
        ensure_topic(self._admin, self._topic)
        end = self._admin.ends(self._topic)[_PARTITION]
        try:
            self._read_to(end)
        except LogError:
            reader, self._reader = self._reader, None  # the next look begins at the beginning
            if reader is not None:
                reader.close()
            raise
        return {s: h for s, h in self._holders.items() if h.token not in self._gone}

    def put(self, holder: Holder) -> None:
        try:
            if self._writer is None:
                self._writer = self._open_writer()
            key = f"{self._name}/{holder.slot}".encode()
            record = Outgoing(key, holder.encoded(), partition=_PARTITION)
            self._writer.write(self._topic, [record])
            self._writer.commit(self._claim.lease_s)
        except LogError:
            writer, self._writer = self._writer, None  # after a failure it accepts nothing more
            if writer is not None:
                writer.close()
            raise

    def before(self, holder: Holder) -> Holder | None:
        return self._before.get(holder.token)

    def remove(self, holder: Holder) -> None:
        """For this process only: the record is its slot's to write, and goes with time."""
        self._gone.add(holder.token)

    def is_shared(self) -> bool:
        return True

    def _read_to(self, end: int) -> None:
        if self._reader is None:
            self._reader = self._open_reader()
            self._next = self._admin.bounds(self._topic)[_PARTITION].low
            self._reader.assign(self._topic, {_PARTITION: self._next})
        start = {_PARTITION: self._next}
        for batch in read_to(
            self._reader, self._topic, start, {_PARTITION: end}, stalled_s=self._claim.lease_s
        ):
            self._next = int(batch.offsets[-1]) + 1
            for index, value in enumerate(batch.values):
                self._take(batch.detail(index).key, value)
        self._next = max(self._next, end)

    def _take(self, key: bytes | None, value: bytes | None) -> None:
        name, _, slot = (key or b"").decode(errors="replace").rpartition("/")
        if name != self._name or value is None or not slot.isdigit():
            return
        try:
            holder = Holder.decoded(value)
        except ValueError:
            _logger.warning("topic %s: a record of %s is no heartbeat", self._topic, name)
            return
        self._before.setdefault(holder.token, self._holders.get(int(slot)))
        self._holders[int(slot)] = holder
