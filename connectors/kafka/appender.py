"""Appends to Kafka, and tells of each message where it stands.

A `KafkaWriter` learns of failures only, which is cheap; here each message has a delivery report:
some 2 microseconds of CPU more. librdkafka tries each message again for `message.timeout.ms`, so an
appending that was not settled in time may be later, and then says so.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from streamrec.connectors.kafka.admin import KafkaAdmin
from streamrec.connectors.kafka.client import Faults, KafkaMessage, explained
from streamrec.connectors.kafka.writer import (
    FULL_QUEUE_WAIT_S,
    OVERHEAD_BYTES,
    PRODUCER_DEFAULTS,
    as_write_error,
    too_large,
)
from streamrec.connectors.log import Appending, LogError, Outgoing, Place, WriteError
from streamrec.connectors.patience import Patience
from streamrec.connectors.sizes import size_of

# A caller waits for each: what gathers while the batch before is under way makes the batches.
_DEFAULTS = {**PRODUCER_DEFAULTS, "linger.ms": 0.5}
_CLOSE_S = 10.0


class KafkaAppender:
    """A LogAppender."""

    def __init__(self, where: str, options: Mapping[str, Any], patience: Patience) -> None:
        self._where = where
        self._faults = Faults(where)
        self._limits: dict[str, int] = {}  # bytes, by topic
        self._admin = KafkaAdmin(where, options, patience)
        self._producer = Producer(
            {**_DEFAULTS, **options, "error_cb": self._faults.report}, logger=self._faults
        )
        self._closed = False

    def prepare(self, topic: str) -> None:
        if topic not in self._limits:
            self._limits[topic] = self._admin.max_message_bytes(topic)

    def begin(self, messages: Sequence[tuple[str, Outgoing]]) -> Appending:
        if self._closed:
            raise WriteError(f"{self._where}: the appender is closed")
        appending = Appending(len(messages))
        refused: dict[str, LogError] = {}  # topics that cannot be had: asked for once, not by each
        for index, (topic, message) in enumerate(messages):
            if topic not in self._limits and topic not in refused:
                try:
                    self.prepare(topic)
                except LogError as error:
                    refused[topic] = error
            if topic in refused:
                appending.settle(index, refused[topic])
                continue
            try:
                self._produce(topic, message, partial(self._settle, appending, index, topic))
            except LogError as error:
                appending.settle(index, error)
        self._producer.poll(0)
        return appending

    def wait(self, appending: Appending, timeout_s: float) -> bool:
        give_up_s = time.monotonic() + timeout_s
        while not appending.is_settled:
            left_s = give_up_s - time.monotonic()
            if left_s <= 0:
                return False
            self._producer.poll(left_s)
            if self._faults.failure is not None:
                appending.settle_rest(as_write_error(self._faults.failure))
        self._faults.reached()
        return True

    def close(self) -> None:
        """Wait for up to 10 s for what is under way, then give it up."""
        if self._closed:
            return
        self._closed = True
        try:
            self._producer.flush(_CLOSE_S)
        finally:
            self._producer.purge()
            self._producer.close()
            self._admin.close()

    def _produce(self, topic: str, message: Outgoing, settle: Any) -> None:
        """Raises LogError. The topic is prepared."""
        key, value, headers, ms, partition = message
        size, limit = size_of(key, value, headers), self._limits[topic]
        if size + OVERHEAD_BYTES > limit:
            raise too_large(self._where, topic, size, limit)
        place = -1 if partition is None else partition
        while True:
            try:
                own: Any = headers or None  # the stub knows no null in a list of headers
                self._producer.produce(topic, value, key, place, settle, None, ms or 0, own)
                return
            except BufferError:
                self._producer.poll(FULL_QUEUE_WAIT_S)
            except KafkaException as exception:
                raise self._refused(topic, exception.args[0]) from exception

    def _settle(
        self,
        appending: Appending,
        index: int,
        topic: str,
        error: KafkaError | None,
        message: KafkaMessage,
    ) -> None:
        """For `on_delivery`."""
        if error is None:
            appending.settle(index, Place(message.partition(), message.offset()))  # type: ignore[arg-type]  # neither is None once it is delivered
        else:
            appending.settle(index, self._refused(topic, error))

    def _refused(self, topic: str, error: KafkaError) -> WriteError:
        return as_write_error(explained(f"{self._where}: topic {topic!r}", error))


__all__ = ["KafkaAppender"]
