"""Kafka as a Log: clients for reading, writing and looking after it, over one set of options.

Options come from `LogSettings.librdkafka()`, checked when this is built and before anything
connects. What streamrec sets by itself, and why, is in `kafka_reader` and `kafka_writer`; any
option but those that keep its promises can be set otherwise.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakSet

from streamrec.connectors.kafka.admin import KafkaAdmin
from streamrec.connectors.kafka.appender import KafkaAppender
from streamrec.connectors.kafka.client import checked_options
from streamrec.connectors.kafka.lease_board import TopicBoard, ensure_topic
from streamrec.connectors.kafka.reader import KafkaReader
from streamrec.connectors.kafka.transactions import KafkaTransactionalWriter
from streamrec.connectors.kafka.writer import KafkaWriter
from streamrec.connectors.leases.holder import Claim
from streamrec.connectors.leases.kernel_locks import KernelLocks
from streamrec.connectors.leases.lease import Lease
from streamrec.connectors.log import SchemaRegistry
from streamrec.connectors.patience import Patience

_LOOK_S = 5.0  # for a look at who holds a lease, or a heartbeat, at least


class KafkaLog:
    """A Log over a Kafka cluster. `registry` opens the schema registry that goes with it."""

    def __init__(
        self,
        options: Mapping[str, Any],
        registry: Callable[[], SchemaRegistry],
        patience: Patience,
        leases_topic: str = "streamrec-leases",
    ) -> None:
        self.patience = patience
        self._where = f"kafka {options['bootstrap.servers']!r}"
        self._options = checked_options(self._where, options)
        self._registry = registry
        self._leases_topic = leases_topic
        self._writers: WeakSet[KafkaWriter] = WeakSet()

    def reader(self, ends: bool = False) -> KafkaReader:
        return KafkaReader(self._where, self._options, self.patience, ends)

    def writer(self) -> KafkaWriter:
        writer = KafkaWriter(self._where, self._options, self.patience)
        self._writers.add(writer)
        return writer

    def appender(self) -> KafkaAppender:
        return KafkaAppender(self._where, self._options, self.patience)

    def transactional_writer(self, name: str, timeout_s: float) -> KafkaTransactionalWriter:
        return KafkaTransactionalWriter(self._where, self._options, self.patience, name, timeout_s)

    def admin(self) -> KafkaAdmin:
        return KafkaAdmin(self._where, self._options, self.patience)

    def registry(self) -> SchemaRegistry:
        return self._registry()

    def describe_target(self) -> str:
        return self._where

    def lease(
        self, name: str, claim: Claim, locks: Path | None, on_lost: Callable[[str], None]
    ) -> Lease:
        ensure_topic(self.admin(), self._leases_topic)  # with all the patience that a start has
        once = Patience(max(_LOOK_S, claim.lease_s), self.patience.stopping)
        folder = locks or Path(tempfile.gettempdir()) / f"streamrec-leases-{os.getuid()}"
        digest = hashlib.sha256(f"{self._where} {name}".encode()).hexdigest()[:16]
        return Lease(
            f"{name!r} on {self._where}",
            "a STREAMREC_CONSUMER_GROUP of its own",
            claim,
            TopicBoard(self._where, self._options, once, self._leases_topic, name, claim),
            KernelLocks(folder / digest, optional=locks is None),
            on_lost,
        )

    def handed_over(self) -> int:
        return sum(writer.handed_over for writer in self._writers)
