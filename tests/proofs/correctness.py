"""Exactly one answer for each click, at scale: clicks with 1 % broken in ten ways, counted.

    python -m tests.proofs.correctness [--clicks 1000000] [--backend both|kafka|embedded] [--seed 7]

The real program (`python -m bytewax.run dataflows.recommender`, in a process of its own) reads the
simulated shop, on a real Kafka and a real registry, then on the embedded log. What it wrote on
Kafka is read by confluent_kafka's own consumer and Avro deserializer, which share no code with
this project; what it wrote on the embedded log by fastavro. Every click is checked by its place:
one recommendation if it is good and a view, one error with the right reason and the right original
if it is broken, nothing twice. Exits 1 on any difference.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from streamrec.connectors.backend import open_log
from streamrec.connectors.local.kafka import local_kafka
from streamrec.connectors.log import Log
from streamrec.connectors.reading import read_all
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.job.topics import CLICKS, make_all
from streamrec.schemas import load
from streamrec.shop.faults import SchemaIds, faults_named
from streamrec.shop.sending import send_shop
from streamrec.shop.shop import Shop
from streamrec.shop.world import VIEW

Place = tuple[int, int]  # partition and offset of a click
Found = Iterator[tuple[str, dict[str, Any]]]  # topic and record

BROKEN_SHARE = 0.01
TEN_WAYS = {
    "not_avro",
    "tombstone",
    "unknown_schema_id",
    "truncated",
    "trailing_bytes",
    "invalid_utf8",
    "foreign_schema",
    "empty_user",
    "microseconds",
    "too_late",
}
_OUTPUTS = ("recommendations", "errors")


@dataclass
class Truth:
    """What must come out, by the place of the click."""

    asking: list[list[bool]]  # by partition and offset
    broken: dict[Place, tuple[str, bytes | None]] = field(default_factory=dict)
    good: int = 0
    clicks: int = 0

    def expected(self) -> dict[str, int]:
        table = {"recommendations": sum(map(sum, self.asking))}
        reasons = Counter(reason for reason, _ in self.broken.values())
        return table | {f"errors: {reason}": n for reason, n in sorted(reasons.items())}


def put_clicks(log: Log, clicks: int, seed: int) -> Truth:
    def shop(ids: SchemaIds) -> Shop:
        return Shop(
            seed=seed,
            clicks=clicks,
            schema_ids=ids,
            broken_share=BROKEN_SHARE,
            faults=faults_named(TEN_WAYS),
        )

    truth = Truth([[] for _ in range(CLICKS.partitions)])
    for sent in send_shop(log, CLICKS.name, shop):
        batch = sent.records
        views = (batch.clicks.event_types == VIEW).tolist()
        for row, (partition, offset) in enumerate(sent.places()):
            asking = truth.asking[partition]
            assert len(asking) == offset
            reason = batch.reason_at(row)
            if reason is not None:
                truth.broken[partition, offset] = (reason, batch.values[row])
            asking.append(reason is None and views[row])
            truth.clicks += 1
    return truth


def run_job(environment: dict[str, str]) -> float:
    """Run the main job to the end of the topic; seconds."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KAFKA_", "SCHEMA_REGISTRY_", "EMBEDDED_LOG_", "BYTEWAX_"))
    }
    settings = {"STREAMREC_FOLLOW": "false", "STREAMREC_START_FROM": "earliest"}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "bytewax.run", "dataflows.recommender"],
        env={**settings, **inherited, **environment},
        cwd=Path(__file__).parents[2],
        check=False,
    )
    if done.returncode:
        sys.exit(f"correctness: expected the job to end with status 0, got {done.returncode}")
    return time.monotonic() - start


def read_kafka(bootstrap_servers: str, registry_url: str) -> Found:
    """Every record of the outputs, by the client's own deserializer."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "correctness",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
        }
    )
    client = SchemaRegistryClient({"url": registry_url, "timeout": 10})
    by_topic = {"subject.name.strategy": topic_subject_name_strategy}
    deserializer = AvroDeserializer(client, conf=by_topic)
    ends: dict[tuple[str, int], int] = {}
    for topic in _OUTPUTS:
        for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            if low < high:
                ends[topic, partition] = high
    consumer.assign([TopicPartition(topic, partition, 0) for topic, partition in ends])
    while ends:
        for message in consumer.consume(10_000, 1.0):
            if message.error() is not None:
                sys.exit(f"correctness: the consumer said {message.error()}")
            name, partition, offset = message.topic(), message.partition(), message.offset()
            assert name is not None and partition is not None and offset is not None
            if offset + 1 >= ends.get((name, partition), 0):
                ends.pop((name, partition), None)
            yield (
                name,
                deserializer(message.value(), SerializationContext(name, MessageField.VALUE)),
            )
    consumer.close()


def read_embedded(log: Log) -> Found:
    """Every record of the outputs, by fastavro."""
    for topic in _OUTPUTS:
        schema = fastavro.parse_schema(json.loads(load(topic)))
        for record in read_all(log, topic):
            assert record.value is not None
            fields = fastavro.schemaless_reader(BytesIO(record.value[5:]), schema, None)
            assert isinstance(fields, dict)
            yield topic, fields


@dataclass
class Report:
    """What came out, against the truth."""

    counts: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    twice: int = 0
    wrong: int = 0  # nothing of the kind was expected, or not with this reason or original
    examples: list[str] = field(default_factory=list)


def check(found: Found, truth: Truth) -> Report:
    report = Report()
    answered = [np.zeros(len(asking), np.int8) for asking in truth.asking]
    failed: Counter[Place] = Counter()
    for topic, record in found:
        if topic == "errors":
            place = record["partition"], record["offset"]
            report.counts[f"errors: {record['reason']}"] += 1
            failed[place] += 1
            if truth.broken.get(place) != (record["reason"], record["value"]):
                _note(report, f"{place}: expected {truth.broken.get(place)}, got error {record}")
            continue
        place = record["source_partition"], record["source_offset"]
        report.counts["recommendations"] += 1
        answered[place[0]][place[1]] += 1
        if not truth.asking[place[0]][place[1]]:
            _note(report, f"{place}: expected no recommendation, got {record}")
    for partition, asking in enumerate(truth.asking):
        report.missing += int((np.array(asking, bool) & (answered[partition] == 0)).sum())
        report.twice += int(np.maximum(answered[partition] - 1, 0).sum())
    report.missing += sum(place not in failed for place in truth.broken)
    report.twice += sum(count - 1 for count in failed.values())
    return report


def _note(report: Report, text: str) -> None:
    report.wrong += 1
    if len(report.examples) < 5:
        report.examples.append(text[:500])


def print_table(backend: str, truth: Truth, report: Report, sent_s: float, ran_s: float) -> bool:
    expected = truth.expected()
    rows = [(name, n, report.counts[name]) for name, n in expected.items()]
    rows += [(name, 0, n) for name, n in report.counts.items() if name not in expected]
    rows += [("missing", 0, report.missing), ("twice", 0, report.twice), ("wrong", 0, report.wrong)]
    _say(f"\n{backend}: {truth.clicks:,} clicks sent in {sent_s:.0f} s, job {ran_s:.0f} s")
    _say(f"{'':34}{'expected':>12}{'got':>12}")
    for name, wanted, got in rows:
        _say(f"{name:34}{wanted:12,}{got:12,}{'' if wanted == got else '   differs'}")
    for example in report.examples:
        _say(example)
    return all(wanted == got for _, wanted, got in rows)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def verify(environment: dict[str, str], clicks: int, seed: int) -> bool:
    """Make topics, send, run, check; whether all is as expected."""
    os.environ.update(environment)
    settings = load_settings()
    log = open_log(settings)
    make_all(log, settings.topics())
    start = time.monotonic()
    truth = put_clicks(log, clicks, seed)
    sent_s = time.monotonic() - start
    ran_s = run_job(environment)
    if settings.backend == "kafka":
        assert settings.kafka_bootstrap_servers and settings.schema_registry_url
        found = read_kafka(settings.kafka_bootstrap_servers, settings.schema_registry_url)
    else:
        found = read_embedded(log)
    ok = print_table(settings.backend, truth, check(found, truth), sent_s, ran_s)
    for name in environment:
        del os.environ[name]
    return ok


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clicks", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--backend", choices=("both", "kafka", "embedded"), default="both")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    right = []
    if given.backend != "embedded":
        with local_kafka() as kafka:
            environment = {
                "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
                "SCHEMA_REGISTRY_URL": kafka.registry_url,
            }
            right.append(verify(environment, given.clicks, given.seed))
    if given.backend != "kafka":
        with tempfile.TemporaryDirectory(prefix="streamrec-correctness-") as folder:
            environment = {"EMBEDDED_LOG_PATH": str(Path(folder) / "log.sqlite")}
            right.append(verify(environment, given.clicks, given.seed))
    _say("\nall as expected" if all(right) else "\ndifferences: see above")
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
