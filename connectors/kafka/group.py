"""Offsets of a consumer group, read and recorded without joining it: lag shows in every tool.

A consumer that never subscribes commits as a member of no generation. The admin client could do the
same, but aborts the whole process when the group's coordinator is away (librdkafka 2.16: assertion
`eonce->refcnt > 0` in AlterConsumerGroupOffsets and ListConsumerGroupOffsets; seen within seconds
of killing a broker).
"""

import time
from collections import Counter
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
    Faults,
    explained,
    logger,
)

# What the coordinator says to one that is no member while a group has members.
_OTHERS = {
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.FENCED_INSTANCE_ID,
}
_TOLD_AGAIN_S = 60.0
_COMMIT_S = 5.0  # the longest that closing waits for an answer


class KafkaGroup:
    """One group of one cluster. Not safe for use by several threads at once."""

    def __init__(self, where: str, options: Mapping[str, Any], group: str) -> None:
        self._where = f"{where}: group {group!r}"
        self._faults = Faults(where)
        self._pending: Counter[str] = Counter()  # commits without an answer, by topic
        self._told_s: float | None = None  # when it was last told that commits are refused
        ours: dict[str, Any] = {
            "group.id": group,
            "enable.auto.commit": False,
            "on_commit": self._done,
            "error_cb": self._faults.report,
        }
        self._consumer = Consumer({**options, **ours}, logger=self._faults)

    def commit(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Record the next offsets to be read, without waiting: a wait would hold up the dataflow.
        The answer is looked at by the next call. What cannot be recorded, as while the coordinator
        is away or consumers of others subscribe under the group, is told, and taken up again by the
        next commit, which says more than this one: offsets never stop what they only show."""
        self._consumer.poll(0)
        if self._pending[topic]:
            logger.warning("%s: no answer to a commit, its lag stands still", self._where)
        places = [TopicPartition(topic, partition, at) for partition, at in offsets.items()]
        try:
            self._consumer.commit(offsets=places, asynchronous=True)
        except KafkaException as exception:
            raise explained(self._where, exception.args[0]) from exception
        self._pending[topic] += 1

    def committed(self, topic: str, partitions: list[int], within_s: float) -> dict[int, int]:
        """The next offsets recorded; partitions without one are absent. Raises KafkaException."""
        places = [TopicPartition(topic, partition) for partition in partitions]
        found = self._consumer.committed(places, timeout=within_s)
        for place in found:
            if place.error is not None:
                raise KafkaException(place.error)
        return {place.partition: place.offset for place in found if place.offset != OFFSET_INVALID}

    def close(self) -> None:
        """Wait for what was committed, some seconds at most."""
        try:
            give_up = time.monotonic() + _COMMIT_S
            while self._pending.total() and time.monotonic() < give_up:
                self._consumer.poll(0.02)
            if self._pending.total():
                logger.warning("%s: no answer to a commit, its lag stands still", self._where)
        finally:
            self._consumer.close()

    def _done(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """For `on_commit`, which librdkafka calls from within poll."""
        # A commit is of one topic. Where the answer does not say of which, none is waited for.
        self._pending -= Counter({place.topic for place in partitions} or self._pending)
        errors = [error, *(place.error for place in partitions)]
        found = next((each for each in errors if each is not None), None)
        if found is None:
            if self._told_s is not None:
                logger.info("%s: commits are taken again", self._where)
            self._told_s = None
        elif self._told_s is None or time.monotonic() - self._told_s >= _TOLD_AGAIN_S:
            self._told_s = time.monotonic()
            is_others = found.code() in _OTHERS
            why = "consumers of others subscribe under it" if is_others else found.str()
            logger.warning(
                "%s: not committed, its lag stands still: %s (%s)", self._where, why, found.name()
            )
