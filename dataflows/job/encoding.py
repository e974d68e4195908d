"""What goes out becomes Avro in wire format, JSON or bytes, partition by partition."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import Headers
from streamrec.connectors.out import Out, Sources, by_partition
from streamrec.connectors.sizes import size_of, surely_fit
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.answers import SOURCE_HEADER, with_ids
from streamrec.schemas import hashing
from streamrec.schemas.columns import Bytes, Columns, strings
from streamrec.schemas.encoder import Encoded
from streamrec.schemas.placing import keys_of
from streamrec.schemas.plain import ValueEncoder
from streamrec.schemas.reasons import Reason


class UnencodableError(Exception):
    """A record cannot be encoded, and its dataflow has no place for those that cannot."""


class InputBatch(Protocol):
    """A batch of inputs, as what answers it must know it (`dataflows.steps.records`)."""

    @property
    def topic(self) -> str | Sequence[str]:
        """From which it came; of each row, where they came from several."""

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(m, 2): partition and offset of chosen rows."""

    def fail(
        self, row: int, reason: Reason, message: str, error: Exception | None = None
    ) -> Failed:
        """The failure of one row."""


@dataclass(frozen=True, slots=True)
class Records:
    """n records of one topic, as columns, and the inputs that they answer.

    `columns` has an entry for each field of the topic's schema (see `schemas.columns`); of a topic
    without one, `value` (bytes, or JSON as UTF-8) and the key, a string (`Topic.key_column`).
    `values` are used in place of the columns, as they are: whoever made them vouches for them, as
    for what `json.dumps` said. `keys` are used in place of the key's column.
    Record i answers row `rows[i]` of `inputs`; None: records answer no input, and a restart may
    repeat them.
    Where an input has several, `kinds` and `numbers` tell them apart, and stand in the fields that
    the topic's row names, or in headers (`Topic(answers="headers")`).
    A record without a key goes to the partition that its input's has, modulo how many there are.
    """

    columns: Columns
    inputs: InputBatch | None = None
    rows: NDArray[np.int64] | None = None  # (n,)
    kinds: str | Sequence[str] = ""  # of all, or of each
    numbers: NDArray[np.int64] | None = None  # (n,); None: 0
    keys: Sequence[bytes | None] | None = None  # n
    values: Sequence[bytes] | None = None  # n, encoded
    headers: Sequence[Headers] | None = None  # n; None: no record has any
    tells_itself: bool = False  # headers have already the ids of `job.answers`
    # (n,) the log's, Unix ms; None, and NO_TIMESTAMP_MS in it: the time of writing.
    times_ms: NDArray[np.int64] | None = None


# From what a step emitted, in the order in which it did, to the records that are written of it.
ColumnsOf = Callable[[list[Any]], Iterable[Records]]


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """What is asked of a step `encode ...`."""

    key_field: str  # of the columns, a string
    max_message_bytes: int
    reads_back: bool  # a restart finds by each record which input it answers
    keeps_failed: bool  # emit what cannot be encoded; else it stops the flow
    # The dataflow, where headers tell which output a record is; None: its fields do, or nothing.
    told_in_headers_of: str | None = None


class Encode:
    """Takes what a step emitted, emits `Out`s by partition, and `Failed` for inputs whose record
    cannot be encoded or is too large."""

    def __init__(
        self,
        columns_of: ColumnsOf,
        encoder: Callable[[], ValueEncoder],  # one for each worker
        partitions: Callable[[], int],  # of the topic that is written
        options: EncodeOptions,
    ) -> None:
        self._columns_of = columns_of
        self._encoder = encoder
        self._partitions = partitions
        self._options = options

    def __call__(self, items: list[Any]) -> list[Out | Failed]:
        out: list[Out | Failed] = []
        for records in self._columns_of(items):
            self._encode(records, out)
        return out

    def _encode(self, records: Records, out: list[Out | Failed]) -> None:
        keys, column = self._keys(records)
        n = len(keys)
        _check_lengths(records, n)
        sources = self._sources(records, n)
        headers = records.headers
        by = self._options.told_in_headers_of
        if by is not None and records.tells_itself:
            _check_told(headers)
        if by is not None and sources is not None and not records.tells_itself:
            headers = with_ids(headers, sources, by)
        targets = self._targets(column, sources)
        encoded = (
            self._encoder().encode(records.columns)
            if records.values is None
            else Encoded(list(records.values), np.arange(n), [])
        )
        values, times_ms = encoded.values, records.times_ms
        if headers is not None:
            headers = list(headers)
        if encoded.failures or not self._all_fit(records, encoded, headers):
            good = self._take_out_failures(records, encoded, keys, headers, out)
            values = [values[index] for index in good.tolist()]
            kept = encoded.rows[good]
            rows = kept.tolist()
            keys, targets = [keys[row] for row in rows], targets[kept]
            sources = None if sources is None else sources.take(kept)
            headers = None if headers is None else [headers[row] for row in rows]
            times_ms = None if times_ms is None else times_ms[kept]
        out.extend(by_partition(targets, keys, values, sources, headers, times_ms))

    def _keys(self, records: Records) -> tuple[list[bytes | None], Bytes]:
        """The keys of records, as a list and as a column."""
        if records.keys is not None:
            return list(records.keys), strings(records.keys)
        name = self._options.key_field
        column = records.columns.get(name)
        if not isinstance(column, Bytes):
            got = "none" if column is None else type(column).__name__
            raise TypeError(f"field {name} expected a column of strings, the key, got {got}")
        keys = keys_of(column)
        if column.valid is not None:
            keys = [
                key if there else None
                for key, there in zip(keys, column.valid.tolist(), strict=True)
            ]
        return keys, column

    def _targets(self, keys: Bytes, sources: Sources | None) -> NDArray[np.int32]:
        """(n,) partitions: by key, as every client of Kafka has it."""
        count = self._partitions()
        targets = hashing.partitions(keys, count)
        if keys.valid is None or keys.valid.all():
            return targets
        # What came in order, without a key, stays in order.
        where = np.arange(len(keys)) if sources is None else sources.places[:, 0]
        return np.where(keys.valid, targets, where % count).astype(np.int32)

    def _all_fit(self, records: Records, encoded: Encoded, headers: list[Headers] | None) -> bool:
        limit = self._options.max_message_bytes
        return surely_fit(limit, records.keys or (), encoded.values, headers)

    def _sources(self, records: Records, count: int) -> Sources | None:
        """What tells each record; None: they answer no input."""
        if records.inputs is None:
            if self._options.reads_back:
                raise ValueError(
                    "records of a topic with `answers` expected the inputs that they answer, got "
                    "none"
                )
            return None
        rows = records.rows
        if rows is None or len(rows) != count:
            got = "none" if rows is None else str(len(rows))
            raise ValueError(f"rows expected {count}, one for each record, got {got}")
        topics = records.inputs.topic
        if not isinstance(topics, str):
            topics = [topics[row] for row in rows.tolist()]
        places = records.inputs.places(rows)
        sources = Sources(places, topics, records.kinds, records.numbers)
        # Rows rise in all that goes by the batch, which is cheap to see.
        if self._options.reads_back and not (rows[1:] > rows[:-1]).all():
            (output, most), *_ = Counter(sources.ids()).most_common(1)
            if most > 1:
                told = f", kind {output.kind!r}, number {output.number}"
                raise ValueError(
                    "a topic with `answers` expected one record for an input, a kind and a number, "
                    f"got {most} for partition {output.partition}, offset {output.offset}"
                    f"{told if output.kind or output.number else ''}"
                )
        return sources

    def _take_out_failures(
        self,
        records: Records,
        encoded: Encoded,
        keys: list[bytes | None],
        headers: list[Headers] | None,
        out: list[Out | Failed],
    ) -> NDArray[np.int64]:
        """Emit what failed; returns which of the encoded values may be written."""

        def fail(row: int, reason: Reason, message: str) -> None:
            if records.inputs is None or not self._options.keeps_failed:
                raise UnencodableError(message)
            assert records.rows is not None
            failed = records.inputs.fail(int(records.rows[row]), reason, message)
            kinds, numbers = records.kinds, records.numbers
            kind = kinds if isinstance(kinds, str) else kinds[row]
            number = 0 if numbers is None else int(numbers[row])
            out.append(replace(failed, kind=kind, number=number))

        for failure in encoded.failures:
            fail(failure.row, Reason.OUTPUT_UNENCODABLE, failure.message)
        largest = self._options.max_message_bytes
        # A key that is a field of the value is counted there.
        sizes = np.array(
            [
                size_of(
                    None if records.keys is None else keys[row],
                    value,
                    None if headers is None else headers[row],
                )
                for row, value in zip(encoded.rows.tolist(), encoded.values, strict=True)
            ],
            np.int64,
        )
        is_small = sizes <= largest
        for index in np.flatnonzero(~is_small).tolist():
            fail(
                int(encoded.rows[index]),
                Reason.OUTPUT_TOO_LARGE,
                f"record expected at most {largest} bytes, got {int(sizes[index])}",
            )
        return np.flatnonzero(is_small)


def _check_told(headers: Sequence[Headers] | None) -> None:
    """A restart would find none of records that do not tell which outputs they are."""
    if headers is None or (headers and all(name != SOURCE_HEADER for name, _ in headers[0])):
        raise ValueError(
            f"records that tell themselves expected a header {SOURCE_HEADER!r}, got none"
        )


def _check_lengths(records: Records, n: int) -> None:
    for name in ("values", "headers", "times_ms"):
        given = getattr(records, name)
        if given is not None and len(given) != n:
            raise ValueError(f"{name} expected {n}, one for each record, got {len(given)}")


__all__ = ["ColumnsOf", "Encode", "EncodeOptions", "InputBatch", "Records", "UnencodableError"]
