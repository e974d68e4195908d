"""Values without a schema: bytes as they are, and JSON. One column, `value`, holds them.

They are decoded and encoded by the same calls as Avro in wire format (`wire`), and no registry is
asked.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from streamrec.schemas.columns import VALUE, Bytes, Columns, strings
from streamrec.schemas.encoder import Encoded, EncodeFailure
from streamrec.schemas.json_text import parse_record, shown_bytes
from streamrec.schemas.opcodes import WireFault
from streamrec.schemas.placing import keys_of
from streamrec.schemas.reasons import Reason
from streamrec.schemas.wire import Decoded, Failure, HeadersOf


class ValueDecoder(Protocol):
    """Decodes batches of values: `wire.WireDecoder`, and those below."""

    def decode(self, values: list[bytes | None], headers: HeadersOf | None = None) -> Decoded:
        """The good ones as columns, and why the others are not among them."""


class ValueEncoder(Protocol):
    """Encodes columns as values: `wire.WireEncoder`, and those below."""

    def encode(self, columns: Columns) -> Encoded:
        """Every row. Raises ValueError and TypeError as `Encoder.encode` does."""


@dataclass(frozen=True, slots=True)
class DecodedJson(Decoded):
    """The good ones as text in a column, and what they say."""

    parsed: list[Any]  # one for each of `rows`


class BytesDecoder:
    """Takes whatever bytes there are; a tombstone has none."""

    def decode(self, values: list[bytes | None], headers: HeadersOf | None = None) -> Decoded:
        failures = [
            Failure.of(row, Reason.UNDECODABLE, "value expected bytes, got null (a tombstone)")
            for row, value in enumerate(values)
            if value is None
        ]
        rows = [row for row, value in enumerate(values) if value is not None]
        columns: Columns = {VALUE: strings([values[row] for row in rows])}
        return Decoded(np.array(rows, np.int64), columns, failures)


class JsonTextDecoder:
    """Takes values that are JSON (`json_text.parse_record`)."""

    def decode(self, values: list[bytes | None], headers: HeadersOf | None = None) -> DecodedJson:
        rows: list[int] = []
        parsed: list[Any] = []
        failures: list[Failure] = []
        for row, value in enumerate(values):
            if value is None:
                message = "value expected JSON, got null (a tombstone)"
                failures.append(Failure.of(row, Reason.UNDECODABLE, message))
                continue
            try:
                parsed.append(parse_record(value))
            except ValueError as error:
                message = f"value expected JSON, got {shown_bytes(value)}: {error}"
                failures.append(Failure.of(row, Reason.UNDECODABLE, message))
                continue
            rows.append(row)
        columns: Columns = {VALUE: strings([values[row] for row in rows])}
        return DecodedJson(np.array(rows, np.int64), columns, failures, parsed)


class BytesEncoder:
    """Writes the column `value` as it is."""

    def encode(self, columns: Columns) -> Encoded:
        column = columns.get(VALUE)
        if not isinstance(column, Bytes):
            got = "none" if column is None else type(column).__name__
            raise TypeError(f"field {VALUE} expected a column of bytes, got {got}")
        values = keys_of(column)
        failures: list[EncodeFailure] = []
        for row, value in enumerate(values):
            assert value is not None
            if column.valid is not None and not column.valid[row]:
                message = f"field {VALUE} expected bytes, got null"
                failures.append(EncodeFailure(row, WireFault.UNEXPECTED_NULL, VALUE, message))
            elif why := self.complaint_of(value):
                failures.append(EncodeFailure(row, WireFault.NOT_JSON, VALUE, why))
        bad = {failure.row for failure in failures}
        good = [row for row in range(len(values)) if row not in bad]
        kept = [value for row in good if (value := values[row]) is not None]
        return Encoded(kept, np.array(good, np.int64), failures)

    def complaint_of(self, value: bytes) -> str:
        """Why a value cannot be written; empty: it can."""
        return ""


class JsonTextEncoder(BytesEncoder):
    """Writes the column `value`, whose rows must be JSON."""

    def complaint_of(self, value: bytes) -> str:
        try:
            parse_record(value)
        except ValueError as error:
            return f"field {VALUE} expected JSON, got {shown_bytes(value)}: {error}"
        return ""


__all__ = [
    "BytesDecoder",
    "BytesEncoder",
    "DecodedJson",
    "JsonTextDecoder",
    "JsonTextEncoder",
    "ValueDecoder",
    "ValueEncoder",
]
