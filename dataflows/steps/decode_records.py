"""The step `decode` of any topic: raw messages to valid records, split by shard, and those that are
not. `decode_clicks` is the same for clicks, in kernels."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import RawBatch
from streamrec.connectors.ticks.tick import LaneTick
from streamrec.dataflows.errors.failed import Failed, Origins
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import Topic
from streamrec.dataflows.steps.records import RecordBatch, ShardRecords, ShardTicks, fill_places
from streamrec.dataflows.steps.rules import (
    EventTime,
    OneOf,
    Rule,
    message_of,
    settled,
    shown,
    whole_ms,
)
from streamrec.dataflows.steps.shards import shard_name, split_by_shard
from streamrec.schemas.columns import Bytes, Column, Columns, Numbers, strings
from streamrec.schemas.parsing import Type, describe
from streamrec.schemas.plain import DecodedJson, ValueDecoder
from streamrec.schemas.reasons import Reason
from streamrec.schemas.row_values import AvroRows, BytesRows, JsonRows, RowValues
from streamrec.schemas.wire import Decoded

if TYPE_CHECKING:  # steps run without the engine, which a job wires
    from streamrec.dataflows.job.job import Job

_TIME = "Unix milliseconds"
_TIME_KINDS = ("", "timestamp-millis", "local-timestamp-millis")


class Checked(NamedTuple):
    """What was found of decoded records."""

    keys: Bytes  # (n,)
    times_ms: NDArray[np.int64]  # (n,)
    faults: dict[int, tuple[Reason, str]]  # by row of the columns, the first that was found


class Fields(Protocol):
    """Keys, times and rules of a topic's records."""

    @property
    def reader(self) -> RowValues: ...

    def check(self, origins: Origins, decoded: Decoded) -> Checked: ...


class DecodeRecords:
    """Called with what one activation brought: joins it, decodes and checks it, splits it by shard.

    Emits `ShardRecords` and `Failed`, and of a timed input `ShardTicks` for every shard.
    """

    def __init__(
        self, decoder: Callable[[], ValueDecoder], fields: Fields, shards: int, lanes: int = 1
    ) -> None:
        """`decoder` gives one for each worker."""
        self._decoder = decoder
        self._fields = fields
        self._lanes = lanes
        self._names = [shard_name(shard) for shard in range(shards)]

    def __call__(
        self, items: list[RawBatch | LaneTick]
    ) -> list[ShardRecords | ShardTicks | Failed]:
        out: list[ShardRecords | ShardTicks | Failed] = []
        batches: list[RawBatch] = []
        ticks: list[LaneTick] = []
        for item in items:
            if isinstance(item, LaneTick):
                ticks.append(item)
                continue
            if ticks and any(tick.lane == item.partition % self._lanes for tick in ticks):
                self._decode(batches, ticks, out)
                batches, ticks = [], []
            batches.append(item)
        self._decode(batches, ticks, out)
        return out

    def _decode(
        self,
        batches: list[RawBatch],
        ticks: list[LaneTick],
        out: list[ShardRecords | ShardTicks | Failed],
    ) -> None:
        """Records, then the ticks that lanes have come to with them."""
        if batches:
            self._decode_records(batches, out)
        if ticks:
            out.extend(ShardTicks(name, tuple(ticks)) for name in self._names)

    def _decode_records(
        self, batches: list[RawBatch], out: list[ShardRecords | ShardTicks | Failed]
    ) -> None:
        origins = Origins(batches)
        values = list(chain.from_iterable(batch.values for batch in batches))
        decoded = self._decoder().decode(values, origins.headers)
        for failure in decoded.failures:
            out.append(
                origins.fail(
                    failure.row, failure.reason, failure.message, exception=failure.exception
                )
            )
        if not len(decoded.rows):
            return
        keys, times_ms, faults = self._fields.check(origins, decoded)
        partitions = np.empty(len(decoded.rows), np.int64)
        offsets, _ = fill_places(origins, decoded.rows, partitions)
        batch = RecordBatch(
            topic=batches[0].topic,
            origins=origins,
            origin_rows=decoded.rows,
            columns=decoded.columns,
            keys=keys,
            times_ms=times_ms,
            partitions=partitions,
            offsets=offsets,
            reader=self._fields.reader,
        )
        good = np.ones(len(batch), np.bool_)
        for row, (reason, message) in sorted(faults.items()):
            good[row] = False
            out.append(batch.fail(row, reason, message))
        rows, ends = split_by_shard(keys, len(self._names))
        start = 0
        for shard, end in enumerate(ends.tolist()):
            own = rows[start:end]
            own = own[good[own]] if faults else own
            if len(own):
                out.append(ShardRecords(self._names[shard], batch, own))
            start = end


def decode_records(
    job: "Job",
    topic: Topic,
    *,
    key: str | None = None,
    time: str | None = None,
    rules: Sequence[Rule] = (),
) -> DecodeRecords:
    """The step for a job: records of a topic, by shard of their key.

    `key` is a string field, by which records are sharded; None: the topic's `key_field`, and of a
    topic without one, or of bytes, the record's own key. `time` is the field of their event time,
    Unix milliseconds; None: the only timestamp (millis) that the schema says is always there, if
    there is one, else the log's time; "" is the log's time too. `rules` are checked in their order;
    a record fails by the first that it breaks. Of JSON, fields are those at the top. Raises
    StartError for a field that there is not, or of a type that does not fit.

        decode_records(job, SALES, key="shop_id", rules=(Between("cents", 0, 10**9),))
    """
    rules = settled(rules, job.settings.max_ahead_s)
    fields: Fields
    if topic.format == "avro":
        fields = AvroFields(topic, key or topic.key_field, time, rules)
    elif topic.format == "json":
        fields = JsonFields(key or topic.key_field, time or None, rules)
    else:
        named = [name for name in (key, time, *(rule.field for rule in rules)) if name]
        if named:
            raise StartError(
                f"topic {topic.name!r} expected no fields of its values, which are bytes, "
                f"got {named[0]!r}"
            )
        fields = BytesFields()
    return DecodeRecords(job.decoder(topic), fields, job.settings.shards, job.settings.lanes)


def reader_of(topic: Topic) -> RowValues:
    """What reads the records of a topic, as plain values."""
    if topic.format == "avro":
        return AvroRows(topic.schema)
    return JsonRows() if topic.format == "json" else BytesRows()


class BytesFields:
    """Records without fields: their own keys, and the log's times."""

    reader = BytesRows()

    def check(self, origins: Origins, decoded: Decoded) -> Checked:
        keys, faults = _own_keys(origins, decoded.rows)
        return Checked(keys, origins.times_ms(decoded.rows), faults)


class JsonFields:
    """Fields at the top of records that are JSON, judged one by one."""

    reader = JsonRows()

    def __init__(self, key: str | None, time: str | None, rules: Sequence[Rule]) -> None:
        self._key = key
        self._time = time
        self._rules = rules

    def check(self, origins: Origins, decoded: Decoded) -> Checked:
        assert isinstance(decoded, DecodedJson)
        times_ms = written_ms = origins.times_ms(decoded.rows)
        faults: dict[int, tuple[Reason, str]] = {}
        if self._key is None:
            keys, faults = _own_keys(origins, decoded.rows)
            if self._time is None and not self._rules:
                return Checked(keys, times_ms, faults)
        texts: list[str | None] = []
        if self._time is not None:
            times_ms = written_ms.copy()
        for row, (value, written) in enumerate(
            zip(decoded.parsed, written_ms.tolist(), strict=True)
        ):
            fault = self._fault(value, written)
            if fault is not None:
                faults.setdefault(row, fault)
            if self._key is not None:
                texts.append("" if fault else value[self._key])
            if self._time is not None and fault is None:
                times_ms[row] = whole_ms(value[self._time]) or 0
        return Checked(strings(texts) if self._key is not None else keys, times_ms, faults)

    def _fault(self, value: Any, written_ms: int) -> tuple[Reason, str] | None:
        """The first thing that is wrong with a record."""
        if not isinstance(value, dict):
            return Reason.INVALID_VALUE, f"value expected a JSON object, got {shown(value)}"
        if self._key is not None and not isinstance(value.get(self._key), str):
            return _expected(self._key, "a string", value.get(self._key))
        for rule in self._rules:
            if which := rule.judge(value.get(rule.field), written_ms):
                return rule.reason, message_of(rule, which, value.get(rule.field))
        if self._time is not None and whole_ms(value.get(self._time)) is None:
            return _expected(self._time, _TIME, value.get(self._time))
        return None


class AvroFields:
    """Fields of a schema, checked by the column."""

    def __init__(
        self, topic: Topic, key: str | None, time: str | None, rules: Sequence[Rule]
    ) -> None:
        """Raises StartError."""
        self._topic = topic
        self.reader = AvroRows(topic.schema)
        if key is not None:
            self._type_of("key", key, ("string",))
        self._key = key
        self._time = self._only_time() if time is None else time
        if self._time:
            self._check_time(self._time)
        self._rules = rules
        for rule in rules:
            self._check_rule(rule)

    def check(self, origins: Origins, decoded: Decoded) -> Checked:
        columns, rows = decoded.columns, decoded.rows
        written_ms = times_ms = origins.times_ms(rows)
        faults: dict[int, tuple[Reason, str]] = {}
        if self._key is None:
            keys, faults = _own_keys(origins, rows)
        else:
            column = columns[self._key]
            assert isinstance(column, Bytes)
            _nulls(column, self._key, "a string", faults)
            keys = Bytes(column.data, column.starts, column.lengths)
        for rule in self._rules:
            broken = rule.broken(self._column(columns, rule.field), written_ms)
            if not broken.any():
                continue
            for row in np.flatnonzero(broken).tolist():
                if row not in faults:
                    got = self.reader.value(columns, rule.field, row)
                    faults[row] = rule.reason, message_of(rule, int(broken[row]), got)
        if self._time:
            times = columns[self._time]
            assert isinstance(times, Numbers)
            _nulls(times, self._time, _TIME, faults)
            times_ms = times.values.astype(np.int64)
        return Checked(keys, times_ms, faults)

    def _column(self, columns: Columns, name: str) -> Column:
        """A column as rules take it."""
        column = columns[name]
        node = self.reader.type_of(name)
        assert node is not None
        if node.value.kind == "enum":
            assert isinstance(column, Numbers)
            symbols = strings(node.value.symbols)
            indexes = column.values.astype(np.int64)
            return Bytes(
                symbols.data, symbols.starts[indexes], symbols.lengths[indexes], column.valid
            )
        return column

    def _only_time(self) -> str:
        found = [f.name for f in self.reader.root.fields if f.type.logical == "timestamp-millis"]
        return found[0] if len(found) == 1 else ""

    def _check_time(self, name: str) -> None:
        node = self._type_of("time", name, ("long",))
        if node.logical not in _TIME_KINDS:
            raise StartError(
                f"topic {self._topic.name!r}: time {name!r} expected a field in milliseconds in "
                f"{self._topic.schema_place}, got {describe(node)}"
            )

    def _check_rule(self, rule: Rule) -> None:
        what = type(rule).__name__
        node = self._type_of(what, rule.field, rule.kinds)
        if isinstance(rule, EventTime):
            self._check_time(rule.field)
        if isinstance(rule, OneOf) and node.kind == "enum":
            unknown = [each for each in rule.values if each not in (*node.symbols, None)]
            if unknown:
                raise StartError(
                    f"topic {self._topic.name!r}: {what} {rule.field!r} expected symbols of "
                    f"{', '.join(node.symbols)}, got {unknown[0]!r}"
                )

    def _type_of(self, what: str, name: str, kinds: tuple[str, ...]) -> Type:
        node = self.reader.type_of(name)
        if node is None or node.value.kind not in kinds:
            got = "no such field" if node is None else describe(node)
            raise StartError(
                f"topic {self._topic.name!r}: {what} {name!r} expected a field of type "
                f"{' or '.join(kinds)} in {self._topic.schema_place}, got {got}"
            )
        return node.value


def _own_keys(
    origins: Origins, rows: NDArray[np.int64]
) -> tuple[Bytes, dict[int, tuple[Reason, str]]]:
    keys = strings(origins.keys(rows))
    faults: dict[int, tuple[Reason, str]] = {}
    if keys.valid is not None:
        for row in np.flatnonzero(~keys.valid).tolist():
            faults[row] = Reason.INVALID_VALUE, "key expected bytes, got null"
    return Bytes(keys.data, keys.starts, keys.lengths), faults


def _nulls(column: Column, name: str, expected: str, faults: dict[int, tuple[Reason, str]]) -> None:
    if column.valid is not None:
        for row in np.flatnonzero(~column.valid).tolist():
            faults.setdefault(row, _expected(name, expected, None))


def _expected(name: str, expected: str, got: Any) -> tuple[Reason, str]:
    return Reason.INVALID_VALUE, f"field {name} expected {expected}, got {shown(got)}"


__all__ = ["Checked", "DecodeRecords", "decode_records", "reader_of"]
