"""Helpers of the connector tests: write and read a few records by the contract alone."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path

from streamrec.connectors.leases.holder import Claim
from streamrec.connectors.leases.lease import Lease
from streamrec.connectors.log import (
    Log,
    LogAdmin,
    LogAppender,
    LogReader,
    LogWriter,
    Outgoing,
    RawBatch,
    Record,
    SchemaRegistry,
    TopicSpec,
    TransactionalWriter,
)

_PATIENCE_S = 20.0


def create(log: Log, topic: str, partitions: int = 1, **configs: str) -> None:
    """`configs` by Kafka's names, with `_` for the dots. Old records stay unless they say else."""
    named = {"retention.ms": "-1"}
    named |= {name.replace("_", "."): value for name, value in configs.items()}
    with closing(log.admin()) as admin:
        admin.create(TopicSpec(topic, partitions, configs=named))


def write(log: Log, topic: str, messages: Iterable[Outgoing]) -> None:
    with closing(log.writer()) as writer:
        writer.write(topic, messages)
        writer.flush(_PATIENCE_S)


def read(reader: LogReader, count: int, max_messages: int = 100) -> list[Record]:
    """Poll until there are `count` records, or for too long; a batch too many shows as well."""
    records: list[Record] = []
    give_up = time.monotonic() + _PATIENCE_S
    while len(records) < count and time.monotonic() < give_up:
        batches = reader.poll(max_messages, 0.2)
        assert sum(map(len, batches)) <= max_messages
        for batch in batches:
            assert len(batch.offsets) == len(batch.values) == len(batch.times_ms)
            for index, (offset, value) in enumerate(
                zip(batch.offsets.tolist(), batch.values, strict=True)
            ):
                key, headers, ms = batch.detail(index)
                assert batch.times_ms[index] == ms
                records.append(
                    Record(batch.topic, batch.partition, offset, key, value, headers, ms)
                )
    return records


def read_from(
    log: Log, topic: str, positions: Mapping[int, int], count: int, max_messages: int = 100
) -> list[Record]:
    with closing(log.reader()) as reader:
        reader.assign(topic, positions)
        return read(reader, count, max_messages)


def wait_until(done: Callable[[], bool]) -> None:
    give_up = time.monotonic() + _PATIENCE_S
    while not done():
        assert time.monotonic() < give_up
        time.sleep(0.1)


class Silent:
    """A log whose readers are given nothing, as when the broker has gone since it was asked where
    the topic ends."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.patience = log.patience

    def reader(self, ends: bool = False) -> LogReader:
        return _SilentReader(self._log.reader(ends))

    def writer(self) -> LogWriter:
        return self._log.writer()

    def appender(self) -> LogAppender:
        return self._log.appender()

    def transactional_writer(self, name: str, timeout_s: float) -> TransactionalWriter:
        return self._log.transactional_writer(name, timeout_s)

    def admin(self) -> LogAdmin:
        return self._log.admin()

    def registry(self) -> SchemaRegistry:
        return self._log.registry()

    def describe_target(self) -> str:
        return self._log.describe_target()

    def lease(
        self, name: str, claim: Claim, locks: Path | None, on_lost: Callable[[str], None]
    ) -> Lease:
        return self._log.lease(name, claim, locks, on_lost)

    def handed_over(self) -> int:
        return self._log.handed_over()


class _SilentReader:
    def __init__(self, reader: LogReader) -> None:
        self.assign = reader.assign
        self.unassign = reader.unassign
        self.commit = reader.commit
        self.position = reader.position
        self.close = reader.close

    def poll(self, max_messages: int, timeout_s: float = 0.0) -> list[RawBatch]:
        time.sleep(timeout_s)
        return []
