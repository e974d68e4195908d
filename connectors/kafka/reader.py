"""Reads Kafka: one consumer for all partitions of a reader, assigned by hand, in no group.

What is called for every message is `timestamp`, `partition` and `value`, by `map` over the method,
and nothing else: a call costs 10 ns, and `timestamp`, which makes a tuple, four times that.
"""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from itertools import chain, pairwise
from operator import itemgetter
from typing import Any, cast

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from numpy.typing import NDArray

from streamrec.connectors.kafka.admin import KafkaAdmin
from streamrec.connectors.kafka.client import (
    Faults,
    KafkaMessage,
    explained,
    is_passing,
    logger,
)
from streamrec.connectors.kafka.group import KafkaGroup
from streamrec.connectors.log import (
    NO_TIMESTAMP_MS,
    Detail,
    Headers,
    LogError,
    OffsetOutOfRangeError,
    RawBatch,
    UnknownTopicError,
)
from streamrec.connectors.patience import Patience

_DEFAULTS = {
    # A consumer must name a group to be built; nothing joins it and nothing is committed under it.
    "group.id": "streamrec-reader",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": False,
    # An offset that is gone is an error and never a silent skip.
    "auto.offset.reset": "error",
    # Once a partition's queue is full librdkafka waits this long before it fetches again; its
    # default of 1,000 ms caps 8 partitions at some 200,000 messages per second.
    "fetch.queue.backoff.ms": 2,
    # Enough for some 50 ms at full speed, and little enough that what was fetched is still in the
    # processor's cache when it is taken.
    "queued.min.messages": 2_000,  # a partition
    "max.partition.fetch.bytes": 131_072,
    "fetch.max.bytes": 1_000_000,
    "queued.max.messages.kbytes": 65_536,
    # The broker gathers what trickles in, so that 10,000 messages per second come in 200 answers
    # and not in 1,000, which halves what the client costs; and it is asked as often when idle.
    "fetch.min.bytes": 16_384,
    "fetch.wait.max.ms": 5,
    # How long a topic may seem to be missing before it counts as deleted. `assign` has seen it, so
    # that only a broker which lags behind could still have to learn of it.
    "topic.metadata.propagation.max.ms": 5_000,
    # While a broker is away, look for it every second rather than ever more seldom.
    "reconnect.backoff.max.ms": 1_000,
}
_MS = itemgetter(1)  # of what `Message.timestamp` answers: its kind, and milliseconds
_OURS = ("group.id", "enable.auto.commit", "enable.auto.offset.store", "auto.offset.reset")


class KafkaReader:
    """A LogReader. A poll blocks at most `timeout_s`, but for a first contact with the broker."""

    def __init__(
        self, where: str, options: Mapping[str, Any], patience: Patience, ends: bool = False
    ) -> None:
        self._where = where
        self._faults = Faults(where)
        ours = {name: _DEFAULTS[name] for name in _OURS} | {"enable.partition.eof": ends}
        # With `ends`: where each partition was read up, markers of transactions included.
        self._ends: dict[tuple[str, int], int] = {}
        self._consumer = Consumer(
            {**_DEFAULTS, **options, **ours, "error_cb": self._faults.report}, logger=self._faults
        )
        self._admin = KafkaAdmin(where, options, patience)
        self._options = options
        self._groups: dict[str, KafkaGroup] = {}
        self._topics: set[str] = set()  # that were ever assigned
        self._failure: LogError | None = None
        self._closed = False

    def assign(self, topic: str, positions: Mapping[int, int]) -> None:
        bounds = self._admin.bounds(topic)
        for partition, offset in positions.items():
            if partition not in bounds:
                raise LogError(
                    f"{self._where}: expected partition 0 to {max(bounds)} of topic {topic!r}, "
                    f"got {partition}"
                )
            low, high = bounds[partition]
            if not low <= offset <= high:
                raise OffsetOutOfRangeError(
                    f"{self._where}: topic {topic!r}, partition {partition}: expected an offset "
                    f"from {low} to {high}, got {offset}; retention has removed it, or it was "
                    "never written: choose where to start anew"
                )
        assigned = {(place.topic, place.partition) for place in self._consumer.assignment()}
        again = [TopicPartition(topic, p) for p in positions if (topic, p) in assigned]
        try:
            if again:
                self._consumer.incremental_unassign(again)
            self._consumer.incremental_assign(
                [TopicPartition(topic, partition, at) for partition, at in positions.items()]
            )
        except KafkaException as exception:
            raise explained(f"{self._where}: topic {topic!r}", exception.args[0]) from exception
        self._topics.add(topic)

    def unassign(self, topic: str, partitions: Iterable[int]) -> None:
        places = [TopicPartition(topic, partition) for partition in partitions]
        try:
            self._consumer.incremental_unassign(places)
        except KafkaException as exception:
            raise explained(f"{self._where}: topic {topic!r}", exception.args[0]) from exception
        for place in places:
            self._ends.pop((topic, place.partition), None)

    def poll(self, max_messages: int, timeout_s: float = 0.0) -> list[RawBatch]:
        self._raise_failure()
        messages = self._consumer.consume(max_messages, 0)
        if not messages and timeout_s > 0:
            # `consume` waits until it has all it was asked for: ask for one, take what follows.
            messages = self._consumer.consume(1, timeout_s)
            if messages and max_messages > 1:
                messages += self._consumer.consume(max_messages - 1, 0)
        if not messages:
            self._raise_failure()
            return []
        times_ms = _times_ms(messages)
        # librdkafka gives what is an error, and no message, the time -1: none need be asked.
        if times_ms.min() <= 0:
            messages = self._without_errors(messages)
            times_ms = np.array([_time_ms(message) for message in messages], np.int64)
        if not messages:
            self._raise_failure()
            return []
        self._faults.reached()
        return self._batches(messages, times_ms)

    def commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        if group not in self._groups:
            self._groups[group] = KafkaGroup(self._where, self._options, group)
        if offsets:
            self._groups[group].commit(topic, offsets)

    def position(self, topic: str, partition: int) -> int:
        # The consumer's own position stays before what it does not hand out; an end says more, but
        # only until messages come after it.
        [place] = self._consumer.position([TopicPartition(topic, partition)])
        return max(place.offset, self._ends.get((topic, partition), 0))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            with ExitStack() as stack:
                stack.callback(self._admin.close)
                stack.callback(self._consumer.close)
                for group in self._groups.values():
                    stack.callback(group.close)

    def _raise_failure(self) -> None:
        if self._faults.topic_doubted is not None:
            self._settle_doubt(self._faults.topic_doubted)
        failure = self._failure or self._faults.failure
        if failure is not None:
            raise failure

    def _settle_doubt(self, error: KafkaError) -> None:
        """Ask the brokers whether our topics are still there: one that lags raises false alarm."""
        for topic in {place.topic for place in self._consumer.assignment()}:
            try:
                self._admin.bounds(topic)
            except UnknownTopicError as failure:
                self._failure = failure
        self._faults.topic_doubted = None
        if self._failure is None:
            logger.warning("%s: topics are there after all: %s", self._where, error.str())

    def _without_errors(self, messages: list[KafkaMessage]) -> list[KafkaMessage]:
        """Keep an error that only a person can mend for the next poll; what came with it counts."""
        for message in messages:
            error = message.error()
            if error is None:
                continue
            if error.code() == KafkaError._PARTITION_EOF:
                place = (message.topic() or "", message.partition() or 0)
                self._ends[place] = message.offset() or 0
            elif is_passing(error):
                self._faults.report(error)
            elif self._failure is None:
                at = f"{self._where}: topic {message.topic()!r}, partition {message.partition()}"
                self._failure = explained(f"{at}, offset {message.offset()}", error)
        return [message for message in messages if message.error() is None]

    def _batches(self, messages: list[KafkaMessage], times_ms: NDArray[np.int64]) -> list[RawBatch]:
        if len(self._topics) == 1:
            return _batches_of(next(iter(self._topics)), messages, times_ms)
        by_topic: dict[str, list[int]] = {}
        for index, message in enumerate(messages):
            by_topic.setdefault(message.topic() or "", []).append(index)
        return [
            batch
            for topic, part in by_topic.items()
            for batch in _batches_of(topic, [messages[i] for i in part], times_ms[part])
        ]


def _batches_of(
    topic: str, messages: list[KafkaMessage], times_ms: NDArray[np.int64]
) -> list[RawBatch]:
    partitions = _partitions(messages)
    changes = np.flatnonzero(partitions[1:] != partitions[:-1]) + 1
    if not len(changes):
        return [_batch(topic, int(partitions[0]), messages, times_ms)]
    # librdkafka hands over what one fetch brought of a partition in one run.
    runs: dict[int, list[slice]] = {}
    for start, end in pairwise([0, *changes.tolist(), len(partitions)]):
        runs.setdefault(int(partitions[start]), []).append(slice(start, end))
    batches = []
    for partition, parts in runs.items():
        own, own_ms = messages[parts[0]], times_ms[parts[0]]
        if len(parts) > 1:
            own = list(chain.from_iterable(messages[part] for part in parts))
            own_ms = np.concatenate([times_ms[part] for part in parts])
        batches.append(_batch(topic, partition, own, own_ms))
    return batches


def _batch(
    topic: str, partition: int, messages: list[KafkaMessage], times_ms: NDArray[np.int64]
) -> RawBatch:
    values = list(map(Message.value, messages))
    detail = _DetailOf(messages)
    return RawBatch(
        topic, partition, _offsets(messages), values, detail, times_ms, detail.with_headers
    )


def _partitions(messages: list[KafkaMessage]) -> NDArray[np.integer]:
    try:  # Most topics have fewer than 256, and bytes are made in half the time.
        return np.frombuffer(bytearray(map(Message.partition, messages)), np.uint8)  # type: ignore[arg-type]  # never None on a consumed message
    except ValueError:
        return np.array([message.partition() for message in messages], np.int64)


def _times_ms(messages: list[KafkaMessage]) -> NDArray[np.int64]:
    return np.fromiter(map(_MS, map(Message.timestamp, messages)), np.int64, len(messages))


def _time_ms(message: KafkaMessage) -> int:
    kind, ms = message.timestamp()
    return NO_TIMESTAMP_MS if kind == 0 else ms


def _offsets(messages: list[KafkaMessage]) -> NDArray[np.int64]:
    first, last = messages[0].offset(), messages[-1].offset()
    assert first is not None
    assert last is not None
    if last - first == len(messages) - 1:  # increasing and without a gap: none need be asked
        return np.arange(first, last + 1, dtype=np.int64)
    return np.array(list(map(Message.offset, messages)), np.int64)


class _DetailOf:
    """`RawBatch.detail`, which asks the messages themselves."""

    __slots__ = ("_messages",)

    def __init__(self, messages: list[KafkaMessage]) -> None:
        self._messages = messages

    def __call__(self, index: int) -> Detail:
        message = self._messages[index]
        headers = cast(Headers, message.headers() or [])  # a list, as this message was received
        return Detail(message.key(), headers, _time_ms(message))

    def with_headers(self) -> list[int]:
        if not any(map(Message.headers, self._messages)):  # the usual case, at a third of the price
            return []
        return [index for index, message in enumerate(self._messages) if message.headers()]
