"""Offsets of a consumer group, read and recorded without joining it: lag shows in every tool.

A consumer that never subscribes commits as a member of no generation. The admin client could do the
same, but aborts the whole process when the group's coordinator is away (librdkafka 2.16: assertion
`eonce->refcnt > 0` in AlterConsumerGroupOffsets and ListConsumerGroupOffsets; seen within seconds
of killing a broker).
"""

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from streamrec.connectors.kafka.client import (
    REQUEST_S,
    Faults,
    client_logger,
    explained,
    is_passing,
    logger,
)
from streamrec.connectors.log import LogError

_COMMIT_S = 5.0  # the longest that closing waits for an answer


class KafkaGroup:
    """One group of one cluster. Not safe for use by several threads at once."""

    def __init__(self, where: str, options: Mapping[str, Any], group: str) -> None:
        self._where = f"{where}: group {group!r}"
        self._faults = Faults(where)
        self._pending = 0
        self._failure: LogError | None = None
        ours: dict[str, Any] = {
            "group.id": group,
            "enable.auto.commit": False,
            "on_commit": self._done,
            "error_cb": self._faults.report,
        }
        self._consumer = Consumer({**options, **ours}, logger=client_logger)

    def commit(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Record the next offsets to be read, without waiting: a wait would hold up the dataflow.
        The answer is looked at by the next call. While the coordinator is away this logs and goes
        on: the next commit says more than this one. Raises LogError when an earlier one was
        refused, as for a group that has members of its own."""
        self._consumer.poll(0)
        self._raise_failure()
        if self._pending:
            logger.warning("%s: no answer to a commit, its lag stands still", self._where)
        places = [TopicPartition(topic, partition, at) for partition, at in offsets.items()]
        try:
            self._consumer.commit(offsets=places, asynchronous=True)
        except KafkaException as exception:
            raise explained(self._where, exception.args[0]) from exception
        self._pending += 1

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure or self._faults.failure, None
        if failure is not None:
            raise failure

    def committed(self, topic: str, partitions: list[int]) -> dict[int, int]:
        """The next offsets recorded; partitions without one are absent. Raises KafkaException."""
        places = [TopicPartition(topic, partition) for partition in partitions]
        found = self._consumer.committed(places, timeout=REQUEST_S)
        for place in found:
            if place.error is not None:
                raise KafkaException(place.error)
        return {place.partition: place.offset for place in found if place.offset != OFFSET_INVALID}

    def close(self) -> None:
        """Wait for what was committed, some seconds at most. Raises LogError when it is refused."""
        try:
            give_up = time.monotonic() + _COMMIT_S
            while self._pending and time.monotonic() < give_up:
                self._consumer.poll(0.02)
            if self._pending:
                logger.warning("%s: no answer to a commit, its lag stands still", self._where)
            self._raise_failure()
        finally:
            self._consumer.close()

    def _done(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """For `on_commit`, which librdkafka calls from within poll."""
        self._pending -= 1
        errors = [error, *(place.error for place in partitions)]
        topics = sorted({place.topic for place in partitions})
        for found in errors:
            if found is None:
                continue
            if is_passing(found):
                logger.warning("%s: not committed: %s", self._where, found.str())
            else:
                self._failure = explained(f"{self._where}, topics {topics}", found)
            return
