"""Sends clicks at a steady rate, each with the time of sending as its event time.

python -m benchmarks.paced_producer BOOTSTRAP_SERVERS TOPIC SCHEMA_ID RATE SECONDS USERS
"""

import sys
import time

import numpy as np
from confluent_kafka import Producer

from benchmarks.clicks import ClickLoad, ClickMaker
from streamrec.connectors.kafka.writer import PRODUCER_DEFAULTS as WRITER_OPTIONS
from streamrec.schemas.placing import keys_of

TICK_S = 0.001


def main(servers: str, topic: str, schema_id: int, rate: float, seconds: float, users: int) -> None:
    producer = Producer({**WRITER_OPTIONS, "bootstrap.servers": servers, "linger.ms": 1})
    maker = ClickMaker(ClickLoad(0, users), schema_id)
    start = time.monotonic()
    sent, total = 0, int(rate * seconds)
    while sent < total:
        due = min(int((time.monotonic() - start) * rate), total)
        if due > sent:
            now_ms = np.full(due - sent, int(time.time() * 1000))
            names, values = maker.make(now_ms)
            messages = [
                {"key": key, "value": value}
                for key, value in zip(keys_of(names), values, strict=True)
            ]
            if producer.produce_batch(topic, messages) < len(messages):
                raise SystemExit("paced producer: expected room in its queue, got none")
            sent = due
        producer.poll(0)
        time.sleep(TICK_S)
    if left := producer.flush(30):
        raise SystemExit(f"paced producer: expected all to be written, got {left} left")


if __name__ == "__main__":
    servers, topic, schema_id, rate, seconds, users = sys.argv[1:]
    main(servers, topic, int(schema_id), float(rate), float(seconds), int(users))
