"""Kafka as a Log: clients for reading, writing and looking after it, over one set of options.

Options come from `LogSettings.librdkafka()`, checked when this is built and before anything
connects. What streamrec sets by itself, and why, is in `kafka_reader` and `kafka_writer`; any
option but those that keep its promises can be set otherwise.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from streamrec.connectors.kafka.admin import KafkaAdmin
from streamrec.connectors.kafka.client import checked_options
from streamrec.connectors.kafka.reader import KafkaReader
from streamrec.connectors.kafka.transactions import KafkaTransactionalWriter
from streamrec.connectors.kafka.writer import KafkaWriter
from streamrec.connectors.leases.holder import Claim
from streamrec.connectors.leases.lease import Lease
from streamrec.connectors.log import SchemaRegistry
from streamrec.connectors.patience import Patience


class KafkaLog:
    """A Log over a Kafka cluster. `registry` opens the schema registry that goes with it."""

    def __init__(
        self,
        options: Mapping[str, Any],
        registry: Callable[[], SchemaRegistry],
        patience: Patience,
    ) -> None:
        self.patience = patience
        self._where = f"kafka {options['bootstrap.servers']!r}"
        self._options = checked_options(self._where, options)
        self._registry = registry

    def reader(self, ends: bool = False) -> KafkaReader:
        return KafkaReader(self._where, self._options, self.patience, ends)

    def writer(self) -> KafkaWriter:
        return KafkaWriter(self._where, self._options, self.patience)

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
        raise NotImplementedError

    def handed_over(self) -> int:
        return 0
