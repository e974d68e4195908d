"""What goes out becomes Avro in wire format, JSON or bytes, partition by partition."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.out import Out, Sources, by_partition
from streamrec.dataflows.errors.failed import Failed
from streamrec.schemas import hashing
from streamrec.schemas.columns import Bytes, Columns
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
    Record i answers row `rows[i]` of `inputs`; None: records answer no input, and a restart may
    repeat them.
    Where an input has several, `kinds` and `numbers` tell them apart, and stand in the fields that
    the topic's row names.
    """

    columns: Columns
    inputs: InputBatch | None = None
    rows: NDArray[np.int64] | None = None  # (n,)
    kinds: str | Sequence[str] = ""  # of all, or of each
    numbers: NDArray[np.int64] | None = None  # (n,); None: 0


# From what a step emitted, in the order in which it did, to the records that are written of it.
ColumnsOf = Callable[[list[Any]], Iterable[Records]]


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """What is asked of a step `encode ...`."""

    key_field: str  # of the columns, a string
    max_message_bytes: int
    reads_back: bool  # a restart finds by each record which input it answers
    keeps_failed: bool  # emit what cannot be encoded; else it stops the flow


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
        name = self._options.key_field
        key_column = records.columns.get(name)
        if not isinstance(key_column, Bytes):
            got = "none" if key_column is None else type(key_column).__name__
            raise TypeError(f"field {name} expected a column of strings, the key, got {got}")
        sources = self._sources(records, len(key_column))
        encoded = self._encoder().encode(records.columns)
        targets = hashing.partitions(key_column, self._partitions())
        keys, values = keys_of(key_column), encoded.values
        if encoded.failures or max(map(len, values), default=0) > self._options.max_message_bytes:
            good = self._take_out_failures(records, encoded, out)
            values = [values[index] for index in good.tolist()]
            kept = encoded.rows[good]
            keys, targets = [keys[row] for row in kept], targets[kept]
            sources = None if sources is None else sources.take(kept)
        out.extend(by_partition(targets, keys, values, sources))

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
        self, records: Records, encoded: Encoded, out: list[Out | Failed]
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
        sizes = np.array(list(map(len, encoded.values)), np.int64)
        is_small = sizes <= largest
        for index in np.flatnonzero(~is_small).tolist():
            fail(
                int(encoded.rows[index]),
                Reason.OUTPUT_TOO_LARGE,
                f"record expected at most {largest} bytes, got {int(sizes[index])}",
            )
        return np.flatnonzero(is_small)


__all__ = ["ColumnsOf", "Encode", "EncodeOptions", "InputBatch", "Records", "UnencodableError"]
