"""Looks after topics and groups of Kafka."""

import itertools
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from confluent_kafka import (
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not in its __all__
    AdminClient,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from streamrec.connectors.kafka.client import (
    FIRST_REQUEST_S,
    REQUEST_S,
    RETRY_S,
    Faults,
    explained,
    is_passing,
)
from streamrec.connectors.kafka.group import KafkaGroup
from streamrec.connectors.log import LogError, OffsetBounds, TopicInfo, TopicSpec, UnknownTopicError
from streamrec.connectors.patience import Patience, Wait

_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"  # of brokers that know none (before 2.8)
_SETTLE_S = 15.0  # for a change to be known to every broker

T = TypeVar("T")


class KafkaAdmin:
    """A LogAdmin, safe for several threads. While the broker is away a question is asked again for
    as long as `patience` says, then UnreachableError is raised."""

    def __init__(self, where: str, options: Mapping[str, Any], patience: Patience) -> None:
        self._where = where
        self._patience = patience
        self._options = options
        self._faults = Faults(where)
        ours: dict[str, Any] = {"error_cb": self._faults.report}
        # As in the writer: asking for a topic must never make it.
        defaults = {"allow.auto.create.topics": False}
        self._client = AdminClient({**defaults, **options, **ours}, logger=self._faults)

    def topics(self) -> list[str]:
        found = self._asked(lambda s: self._client.list_topics(timeout=s), "topics")
        return sorted(
            name for name in found.topics if not name.startswith("__") and name != "_schemas"
        )

    def describe(self, topic: str) -> TopicInfo:
        replicas = self._partitions(topic)
        entries = self._configs(topic).values()
        configs = {
            entry.name: entry.value
            for entry in entries
            if entry.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value
        }
        return TopicInfo(topic, self.bounds(topic), min(replicas.values()), configs)

    def create(self, spec: TopicSpec) -> None:
        new = NewTopic(spec.name, spec.partitions, spec.replication, config=dict(spec.configs))
        try:
            self._client.create_topics([new], request_timeout=REQUEST_S)[spec.name].result()
        except KafkaException as exception:
            error = exception.args[0]
            if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                raise LogError(
                    f"{self._where}: topic {spec.name!r}: expected no such topic, got one; "
                    "delete it, or keep it"
                ) from exception
            raise explained(f"{self._where}: topic {spec.name!r}", error) from exception
        self._settle(spec.name, lambda: len(self._partitions(spec.name)) == spec.partitions)

    def add_partitions(self, topic: str, total: int) -> None:
        count = len(self._partitions(topic))
        if total < count:
            raise LogError(
                f"{self._where}: topic {topic!r}: expected more than its {count} partitions, got "
                f"{total}; partitions cannot be removed"
            )
        if total == count:
            return
        asked = self._client.create_partitions(
            [NewPartitions(topic, total)], request_timeout=REQUEST_S
        )
        self._result(asked[topic], f"topic {topic!r}")
        self._settle(topic, lambda: len(self._partitions(topic)) == total)

    def delete(self, topic: str) -> None:
        asked = self._client.delete_topics([topic], request_timeout=REQUEST_S)
        self._result(asked[topic], f"topic {topic!r}")
        self._settle(topic, lambda: topic not in self.topics())

    def bounds(self, topic: str) -> dict[int, OffsetBounds]:
        partitions = list(self._partitions(topic))
        low = self._offsets(topic, partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        high = self._offsets(topic, partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return {
            partition: OffsetBounds(low[partition], high[partition]) for partition in partitions
        }

    def ends(self, topic: str, committed: bool = False) -> dict[int, int]:
        partitions = list(self._partitions(topic))
        return self._offsets(topic, partitions, OffsetSpec.latest(), committed)  # type: ignore[no-untyped-call]

    def offsets_at(self, topic: str, timestamp_ms: int) -> dict[int, int]:
        bounds = self.bounds(topic)
        found = self._offsets(topic, list(bounds), OffsetSpec.for_timestamp(timestamp_ms))
        return {
            partition: bounds[partition].high if offset < 0 else offset
            for partition, offset in found.items()
        }

    def identity(self, topic: str) -> str | None:
        self._partitions(topic)  # which says that there is none in our words
        found = self._asked(
            lambda s: self._client.describe_topics(TopicCollection([topic]), request_timeout=s)[
                topic
            ].result(),
            f"topic {topic!r}",
        )
        told = str(found.topic_id)
        return None if told == _NO_ID else told

    def committed(self, group: str, topic: str, within_s: float | None = None) -> dict[int, int]:
        patience = self._patience
        if within_s is not None:
            patience = Patience(within_s, patience.stopping)
        wait = patience.wait()
        partitions = list(self._partitions(topic, wait))
        members = KafkaGroup(self._where, self._options, group)
        try:
            return self._asked(
                lambda s: members.committed(topic, partitions, s),
                f"group {group!r}, topic {topic!r}",
                wait,
            )
        finally:
            members.close()

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has. Raises UnknownTopicError."""
        return len(self._partitions(topic))

    def max_message_bytes(self, topic: str) -> int:
        """The largest message that the topic takes, in bytes. Raises UnknownTopicError."""
        self._partitions(topic)
        return int(self._configs(topic)["max.message.bytes"].value)

    def close(self) -> None:
        self._client.poll(0)

    def _partitions(self, topic: str, wait: Wait | None = None) -> dict[int, int]:
        """The number of replicas by partition. Raises UnknownTopicError, also when one has no
        leader for long."""

        def ask(within_s: float) -> dict[int, int]:
            found = self._client.list_topics(topic, timeout=within_s).topics[topic]
            errors = [found.error, *(part.error for part in found.partitions.values())]
            for error in errors:
                if error is not None:
                    raise KafkaException(error)
            return {number: len(part.replicas) for number, part in sorted(found.partitions.items())}

        return self._asked(ask, f"topic {topic!r}", wait)

    def _configs(self, topic: str) -> dict[str, Any]:
        resource = ConfigResource(ResourceType.TOPIC, topic)
        return self._asked(
            lambda s: self._client.describe_configs([resource], request_timeout=s)[
                resource
            ].result(),
            f"topic {topic!r}",
        )

    def _offsets(
        self, topic: str, partitions: list[int], spec: OffsetSpec, committed: bool = False
    ) -> dict[int, int]:
        wanted = {TopicPartition(topic, partition): spec for partition in partitions}
        isolation = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        tries = itertools.count()

        def ask(within_s: float) -> dict[int, int]:
            # After a broker's restart the client asks with an old leader epoch, and is refused,
            # until something makes it look for the leader again: `list_topics` does.
            if next(tries):
                self._client.list_topics(topic, timeout=within_s)
            asked = self._client.list_offsets(
                wanted, isolation_level=isolation, request_timeout=within_s
            )
            return {place.partition: found.result().offset for place, found in asked.items()}

        return self._asked(ask, f"topic {topic!r}")

    def _result(self, future: Future[Any], what: str) -> Any:
        try:
            return future.result()
        except KafkaException as exception:
            raise explained(f"{self._where}: {what}", exception.args[0]) from exception

    def _asked(self, ask: Callable[[float], T], what: str, wait: Wait | None = None) -> T:
        """The answer to a question, asked again while the broker is away or a leader is elected.
        `ask` is told how many seconds it may take."""
        wait = wait or self._patience.wait()
        within_s = FIRST_REQUEST_S
        while True:
            try:
                answer = ask(max(0.1, min(within_s, wait.left_s())))
            except KafkaException as exception:
                error = exception.args[0]
                self._client.poll(0)  # lets librdkafka say why
                if self._faults.failure is not None:  # says more than that nothing answered
                    raise self._faults.failure from exception
                # The right to a group will not come by waiting.
                if not is_passing(error) or error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                    raise explained(f"{self._where}: {what}", error) from exception
                if wait.waited_s() >= FIRST_REQUEST_S:  # electing a leader takes less
                    self._faults.tell(error)
                if not wait.again(RETRY_S):
                    at = f"{self._where}: {what}"
                    raise explained(at, error, self._faults.cause) from exception
            else:
                self._faults.reached()
                return answer
            within_s = min(2 * within_s, REQUEST_S)

    def _settle(self, topic: str, settled: Callable[[], bool]) -> None:
        give_up = time.monotonic() + _SETTLE_S
        while True:
            try:
                if settled():
                    return
            except UnknownTopicError:
                pass  # Not known yet to the broker that was asked.
            if time.monotonic() > give_up:
                raise LogError(
                    f"{self._where}: topic {topic!r}: expected the change to be known within "
                    f"{_SETTLE_S:.0f} s, but it is not; look at the brokers' logs"
                )
            time.sleep(RETRY_S)
