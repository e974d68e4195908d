"""Helpers of the connector tests: write and read a few records by the contract alone."""

import time
from collections.abc import Iterable, Mapping
from contextlib import closing

from streamrec.connectors.log import Log, LogReader, Outgoing, Record, TopicSpec

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
            assert len(batch.offsets) == len(batch.values)
            for index, (offset, value) in enumerate(
                zip(batch.offsets.tolist(), batch.values, strict=True)
            ):
                key, headers, ms = batch.detail(index)
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
