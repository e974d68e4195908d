"""The scoring path as events trickle in: latency from Kafka to Kafka, and CPU, at steady rates.

A process of its own sends clicks at the rate; this one reads the scores as they come. Latency is
told in two ways. *log*: from the broker's clock when the click was appended to its topic to when
the score was (`message.timestamp.type=LogAppendTime`): what the dataflow and its clients take.
*seen*: from the sending of the click to the reading of its score, with the sender's and the
reader's own gathering on top.

A broker that has just started compiles its own code under the first load, on the same cores: some
seconds of load that nobody counts come first. Rounds are in turns, and the median counts.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, Message, TopicPartition
from numpy.typing import NDArray

from benchmarks.clicks import ClickLoad, fill
from benchmarks.figures import Figure
from benchmarks.place import PARTITIONS, Place
from benchmarks.processes import BenchmarkError, Progress, Running, flow, recovering, running
from streamrec.connectors.kafka.reader import _DEFAULTS as READER_OPTIONS
from streamrec.schemas import load
from streamrec.schemas.columns import Numbers
from streamrec.schemas.wire import WireDecoder

NAME = "scoring_paced"
EVENTS = 200_000  # at the highest rate; the others take as long
RATES = (10_000, 1_000)  # events per second
USERS = 100_000
EPOCH_S = 10  # as the README starts the main job
LEAD_S = 3.0  # from the first score on, before anything counts: a sender begins with a burst
ROUNDS = 3  # at the highest rate
BROKER_WARM_UP_S = 15.0
# Nothing saved; saved, but not read back; saved and read back: the last two differ by that alone.
DELIVERIES = ("", "at_least_once", "read_back")
CPU_US_MAX = {10_000: 35.0}
P99_MS_MAX = {10_000: 25.0}

_BY_BROKER = {"message.timestamp.type": "LogAppendTime"}


def run(place: Place, events: int) -> list[Figure]:
    highest = max(RATES)
    seconds = events / highest
    run_at(place, highest, min(seconds, BROKER_WARM_UP_S))
    rounds: list[list[Figure]] = []
    for number in range(ROUNDS):
        made = [run_at(place, highest, seconds, delivery) for delivery in DELIVERIES]
        shown = ", ".join(
            f"{delivery or 'nothing saved'} {_p99(figures):.0f}"
            for delivery, figures in zip(DELIVERIES, made, strict=True)
        )
        place.say(f"round {number + 1} of {ROUNDS}: p99 in ms: {shown}")
        ratio = _p99(made[-1]) / _p99(made[-2])
        rounds.append([*chain(*made), Figure(f"{NAME}.read_back_p99_ratio", ratio, "x", 1.1)])
    figures = [
        replace(first, value=statistics.median(figure.value for figure in (first, *others)))
        for first, *others in zip(*rounds, strict=True)
    ]
    for rate in RATES:
        if rate != highest:
            figures += run_at(place, rate, seconds)
    return figures


def _p99(figures: list[Figure]) -> float:
    return next(figure.value for figure in figures if figure.name.endswith("log_p99"))


@dataclass
class Received:
    """Scores as they were read."""

    messages: list[Message] = field(default_factory=list)
    read_ms: list[int] = field(default_factory=list)  # Unix time, for each message


def run_at(place: Place, rate: int, seconds: float, delivery: str = "") -> list[Figure]:
    """With a mode of delivery there is a recovery directory, and an epoch ends every 10 s."""
    with tempfile.TemporaryDirectory(dir=place.folder) as recovery:
        return _run_at(place, rate, seconds, delivery, Path(recovery))


def _run_at(place: Place, rate: int, seconds: float, delivery: str, recovery: Path) -> list[Figure]:
    clicks = place.make_topic("clicks", _BY_BROKER)
    scores, errors = place.make_topic("scores", _BY_BROKER), place.make_topic("errors")
    environment = scoring_environment(place, clicks, scores, errors)
    arguments = flow("dataflows.scoring")
    if delivery:
        arguments = recovering("dataflows.scoring", recovery, EPOCH_S)
        environment["STREAMREC_DELIVERY"] = delivery
    with running(f"scoring-at-{rate}", arguments, environment, place.folder) as process:
        warm_up(place, process, clicks, scores)
        with (
            closing(_reader(place, scores)) as reader,
            sending(place, clicks, rate, LEAD_S + seconds) as sender,
        ):
            _await_first(reader, sender)
            _read_for(reader, Received(), LEAD_S)
            start_cpu_s, received = process.cpu_s(), Received()
            while sender.poll():
                _read_for(reader, received, 0.2)
            used_s, n = process.cpu_s() - start_cpu_s, len(received.messages)
            sender.wait()
        process.stop()
    if n < 0.9 * rate * seconds:
        raise BenchmarkError(f"{NAME} expected {rate * seconds:.0f} scores, got {n}: it lags")
    seen_ms, log_ms = _latencies(place, clicks, received)
    place.delete_topics(clicks, scores, errors)
    name = f"{NAME}.at_{rate}" + (f"_{delivery}" if delivery else "")
    targets_of = 0 if delivery else rate  # what is saved has its price, told beside it
    figures = [Figure(f"{name}.cpu", used_s * 1e6 / n, "us CPU/event", CPU_US_MAX.get(targets_of))]
    for kind, latencies_ms in (("log", log_ms), ("seen", seen_ms)):
        for label, percent in (("p50", 50), ("p99", 99), ("p999", 99.9)):
            target = P99_MS_MAX.get(targets_of) if (kind, label) == ("log", "p99") else None
            value = float(np.percentile(latencies_ms, percent))
            figures.append(Figure(f"{name}.{kind}_{label}", value, "ms", target))
    return figures


def scoring_environment(
    place: Place, clicks: str, scores: str, errors: str, follow: bool = True
) -> dict[str, str]:
    return place.process_environment(
        clicks_topic=clicks,
        scores_topic=scores,
        errors_topic=errors,
        consumer_group=scores,
        start_from="earliest",
        follow=follow,
    )


def warm_up(place: Place, process: Running, clicks: str, scores: str) -> None:
    """Wait until the flow has scored a first batch: then all is loaded and connected."""
    fill(place, clicks, ClickLoad(2_000, USERS))
    Progress(process, place.log, scores).watch(lambda sample: sample.done >= 2_000, 120.0)
    if not process.poll():
        process.wait()
        raise BenchmarkError("scoring expected to go on, but it has ended")


@contextmanager
def sending(place: Place, clicks: str, rate: int, seconds: float) -> Iterator[Running]:
    servers = place.environment["KAFKA_BOOTSTRAP_SERVERS"]
    numbers = (place.schema_id(clicks), rate, seconds, USERS)
    arguments = ["benchmarks.paced_producer", servers, clicks, *map(str, numbers)]
    with running("paced-producer", arguments, place.process_environment(), place.folder) as sender:
        yield sender


def _reader(place: Place, topic: str) -> Consumer:
    """An independent consumer, at the end of a topic."""
    servers = place.environment["KAFKA_BOOTSTRAP_SERVERS"]
    consumer = Consumer({**READER_OPTIONS, "bootstrap.servers": servers})
    with closing(place.log.admin()) as admin:
        ends = {partition: bounds.high for partition, bounds in admin.bounds(topic).items()}
    consumer.assign([TopicPartition(topic, partition, end) for partition, end in ends.items()])
    return consumer


def _await_first(reader: Consumer, sender: Running) -> None:
    """Wait for a first score; the sender takes seconds to start."""
    received = Received()
    while not received.messages:
        if not sender.poll():
            sender.wait()
            raise BenchmarkError("the sender expected to go on, but it has ended without a score")
        _read_for(reader, received, 0.1)


def _read_for(reader: Consumer, received: Received, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        messages = reader.consume(500, 0.002)
        if messages:
            received.messages += messages
            received.read_ms += [int(time.time() * 1000)] * len(messages)


def _latencies(
    place: Place, clicks: str, received: Received
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """In ms: from sending to reading, and from append to append."""
    decoder = WireDecoder(load("scores"), lambda _: load("scores"))
    decoded = decoder.decode([message.value() for message in received.messages])
    if decoded.failures:
        raise BenchmarkError(f"{NAME}: a score is broken: {decoded.failures[0].message}")
    sent_ms, partitions, offsets = (
        _numbers(decoded.columns[name])
        for name in ("scored_at", "source_partition", "source_offset")
    )
    appended_ms = _append_times(place, clicks)
    in_ms = np.array(
        [appended_ms[p][o] for p, o in zip(partitions.tolist(), offsets.tolist(), strict=True)]
    )
    out_ms = np.array([message.timestamp()[1] for message in received.messages])
    return np.array(received.read_ms) - sent_ms, out_ms - in_ms


def _numbers(column: object) -> NDArray[np.int64]:
    assert isinstance(column, Numbers)
    return column.values.astype(np.int64)


def _append_times(place: Place, topic: str) -> list[list[int]]:
    """When each message of a topic was appended, by partition and offset."""
    times: list[list[int]] = [[] for _ in range(PARTITIONS)]
    with closing(place.log.reader()) as reader:
        reader.assign(topic, dict.fromkeys(range(PARTITIONS), 0))
        while batches := reader.poll(10_000, 2.0):
            for batch in batches:
                details = map(batch.detail, range(len(batch)))
                times[batch.partition] += [detail.timestamp_ms for detail in details]
    return times
