"""Checks every input of a chaos run against every output, with readers that are not ours.

Values are read by confluent_kafka's own AvroDeserializer on Kafka and by fastavro on the embedded
log. What must come out of an input follows from the shop's truth; what it must hold, from a run
without kills.
"""

import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import fastavro
import numpy as np
from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from numpy.typing import NDArray

from benchmarks.place import Place
from streamrec.connectors.log import NO_TIMESTAMP_MS
from streamrec.connectors.reading import read_all
from streamrec.shop.shop import Shop
from streamrec.shop.world import EVENT_TYPES

_SHOWN = 20
_HEADER_BYTES = 5
_BATCH = 5_000
_REGISTRY_TIMEOUT_S = 10  # of one try; the client tries again

# What must come out of an input.
NOTHING, ANSWER, ERROR = range(3)

Decode = Callable[[bytes], Any]


class Message(NamedTuple):
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp_ms: int = NO_TIMESTAMP_MS


def read_topic(place: Place, topic: str, committed_only: bool) -> Iterator[Message]:
    """Every message that a topic holds now, in order within a partition."""
    if place.environment["KAFKA_BOOTSTRAP_SERVERS"]:
        yield from _read_kafka(place, topic, committed_only)
        return
    for record in read_all(place.log, topic):
        yield Message(*record[1:])


def _read_kafka(place: Place, topic: str, committed_only: bool) -> Iterator[Message]:
    consumer = Consumer(
        {
            "bootstrap.servers": place.environment["KAFKA_BOOTSTRAP_SERVERS"],
            "group.id": f"{place.prefix}-check",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed" if committed_only else "read_uncommitted",
        }
    )
    with closing(place.log.admin()) as admin:
        left = set(admin.bounds(topic))
    consumer.assign([TopicPartition(topic, partition, 0) for partition in left])
    try:
        while left:
            for message in consumer.consume(_BATCH, 1.0):
                error, partition, offset = message.error(), message.partition(), message.offset()
                assert partition is not None and offset is not None
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    left.discard(partition)
                elif error is not None:
                    raise RuntimeError(f"reading topic {topic!r}: {error}")
                else:
                    yield Message(
                        partition,
                        offset,
                        message.key(),
                        message.value(),
                        cast("list[tuple[str, bytes | None]]", message.headers() or []),
                        message.timestamp()[1],
                    )
    finally:
        consumer.close()


@contextmanager
def decoder(place: Place, topic: str, schema: str) -> Iterator[Decode]:
    """Reads values of a topic, without any code of ours."""
    if not place.environment["KAFKA_BOOTSTRAP_SERVERS"]:
        parsed = fastavro.parse_schema(json.loads(schema))
        yield lambda value: fastavro.schemaless_reader(
            io.BytesIO(value[_HEADER_BYTES:]), parsed, None
        )
        return
    url = place.environment["SCHEMA_REGISTRY_URL"]
    with SchemaRegistryClient({"url": url, "timeout": _REGISTRY_TIMEOUT_S}) as client:
        # By topic, as here; the client's default asks the registry, in vain, which is whose.
        by_topic = {"subject.name.strategy": topic_subject_name_strategy}
        deserializer = AvroDeserializer(client, conf=by_topic)
        context = SerializationContext(topic, MessageField.VALUE)
        yield lambda value: deserializer(value, context)


@dataclass
class InputTruth:
    """Of each input, by partition and offset, what must come out of it."""

    wanted: dict[int, NDArray[np.int8]] = field(default_factory=dict)
    total: int = 0


def inputs_of(place: Place, topic: str, shop: Shop, answered: Callable[[str], bool]) -> InputTruth:
    """Match what the topic holds with what the shop has made: a key's records keep their order."""
    truth: dict[bytes, list[tuple[int, int]]] = {}
    for batch in shop.batches():
        good = batch.is_good()
        asks = np.array([answered(name) for name in EVENT_TYPES])[batch.clicks.event_types]
        wanted = np.where(good, np.where(asks, ANSWER, NOTHING), ERROR)
        for key, value, kind in zip(batch.keys, batch.values, wanted.tolist(), strict=True):
            truth.setdefault(key, []).append((kind, hash(value)))
    turns = {key: iter(records) for key, records in truth.items()}
    found: dict[int, list[int]] = {}
    inputs = InputTruth()
    for message in read_topic(place, topic, committed_only=False):
        assert message.key is not None
        kind, made = next(turns[message.key])
        assert made == hash(message.value), f"{message} is not what the shop made"
        kinds = found.setdefault(message.partition, [])
        assert message.offset == len(kinds), f"{message.offset} expected to be {len(kinds)}"
        kinds.append(kind)
        inputs.total += 1
    assert inputs.total == shop.clicks, f"{inputs.total} inputs of {shop.clicks}"
    inputs.wanted = {p: np.array(kinds, np.int8) for p, kinds in found.items()}
    return inputs


@dataclass
class OutputCounts:
    """How often each input was answered, how often it failed, and a digest of what came out."""

    answers: dict[int, NDArray[np.int16]]
    errors: dict[int, NDArray[np.int16]]
    digests: dict[int, NDArray[np.int64]]
    strangers: list[str] = field(default_factory=list)  # records that answer no input

    @classmethod
    def empty(cls, inputs: InputTruth) -> "OutputCounts":
        sizes = {partition: len(wanted) for partition, wanted in inputs.wanted.items()}
        return cls(
            {p: np.zeros(n, np.int16) for p, n in sizes.items()},
            {p: np.zeros(n, np.int16) for p, n in sizes.items()},
            {p: np.zeros(n, np.int64) for p, n in sizes.items()},
        )

    def add(self, is_error: bool, partition: int, offset: int, digest: int, name: str) -> None:
        counts = (self.errors if is_error else self.answers).get(partition)
        if counts is None or not 0 <= offset < len(counts):
            self.strangers.append(f"{name} for partition {partition}, offset {offset}")
            return
        counts[offset] += 1
        self.digests[partition][offset] ^= digest  # what comes twice is counted as such anyway

    def totals(self) -> tuple[int, int]:
        """Answers and errors."""
        return (
            sum(int(counts.sum()) for counts in self.answers.values()),
            sum(int(counts.sum()) for counts in self.errors.values()),
        )


class OutputTopic(NamedTuple):
    """Where outputs are, and which of their fields a run without kills has just the same."""

    topic: str
    schema: str
    source: tuple[str, str]  # fields with partition and offset of the input
    same: tuple[str, ...]
    is_error: bool


def outputs_of(
    place: Place, inputs: InputTruth, topics: list[OutputTopic], committed_only: bool
) -> OutputCounts:
    outputs = OutputCounts.empty(inputs)
    for topic in topics:
        with decoder(place, topic.topic, topic.schema) as decode:
            for message in read_topic(place, topic.topic, committed_only):
                assert message.value is not None
                record: Mapping[str, Any] = decode(message.value)
                digest = hash((message.key, *(_hashable(record[name]) for name in topic.same)))
                partition, offset = (record[name] for name in topic.source)
                place_of = f"{topic.topic}[{message.partition}]@{message.offset}"
                outputs.add(topic.is_error, partition, offset, digest, place_of)
    return outputs


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass
class ChaosVerdict:
    """What came of the inputs."""

    inputs: int
    outputs: int
    errors: int
    counts: Counter[str] = field(default_factory=Counter)
    offenders: list[str] = field(default_factory=list)

    def line(self, kills: int, seed: int) -> str:
        lost, twice, other = (self.counts[name] for name in ("lost", "duplicated", "different"))
        return (
            f"inputs {self.inputs}, outputs {self.outputs}, errors {self.errors}, {lost} lost, "
            f"{twice} duplicated, {other} different, kills {kills}, seed {seed}"
        )

    @property
    def good(self) -> bool:
        return not self.counts


def judge(inputs: InputTruth, outputs: OutputCounts, reference: OutputCounts) -> ChaosVerdict:
    """Compare what came out with what must, and with what came out of a run without kills."""
    verdict = ChaosVerdict(inputs.total, *outputs.totals())
    for stranger in outputs.strangers + reference.strangers:
        _offend(verdict, "different", f"{stranger} answers no input")
    for partition, wanted in sorted(inputs.wanted.items()):
        answers, errors = outputs.answers[partition], outputs.errors[partition]
        total = answers + errors
        as_wanted = np.where(wanted == ERROR, errors, np.where(wanted == ANSWER, answers, 1))
        as_wanted = np.where((wanted == NOTHING) & (total > 0), 0, as_wanted)
        found = {
            "lost": (wanted != NOTHING) & (total == 0),
            "duplicated": total > 1,
            "different": (total == 1)
            & ((as_wanted == 0) | (outputs.digests[partition] != reference.digests[partition])),
        }
        for name, where in found.items():
            for offset in np.flatnonzero(where).tolist():
                _offend(
                    verdict,
                    name,
                    f"partition {partition}, offset {offset}: expected "
                    f"{('nothing', 'an answer', 'an error')[wanted[offset]]}, got "
                    f"{answers[offset]} answers and {errors[offset]} errors",
                )
    return verdict


def compare(
    verdict: ChaosVerdict, expected: Mapping[Any, Any], found: Iterable[tuple[Any, Any]]
) -> int:
    """Outputs by what each is, with those that must be; returns how many were found."""
    seen: Counter[Any] = Counter()
    for identity, holds in found:
        seen[identity] += 1
        if seen[identity] > 1:
            _offend(verdict, "duplicated", f"{identity}: got {holds}")
        elif identity not in expected:
            _offend(verdict, "different", f"{identity}: expected nothing, got {holds}")
        elif holds != expected[identity]:
            _offend(verdict, "different", f"{identity}: expected {expected[identity]}, got {holds}")
    for identity, holds in expected.items():
        if identity not in seen:
            _offend(verdict, "lost", f"{identity}: expected {holds}")
    return seen.total()


def _offend(verdict: ChaosVerdict, name: str, text: str) -> None:
    verdict.counts[name] += 1
    if verdict.counts[name] <= _SHOWN:
        verdict.offenders.append(f"{name}: {text}")
