"""Topics of Kafka as data: saved with their offsets, and written so that they have them again.

A line is a partition: its end, and of each record offset, time, key, value and headers. Offsets
that no record has are markers of transactions: behind each run of records stands one, but for the
last of a partition when its transaction was open.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

_WAIT_S = 30.0
_PARTITIONS = 8
Options = dict[str, Any]  # of librdkafka
Lanes = dict[tuple[str, int], Producer]  # by topic and partition


def save_topics(options: Options, topics: Iterable[str]) -> Iterator[str]:
    """Lines. What is in a transaction that is open is saved, too."""
    consumer = Consumer(
        {
            **options,
            "group.id": "unused",
            "isolation.level": "read_uncommitted",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
        }
    )
    for topic in topics:
        for partition in sorted(consumer.list_topics(topic, _WAIT_S).topics[topic].partitions):
            place = TopicPartition(topic, partition, 0)
            consumer.assign([place])
            records = []
            while (message := consumer.poll(_WAIT_S)) is not None and not _is_end(message):
                records.append(_record(message))
            assert message is not None, f"{place}: expected its end, got nothing"
            _, end = consumer.get_watermark_offsets(place)
            line = {"topic": topic, "partition": partition, "end": end, "records": records}
            yield json.dumps(line) + "\n"
    consumer.close()


def _is_end(message: Message) -> bool:
    error = message.error()
    assert error is None or error.code() == KafkaError._PARTITION_EOF, error
    return error is not None


def _record(message: Message) -> list[Any]:
    pairs: Any = message.headers() or []
    headers = [[name, _text(value)] for name, value in pairs]
    time_ms = message.timestamp()[1]
    return [message.offset(), time_ms, _text(message.key()), _text(message.value()), headers]


def _text(data: bytes | None) -> str | None:
    return None if data is None else b64encode(data).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)


def open_lanes(options: Options, prefixes: Mapping[str, str]) -> Lanes:
    """Writers in transactions, whose names begin with a prefix for each topic. What earlier ones of
    these names have left open is ended: do this before the topics are made."""
    lanes = {}
    for topic, prefix in prefixes.items():
        for partition in range(_PARTITIONS):
            producer = Producer({**options, "transactional.id": f"{prefix}{partition:03d}"})
            producer.init_transactions(_WAIT_S)
            lanes[topic, partition] = producer
    return lanes


def write_topics(options: Options, lines: Iterable[str], lanes: Lanes) -> None:
    """Write the records of `lines` to topics that are empty, and assert that each has its offset.
    Partitions that have a lane are written in transactions."""
    for line in map(json.loads, lines):
        topic, partition, records = line["topic"], line["partition"], line["records"]
        lane = lanes.get((topic, partition))
        producer = lane or Producer(options)
        offsets: list[int | None] = []
        is_open = lane is None
        following = [*(offset for offset, *_ in records), line["end"]][1:]
        for record, after in zip(records, following, strict=True):
            if not is_open:
                producer.begin_transaction()
            producer.produce(topic, partition=partition, **_fields(record, offsets))
            is_open = after == record[0] + 1
            if not is_open:
                producer.commit_transaction(_WAIT_S)
        assert producer.flush(_WAIT_S) == 0
        assert offsets == [offset for offset, *_ in records], f"{topic}/{partition}"


def _fields(record: list[Any], offsets: list[int | None]) -> dict[str, Any]:
    """What `produce` wants of a record; the offset that it then has goes to `offsets`."""
    _, time_ms, key, value, headers = record
    return {
        "timestamp": time_ms,
        "key": _bytes(key),
        "value": _bytes(value),
        "headers": [(name, _bytes(text)) for name, text in headers],
        "on_delivery": lambda _, message: offsets.append(message.offset()),
    }
