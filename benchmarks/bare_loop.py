"""The yardstick: consume and produce the same number of bytes with the same client, and no more.

    python -m benchmarks.bare_loop BOOTSTRAP_SERVERS IN_TOPIC OUT_TOPIC EVENTS VALUE_BYTES BATCH

Consumer and producer have the options of our reader and writer, idempotence included, and the same
calls are made: `consume`, `error` and `value` of each message, `produce_batch`.
"""

import sys

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from streamrec.connectors.kafka.reader import _DEFAULTS as READER_OPTIONS
from streamrec.connectors.kafka.writer import PRODUCER_DEFAULTS as WRITER_OPTIONS


def main(servers: str, in_topic: str, out_topic: str, events: int, size: int, batch: int) -> None:
    consumer = Consumer({**READER_OPTIONS, "bootstrap.servers": servers})
    partitions = consumer.list_topics(in_topic, 10).topics[in_topic].partitions
    consumer.assign([TopicPartition(in_topic, partition, 0) for partition in partitions])
    producer = Producer(
        {**WRITER_OPTIONS, "bootstrap.servers": servers, "delivery.report.only.error": True}
    )
    value = b"\x00" * size
    done = 0
    while done < events:
        messages = consumer.consume(batch, 0.1)
        for message in messages:
            if message.error() is not None:
                raise SystemExit(f"bare loop: {message.error()}")
        read = list(map(Message.value, messages))
        rest = [{"value": value, "key": message.key()} for message in messages]
        while rest:
            queued = producer.produce_batch(out_topic, rest)
            rest = rest[queued:]
            producer.poll(0.05 if rest else 0)
        done += len(read)
    left = producer.flush(60)
    consumer.close()
    if left:
        raise SystemExit(f"bare loop: expected all to be written, got {left} left")


if __name__ == "__main__":
    servers, in_topic, out_topic, events, size, batch = sys.argv[1:]
    main(servers, in_topic, out_topic, int(events), int(size), int(batch))
