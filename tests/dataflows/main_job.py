"""The main job as a test runs it: topics of its own, clicks in, and what comes out by fastavro.

The truth is kept beside what is sent: every record's place in the log is known when it is written,
because the writer says its partition and the test is the topic's only writer.
"""

import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import fastavro
from bytewax.testing import run_main

from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Headers, Log, Outgoing, Record
from streamrec.connectors.making_topics import ensure_topics
from streamrec.connectors.partitioner import partition_for_key
from streamrec.connectors.reading import read_all
from streamrec.dataflows.job.opening import open_job_with
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import CLICKS, ERRORS, RECOMMENDATIONS, SESSIONS, Topic
from streamrec.dataflows.recommender import FLOW_ID, build_flow
from streamrec.shop.faults import OLDER_SCHEMA, ClickEncoder, SchemaIds
from streamrec.shop.sending import schema_ids, send_shop
from streamrec.shop.shop import Shop

PARTITIONS = 8
START_MS = 1_767_225_600_000

Place = tuple[int, int]  # partition and offset of a click


@dataclass
class Sent:
    """What is on the topic of clicks, by place."""

    values: dict[Place, bytes | None] = field(default_factory=dict)
    keys: dict[Place, bytes | None] = field(default_factory=dict)
    reasons: dict[Place, str] = field(default_factory=dict)  # of those that must fail

    def good(self) -> set[Place]:
        return self.values.keys() - self.reasons.keys()


class MainJob:
    """One main job on one log."""

    def __init__(self, settings: Settings, partitions: int = PARTITIONS) -> None:
        self.settings = settings
        self.log: Log = open_log(settings)
        self.topics: dict[str, Topic] = settings.topics()
        self.sent = Sent()
        self._ends = [0] * partitions
        clicks = settings.topic(CLICKS)
        specs = [topic.spec(name) for name, topic in self.topics.items()]
        for topic in specs:
            assert topic.partitions == partitions or topic.name != clicks
        # `redrives` and `scores` are not the main job's.
        wanted = {clicks, settings.topic(RECOMMENDATIONS), settings.topic(ERRORS)}
        wanted.add(settings.topic(SESSIONS))
        ensure_topics(
            self.log,
            [spec for spec in specs if spec.name in wanted],
            {name: topic.schema for name, topic in self.topics.items() if name in wanted},
        )
        self.ids = schema_ids(self.log, clicks)
        self._encoder = ClickEncoder(self.ids)

    def encode(self, schema_id: int | None = None, **fields: Any) -> bytes:
        """A view by `u1` of `i1`, but for the fields given."""
        click = {
            "user_id": "u1",
            "item_id": "i1",
            "event_type": "view",
            "timestamp": START_MS,
            **fields,
        }
        return self._encoder.encode(click, schema_id or self.ids.clicks)

    def send(self, messages: Iterable[tuple[Outgoing, str | None]]) -> list[Place]:
        """Write messages, each with the reason under which it must fail; returns their places."""
        placed: list[Outgoing] = []
        places: list[Place] = []
        for message, reason in messages:
            key = message.key
            partition = 0 if key is None else partition_for_key(key, len(self._ends))
            place = (partition, self._ends[partition])
            placed.append(message._replace(partition=partition))
            places.append(place)
            self._remember(place, message.key, message.value, reason)
        with closing(self.log.writer()) as writer:
            writer.write(self.settings.topic(CLICKS), placed)
        return places

    def _remember(
        self, place: Place, key: bytes | None, value: bytes | None, reason: str | None
    ) -> None:
        partition, offset = place
        self._ends[partition] = offset + 1
        self.sent.values[place] = value
        self.sent.keys[place] = key
        if reason is not None:
            self.sent.reasons[place] = reason

    def send_clicks(self, clicks: Iterable[Mapping[str, Any]]) -> list[Place]:
        """Good clicks, by the fields in which they are not `encode`'s, keyed by their user."""
        return self.send(
            (Outgoing(click.get("user_id", "u1").encode(), self.encode(**click)), None)
            for click in clicks
        )

    def send_shop(self, clicks: int, broken_share: float = 0.03, seed: int = 7) -> None:
        def shop(ids: SchemaIds) -> Shop:
            return Shop(seed=seed, clicks=clicks, schema_ids=ids, broken_share=broken_share)

        for batch in send_shop(self.log, self.settings.topic(CLICKS), shop):
            records = batch.records
            for row, place in enumerate(batch.places()):
                self._remember(
                    place, records.keys[row], records.values[row], records.reason_at(row)
                )

    def run(self) -> None:
        """Run the real dataflow to the end of the topic."""
        run_main(build_flow(open_job_with(FLOW_ID, self.settings)))  # type: ignore[no-untyped-call]  # bytewax leaves it so

    def clicks(self) -> dict[Place, dict[str, Any]]:
        """The good clicks, as fastavro reads them."""
        ids = (self.ids.clicks, CLICKS.schema), (self.ids.older, OLDER_SCHEMA)
        writers = {i: fastavro.parse_schema(json.loads(schema)) for i, schema in ids}
        reader = fastavro.parse_schema(json.loads(CLICKS.schema))
        found = {}
        for place in self.sent.good():
            value = self.sent.values[place]
            assert value is not None
            writer = writers[int.from_bytes(value[1:5], "big")]
            record = fastavro.schemaless_reader(io.BytesIO(value[5:]), writer, reader)
            assert isinstance(record, dict)
            found[place] = record
        return found

    def recommendations(self) -> list["Answer"]:
        return self._answers(self.settings.topic(RECOMMENDATIONS))

    def errors(self) -> list["Answer"]:
        return self._answers(self.settings.topic(ERRORS))

    def records(self, topic: str) -> list[Record]:
        return list(read_all(self.log, topic))

    def _answers(self, topic: str) -> list["Answer"]:
        schema = fastavro.parse_schema(json.loads(self.topics[topic].schema))
        answers = []
        for record in self.records(topic):
            assert record.value is not None
            fields = fastavro.schemaless_reader(io.BytesIO(record.value[5:]), schema, None)
            assert isinstance(fields, dict)
            answers.append(Answer(record, fields))
        return answers


@dataclass(frozen=True, slots=True)
class Answer:
    """A record of an output topic and what it holds."""

    record: Record
    fields: dict[str, Any]

    @property
    def place(self) -> Place:
        """Of the click that it answers."""
        prefix = "source_" if "source_offset" in self.fields else ""
        return self.fields[f"{prefix}partition"], self.fields[f"{prefix}offset"]

    @property
    def headers(self) -> Headers:
        return self.record.headers


def reasons_by_place(errors: Iterable[Answer]) -> dict[Place, str]:
    """Raises AssertionError where a place has two."""
    found = {}
    for error in errors:
        assert error.place not in found, f"two errors for {error.place}"
        found[error.place] = error.fields["reason"]
    return found


def places(answers: Iterable[Answer]) -> Counter[Place]:
    return Counter(answer.place for answer in answers)
