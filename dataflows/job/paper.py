"""`PaperJob`: a job without a log, for pictures and for tests of wiring."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from bytewax.inputs import Source
from bytewax.outputs import Sink
from bytewax.testing import TestingSink, TestingSource

from streamrec.connectors.log import (
    NO_TIMESTAMP_MS,
    Detail,
    Headers,
    RawBatch,
    UnknownSchemaError,
)
from streamrec.connectors.out import Out
from streamrec.connectors.per_thread import PerThread
from streamrec.connectors.ticks.tick import LaneTick, Tick
from streamrec.connectors.ticks.timed_table import ByTicks
from streamrec.dataflows.engine.stopping import Stopping
from streamrec.dataflows.job.codecs import plain_decoder_of, plain_encoder_of, plain_value_of
from streamrec.dataflows.job.job import Job, _Input
from streamrec.dataflows.job.kept import Keep, Kept
from streamrec.dataflows.job.once import Once
from streamrec.dataflows.job.report import Report
from streamrec.dataflows.job.settings import Settings, load_settings
from streamrec.dataflows.job.topics import TICKS, Topic
from streamrec.schemas.header_ids import SchemaKey, name_of
from streamrec.schemas.json_codec import JsonDecoder, JsonEncoder, MisfitError
from streamrec.schemas.plain import ValueDecoder, ValueEncoder
from streamrec.schemas.wire import WireDecoder, WireEncoder
from streamrec.services.store.contract import Space

T = TypeVar("T")

SCHEMA_ID = 1  # of every schema: each topic is read as what was written to it


def batch_of(
    topic: Topic,
    records: Sequence[Any],
    partition: int = 0,
    first_offset: int = 0,
    keys: Sequence[bytes | None] | None = None,
    headers: Sequence[Headers] | None = None,
    times_ms: Sequence[int] | None = None,
) -> RawBatch:
    """Records of a topic, as a source hands them over: for `PaperJob`.

    Each is a value as `receive` shows it, or bytes that go as they are, as a broken record's do.
    `keys` None: they are those of the topic's row. `headers` and `times_ms` (the log's, Unix ms)
    are those of each record; None: they have none. Raises MisfitError for a value that does not fit
    its schema.

    >>> from streamrec import CLICKS
    >>> click = {"user_id": "u1", "item_id": "i1", "event_type": "view", "timestamp": 0}
    >>> batch_of(CLICKS, [click, b"broken"]).offsets
    array([0, 1])
    """
    encode = _encode_of(topic)
    values: list[bytes | None] = [
        record if isinstance(record, bytes) else encode(record) for record in records
    ]

    times = np.full(len(values), NO_TIMESTAMP_MS, np.int64)
    if times_ms is not None:
        times[:] = times_ms

    def detail(index: int) -> Detail:
        record = records[index]
        key = None if keys is None else keys[index]
        if keys is None and topic.key_field is not None and isinstance(record, dict):
            named = record.get(topic.key_field)
            key = named.encode() if isinstance(named, str) else None
        return Detail(key, [] if headers is None else headers[index], int(times[index]))

    offsets = np.arange(first_offset, first_offset + len(values), dtype=np.int64)
    return RawBatch(topic.name, partition, offsets, values, detail, times)


def _encode_of(topic: Topic) -> Callable[[Any], bytes]:
    if topic.format == "avro":
        return JsonEncoder(topic.schema, SCHEMA_ID).encode
    if topic.format == "json":
        return lambda record: json.dumps(record, ensure_ascii=False).encode()

    def refuse(record: Any) -> bytes:
        raise MisfitError(f"topic {topic.name!r} expected bytes, got {record!r}")

    return refuse


class _PaperTable:
    """A timed table that does not change."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def at_tick_of(self, step: ByTicks) -> "_PaperTable":
        return self

    def get(self, key: str | bytes, default: Any = None) -> Any:
        return self._values.get(key.decode() if isinstance(key, bytes) else key, default)

    def version(self) -> list[int]:
        return []

    def may_miss(self, key: str | bytes) -> bool:
        return False


class PaperJob(Job):
    """Reads batches from memory and writes to lists; connects to nothing and keeps nothing.

    `inputs` are batches by topic (`batch_of` makes them; of a timed input with `Tick`s among them,
    whose ends do not matter), `tables` what `Job.table` holds by topic;
    `written` holds what the flow wrote, by topic, as `(lane, Out)`, and `records` says it as plain
    values. What a real job tells at its start (a model that cannot be had, a schema that is
    not registered) is not looked for before it is used.
    """

    def __init__(
        self,
        flow_id: str,
        inputs: Mapping[str, Sequence[RawBatch | Tick]] | None = None,
        settings: Settings | None = None,
        partitions: int = 8,
        tables: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.flow_id = flow_id
        self.settings = settings or load_settings()
        self.report = Report(flow_id)
        self.written: dict[str, list[tuple[str, Out]]] = {}
        self.topics_read: list[Topic] = []
        self.topics_written: list[Topic] = []
        self._given = inputs or {}
        self._tables = tables or {}
        self._inputs = []
        self._timed_tables = {}
        self._allowances = {}
        self._stopping = Stopping()
        self._written: list[Topic] = []
        self._partition_count = partitions

    def keep(self, make: Callable[[], Kept]) -> Keep:
        return Keep(make, None)

    def table(self, topic: Topic, *, timed: bool = False) -> Any:
        if topic not in self.topics_read:
            self.topics_read.append(topic)
        values = self._tables.get(topic.name, {})
        return _PaperTable(values) if timed else values

    def uses(self, *topics: Topic) -> None:
        self.topics_read += [topic for topic in topics if topic not in self.topics_read]

    def records(self, topic: Topic) -> list[Any]:
        """What the flow wrote to a topic, as plain values: for each partition in order."""
        decode = plain_value_of(topic) or JsonDecoder(lambda _: topic.schema).decode
        outs = sorted((out for _, out in self.written[topic.name]), key=lambda o: o.partition)
        return [decode(value, []) for out in outs for value in out.values]

    def decoder(self, topic: Topic) -> Callable[[], ValueDecoder]:
        if topic.format != "avro":
            return plain_decoder_of(topic)
        return PerThread(lambda: WireDecoder(topic.schema, lambda _: topic.schema))

    def encoder(self, topic: Topic) -> Callable[[], ValueEncoder]:
        if topic.format != "avro":
            return plain_encoder_of(topic)
        return PerThread(lambda: WireEncoder(topic.column_schema, SCHEMA_ID))

    def decoder_as(self, schema: str) -> Callable[[], ValueDecoder]:
        return PerThread(lambda: WireDecoder(schema, lambda _: schema))

    def value_decoder(self) -> Callable[[bytes, Headers], Any]:
        def unknown(key: SchemaKey) -> str:
            raise UnknownSchemaError(f"{name_of(key)} expected a registry, got none on paper")

        return JsonDecoder(unknown).decode

    def schema_id(self, topic: Topic) -> Callable[[], int]:
        return lambda: SCHEMA_ID

    def share(self, make: Callable[[], T]) -> Callable[[], T]:
        return Once(make)

    def _answers_late(self) -> None:
        """There is no sink that reads back."""

    def _source_of(self, read: _Input) -> Source[Any]:
        topic = read.topic
        if topic not in self.topics_read:
            self.topics_read.append(topic)
        if read.timed and TICKS not in self.topics_read:
            self.topics_read.append(TICKS)
        items: list[Any] = []
        for each in self._given.get(topic.name, ()):
            if isinstance(each, Tick):
                lanes = range(self.settings.lanes)
                items += [LaneTick(topic.name, lane, each.number, each.time_ms) for lane in lanes]
            else:
                items.append(each)
        return TestingSource(items)

    def _sink(self, topic: Topic, group: str) -> Sink[Any]:
        self.topics_written.append(topic)
        return TestingSink(self.written.setdefault(topic.name, []))

    def _store_sink(self, space: Space) -> Sink[Any]:
        return TestingSink([])

    def _partitions(self, topic: Topic) -> Callable[[], int]:
        return lambda: self._partition_count

    def _largest(self, topic: Topic) -> Callable[[], int]:
        return lambda: self.settings.max_message_bytes


__all__ = ["PaperJob", "batch_of"]
