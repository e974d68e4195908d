"""The step `decode` of a served model: JSON, Avro or bytes, told by their content."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import Headers, RawBatch, SchemaError
from streamrec.dataflows.errors.failed import CONTENT_TYPE, Failed, Origins
from streamrec.dataflows.serving.inputs import ModelInputs
from streamrec.models.serving.contract import Raw
from streamrec.schemas.header_ids import HEADER_BYTES, key_in
from streamrec.schemas.json_codec import UnreadableError
from streamrec.schemas.json_text import parse_record, shown_bytes
from streamrec.schemas.plain import ValueDecoder
from streamrec.schemas.reasons import Reason
from streamrec.schemas.row_values import RowValues, plain_rows
from streamrec.schemas.served import SERVED
from streamrec.schemas.wire import Decoded

_NULL = "value expected {}, got null (a tombstone)"


@dataclass(frozen=True, slots=True)
class Reading:
    """How the values of a model's topic are read."""

    # Whatever Avro there is, as plain values; raises UnreadableError, SchemaError.
    any_avro: Callable[[bytes, Headers], Any]
    # Avro as the schema that is made of the model's; None: there is none, it is read as written.
    decoder: Callable[[], ValueDecoder] | None = None
    reader: RowValues | None = None
    # Of a record that was Avro, what the model's schema checks: a null may stand for no field.
    from_avro: Callable[[Any], Any] | None = None
    by_column: bool = False  # the model takes columns
    takes_bytes: bool = False
    content_type: str = ""  # of bytes whose headers do not say
    # Of each value as it is on the topic, what the model is given; raises ValueError.
    adapt: Callable[[Any], Any] | None = None


@dataclass(slots=True)
class _Read:
    """What was read of a batch, by row."""

    values: dict[int, Any] = field(default_factory=dict)
    failed: list[Failed] = field(default_factory=list)


class DecodeInputs:
    """Called with what one activation brought; emits `ModelInputs` of each lane, and `Failed`."""

    def __init__(self, readings: Mapping[str, Reading], shard_of: Callable[[int], str]) -> None:
        """`readings` by topic, as it is called on the log, one at least; `shard_of` a partition's
        lane."""
        self._of_topic = {
            topic: _DecodeTopic(reading, shard_of) for topic, reading in readings.items()
        }
        self.by_column = any(reading.by_column for reading in readings.values())
        # Of a topic that is read no more: its records may have waited for an answer at the stop.
        self._of_others = next(iter(self._of_topic.values()))

    def __call__(self, items: Sequence[RawBatch]) -> list[ModelInputs | Failed]:
        by_topic: dict[str, list[RawBatch]] = {}
        for batch in items:
            by_topic.setdefault(batch.topic, []).append(batch)
        out: list[ModelInputs | Failed] = []
        for topic, batches in by_topic.items():
            out += self._of_topic.get(topic, self._of_others)(batches)
        return out


class _DecodeTopic:
    def __init__(self, reading: Reading, shard_of: Callable[[int], str]) -> None:
        self._reading = reading
        self._shard_of = shard_of

    def __call__(self, items: Sequence[RawBatch]) -> list[ModelInputs | Failed]:
        by_shard: dict[str, list[RawBatch]] = {}
        for batch in items:
            by_shard.setdefault(self._shard_of(batch.partition), []).append(batch)
        out: list[ModelInputs | Failed] = []
        for shard, batches in by_shard.items():
            out += self._decode(shard, batches)
        return out

    def _decode(self, shard: str, batches: list[RawBatch]) -> list[ModelInputs | Failed]:
        """The messages of one lane."""
        origins, reading = Origins(batches), self._reading
        messages = [value for batch in batches for value in batch.values]
        if reading.takes_bytes:
            return _given(shard, origins, self._bytes(origins, messages))
        avro = [row for row, value in enumerate(messages) if _is_avro(value)]
        if len(avro) == len(messages) and reading.by_column and reading.decoder is not None:
            decoded = reading.decoder().decode(messages, origins.headers)
            # What was written as something else needs more than columns, and its neighbours too:
            # their order is kept.
            if all(f.reason != Reason.FAILS_RESOLUTION for f in decoded.failures):
                return self._columns(decoded, shard, origins)
        read = _Read()
        avro = sorted([*avro, *self._json(origins, messages, read)])
        if avro:
            self._avro(origins, messages, avro, read)
        return _given(shard, origins, read)

    def _bytes(self, origins: Origins, messages: list[bytes | None]) -> _Read:
        read = _Read()
        for row, value in enumerate(messages):
            if value is None:
                read.failed.append(origins.fail(row, Reason.UNDECODABLE, _NULL.format("bytes")))
                continue
            named = dict(origins.headers(row)).get(CONTENT_TYPE)
            told = self._reading.content_type if named is None else named.decode(errors="replace")
            read.values[row] = Raw(value, told)
        return read

    def _json(self, origins: Origins, messages: list[bytes | None], read: _Read) -> list[int]:
        """Reads what is JSON; returns the rows that are none and whose headers name a schema."""
        adapt = self._reading.adapt
        by_header: list[int] = []
        for row, value in enumerate(messages):
            if value is None:
                read.failed.append(origins.fail(row, Reason.UNDECODABLE, _NULL.format("JSON")))
                continue
            if value[:1] == b"\0" and len(value) >= HEADER_BYTES:
                continue
            try:
                found = parse_record(value)
            except ValueError as error:
                if key_in(origins.headers(row)) is not None:
                    by_header.append(row)
                    continue
                message = f"value expected JSON, got {shown_bytes(value)}: {error}"
                read.failed.append(origins.fail(row, Reason.UNDECODABLE, message))
                continue
            if adapt is None:
                read.values[row] = found
            else:
                self._adapted(origins, row, found, read)
        return by_header

    def _adapted(self, origins: Origins, row: int, found: Any, read: _Read) -> None:
        adapt = self._reading.adapt
        try:
            read.values[row] = found if adapt is None else adapt(found)
        except ValueError as error:
            read.failed.append(origins.fail(row, Reason.INVALID_VALUE, str(error)))

    def _avro(
        self, origins: Origins, messages: list[bytes | None], rows: list[int], read: _Read
    ) -> None:
        """Avro as the model's own schema; what is written with quite another, as it is."""
        reading = self._reading
        others = rows
        if reading.decoder is not None and reading.reader is not None:
            decoded = reading.decoder().decode(
                [messages[row] for row in rows], lambda index: origins.headers(rows[index])
            )
            found = plain_rows(reading.reader, decoded.columns, len(decoded.rows))
            for index, value in zip(decoded.rows.tolist(), found, strict=True):
                self._from_avro(origins, rows[index], value, read)
            others = []
            for failure in decoded.failures:
                row = rows[failure.row]
                if failure.reason == Reason.FAILS_RESOLUTION:
                    others.append(row)
                    continue
                read.failed.append(
                    origins.fail(row, failure.reason, failure.message, exception=failure.exception)
                )
        for row in others:
            value = messages[row]
            assert value is not None
            try:
                plain = reading.any_avro(value, origins.headers(row))
            except (UnreadableError, SchemaError) as error:
                read.failed.append(origins.fail(row, Reason.UNDECODABLE, str(error)))
                continue
            if isinstance(plain, dict):
                plain.pop(SERVED, None)  # of a model before this one
            self._from_avro(origins, row, plain, read)

    def _from_avro(self, origins: Origins, row: int, value: Any, read: _Read) -> None:
        from_avro = self._reading.from_avro
        self._adapted(origins, row, value if from_avro is None else from_avro(value), read)

    def _columns(
        self, decoded: Decoded, shard: str, origins: Origins
    ) -> list[ModelInputs | Failed]:
        out: list[ModelInputs | Failed] = [
            origins.fail(f.row, f.reason, f.message, exception=f.exception)
            for f in decoded.failures
        ]
        if len(decoded.rows):
            out.append(ModelInputs(shard, origins, decoded.rows, None, decoded.columns))
        return out


def _is_avro(value: bytes | None) -> bool:
    return value is not None and value[:1] == b"\0" and len(value) >= HEADER_BYTES


def _given(shard: str, origins: Origins, read: _Read) -> list[ModelInputs | Failed]:
    out: list[ModelInputs | Failed] = [*read.failed]
    if read.values:
        rows: NDArray[np.int64] = np.array(sorted(read.values), np.int64)
        values = [read.values[row] for row in rows.tolist()]
        out.append(ModelInputs(shard, origins, rows, values, None))
    return out


__all__ = ["DecodeInputs", "Reading"]
