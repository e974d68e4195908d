"""Whether every input was answered once: all outputs of a run, read by a client of its own."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Message, TopicPartition

from benchmarks.place import Place
from benchmarks.processes import BenchmarkError
from benchmarks.scorer.records import HEADER, header_of, number_of
from streamrec.connectors.kafka.reader import _DEFAULTS as READER_OPTIONS

_PATIENCE_S = 20.0  # without a message
_VALUES_MAX = 1_000  # different ones that are looked at


def expect_each_once(
    place: Place,
    topic: str,
    count: int,
    is_right: Callable[[bytes], bool],
    *,
    with_headers: bool = True,
) -> None:
    """Raises BenchmarkError unless a topic holds, for each of the records 0 to count - 1, one with
    its key and its header, and right values."""
    seen = np.zeros(count, np.int64)
    values: set[bytes] = set()
    for message in messages_of(place, topic):
        key, value = message.key(), message.value()
        number = number_of(key) if isinstance(key, bytes) else -1
        if not 0 <= number < count:
            raise BenchmarkError(f"{topic} expected keys of {count} records, got {key!r}")
        seen[number] += 1
        headers: Any = message.headers() or []
        if with_headers and (HEADER, header_of(number)) not in headers:
            raise BenchmarkError(f"{topic} expected the header of {key!r} as it was, got {headers}")
        if len(values) < _VALUES_MAX:
            values.add(value or b"")
    if (seen != 1).any():
        missing, repeated = int((seen == 0).sum()), int((seen > 1).sum())
        raise BenchmarkError(
            f"{topic} expected each of {count} records once, got {missing} not at all and "
            f"{repeated} more than once; the first is {int(np.flatnonzero(seen != 1)[0])}"
        )
    for value in values:
        if not is_right(value):
            raise BenchmarkError(f"{topic} expected answers of the model, got {value!r}")


def messages_of(place: Place, topic: str) -> Iterator[Message]:
    """All that a topic holds. Raises BenchmarkError when it cannot be read to its end."""
    with closing(place.log.admin()) as admin:
        ends = {p: bounds.high for p, bounds in admin.bounds(topic).items() if bounds.high}
    servers = place.environment["KAFKA_BOOTSTRAP_SERVERS"]
    consumer = Consumer({**READER_OPTIONS, "bootstrap.servers": servers})
    with closing(consumer):
        consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
        left, came = sum(ends.values()), time.monotonic()
        while left:
            messages = consumer.consume(min(left, 10_000), 0.5)
            if messages:
                came = time.monotonic()
            elif time.monotonic() > came + _PATIENCE_S:
                raise BenchmarkError(f"{topic} expected {left} more records, got none")
            left -= len(messages)
            for message in messages:
                if message.error() is not None:
                    raise BenchmarkError(f"{topic}: {message.error()}")
            yield from messages


def says(answer: Any) -> Callable[[bytes], bool]:
    """Whether a value is this answer as JSON."""
    return lambda value: bool(json.loads(value) == answer)
