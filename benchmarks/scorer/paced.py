"""Records at a steady rate through one model, and how long each answer took.

Latency is from the sending of a record, which its header says in microseconds, to when the broker
appended its answer, which it says in whole milliseconds: both clocks are this machine's.
"""

import time
from dataclasses import dataclass

import numpy as np
from confluent_kafka import Producer
from numpy.typing import NDArray

from benchmarks.place import Place
from benchmarks.processes import BenchmarkError, Progress, Running
from benchmarks.scorer.outputs import messages_of
from benchmarks.scorer.records import Values, key_of, number_of
from streamrec.connectors.kafka.writer import PRODUCER_DEFAULTS as WRITER_OPTIONS

RATE = 200  # records a second
BY_BROKER = {"message.timestamp.type": "LogAppendTime"}  # of topics of outputs
LEAD_S = 2.0  # at the same rate, before anything counts
_SENT = "sent-us"
_TICK_S = 0.001


@dataclass(frozen=True, slots=True)
class Latencies:
    ms: NDArray[np.float64]  # of each record that counts

    def percentile(self, percent: float) -> float:
        return float(np.percentile(self.ms, percent))


def paced(
    place: Place, process: Running, topics: tuple[str, str], values: Values, seconds: float
) -> Latencies:
    """Send, wait for all answers, and look at each. `topics` are inputs and outputs, both empty,
    which the process serves. Raises BenchmarkError when a record was not answered once."""
    inputs, outputs = topics
    _send(place, inputs, values, 0, 1)
    _await(place, process, outputs, 1)  # then all is loaded and connected
    lead, total = int(LEAD_S * RATE), int((LEAD_S + seconds) * RATE)
    _send(place, inputs, values, 1, 1 + total)
    _await(place, process, outputs, 1 + total)
    took_ms = np.full(1 + total, np.nan)
    for message in messages_of(place, outputs):
        key, headers = message.key(), dict(message.headers() or [])
        number = number_of(key) if isinstance(key, bytes) else -1
        sent_us = headers.get(_SENT)
        if not 0 <= number <= total or sent_us is None or not np.isnan(took_ms[number]):
            raise BenchmarkError(f"{outputs} expected each record once, got {key!r}, {headers}")
        took_ms[number] = message.timestamp()[1] - int(sent_us) / 1000
    if np.isnan(took_ms).any():
        raise BenchmarkError(
            f"{outputs} expected all records, got none for {np.isnan(took_ms).sum()}"
        )
    return Latencies(took_ms[1 + lead :])


def _send(place: Place, topic: str, values: Values, first: int, end: int) -> None:
    """Records of these numbers, at the rate."""
    servers = place.environment["KAFKA_BOOTSTRAP_SERVERS"]
    producer = Producer({**WRITER_OPTIONS, "bootstrap.servers": servers, "linger.ms": 0})
    ready = values(first, end - first)
    start = time.monotonic()
    for at, value in enumerate(ready):
        while (due_in := start + at / RATE - time.monotonic()) > 0:
            producer.poll(0)
            time.sleep(min(due_in, _TICK_S))
        sent_us = b"%d" % (time.time_ns() // 1000)
        producer.produce(topic, value, key_of(first + at), headers=[(_SENT, sent_us)])
    if left := producer.flush(30):
        raise BenchmarkError(f"{topic} expected all to be written, got {left} left")


def _await(place: Place, process: Running, topic: str, count: int) -> None:
    Progress(process, place.log, topic).watch(lambda sample: sample.done >= count, 120.0)
    if not process.poll():
        process.wait()
        raise BenchmarkError("the scorer expected to go on, but it has ended")
