"""Confluent wire format: magic byte 0, schema id (4 bytes, big-endian), Avro.

The header check, the choice of the writer's schema and the decoding of a batch are one kernel call,
whatever mixture of schema ids it holds.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamrec.schemas import opcodes as op
from streamrec.schemas.columns import Columns
from streamrec.schemas.decoder import KernelDecoder, describe_fault
from streamrec.schemas.encoder import Encoded, Encoder
from streamrec.schemas.fallback import Transcoder, UndecodableError, UnresolvableError
from streamrec.schemas.layout import Layout
from streamrec.schemas.opcodes import Fault
from streamrec.schemas.parsing import InvalidSchemaError, UnsupportedSchemaError, parse
from streamrec.schemas.reasons import Reason
from streamrec.schemas.registry import SchemaError, UnknownSchemaError
from streamrec.schemas.resolution import ResolutionError

HEADER_BYTES = 5
_NO_ID = -1  # ids on the wire are unsigned, so none equals it
_UNKNOWN_IDS_MAX = 10_000


class Failure(NamedTuple):
    """A message that could not be decoded."""

    row: int  # of the input
    reason: Reason
    exception: str  # class name for the error record
    message: str

    @classmethod
    def of(cls, row: int, reason: Reason, message: str) -> "Failure":
        return cls(row, reason, reason.exception, message)


@dataclass(frozen=True, slots=True)
class Decoded:
    """The good messages as columns, in order, and why the others are not among them."""

    rows: NDArray[np.int64]  # (rows of the columns,), which message of the input; increasing
    columns: Columns
    failures: list[Failure]  # by row


class WireDecoder:
    """Decodes batches of wire-format messages of any writer as one reader's schema.

    Schemas are asked for by id once and kept. Not safe for use by several threads at once.
    """

    def __init__(
        self,
        reader_schema: str,
        schema_by_id: Callable[[int], str],
        unknown_kept_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`reader_schema` is JSON text; `schema_by_id` may raise UnknownSchemaError for an id,
        which is believed for `unknown_kept_s`; then a message with that id asks again.

        Raises InvalidSchemaError, UnsupportedSchemaError when columns cannot hold the records.
        """
        self._reader = parse(reader_schema)
        self._kernel = KernelDecoder(Layout(self._reader))
        self._own_entry = self._kernel.program.add(self._reader)
        self._schema_by_id = schema_by_id
        self._unknown_kept_s = unknown_kept_s
        self._clock = clock
        self._writers = np.array([[_NO_ID, -Fault.UNKNOWN_ID]], np.int64)
        self._unknown_until: dict[int, float] = {}
        self._unresolved: dict[int, Exception] = {}
        self._transcoders: dict[int, Transcoder] = {}

    def decode(self, values: list[bytes | None]) -> Decoded:
        """Decode messages; None (a tombstone) is not wire format.

        Lets what `schema_by_id` raises through, other than UnknownSchemaError: when the registry
        does not answer, nothing has been decoded and the same call can be made again.
        """
        while True:
            columns, report = self._run(values, self._writers)
            rows = len(values)
            good = rows - int(np.count_nonzero(report[0]))
            if good == rows:
                return Decoded(np.arange(rows), columns, [])
            if not self._learn(report):
                break
        faults = report[:, report[0] != 0]
        failures = {
            row: self._failure(row, values[row], fault)
            for row, fault in zip(
                np.flatnonzero(report[0]).tolist(), faults.T.tolist(), strict=True
            )
            if fault[0] != Fault.SLOW_ID
        }
        if len(failures) < faults.shape[1]:
            columns, report = self._decode_slowly(values, report, failures)
        by_row = [failures[row] for row in sorted(failures)]
        return Decoded(np.flatnonzero(report[0] == 0), columns, by_row)

    def _decode_slowly(
        self, values: list[bytes | None], report: NDArray[np.int64], failures: dict[int, Failure]
    ) -> tuple[Columns, NDArray[np.int64]]:
        """Decode again with the slow messages replaced by messages of the reader's own schema.

        They get a schema id of their own, which is safe because no other unknown id is left: what
        has failed is taken out. What fails now is added to `failures`.
        """
        values = [None if row in failures else value for row, value in enumerate(values)]
        own_id = next(i for i in range(len(self._writers) + 1) if i not in self._writers[:, 0])
        header = b"\0" + own_id.to_bytes(4, "big")
        for row in np.flatnonzero(report[0] == Fault.SLOW_ID).tolist():
            value = values[row]
            assert value is not None
            transcoder = self._transcoders[int(report[2, row])]
            try:
                values[row] = header + transcoder.transcode(value[HEADER_BYTES:])
            except UndecodableError as error:
                failures[row] = Failure.of(row, Reason.UNDECODABLE, str(error))
                values[row] = None
            except UnresolvableError as error:
                failures[row] = Failure.of(row, Reason.FAILS_RESOLUTION, str(error))
                values[row] = None
        writers = np.concatenate([self._writers, [[own_id, self._own_entry]]])
        columns, report = self._run(values, writers)
        for row in np.flatnonzero(report[0]).tolist():
            if row not in failures:
                failures[row] = self._failure(row, values[row], report[:, row].tolist())
        return columns, report

    def _run(
        self, values: list[bytes | None], writers: NDArray[np.int64]
    ) -> tuple[Columns, NDArray[np.int64]]:
        return self._kernel.decode_list(values, writers, HEADER_BYTES)

    def _learn(self, report: NDArray[np.int64]) -> bool:
        """Ask for the schemas of ids met for the first time; whether any became known."""
        unknown = np.unique(report[2, report[0] == Fault.UNKNOWN_ID]).tolist()
        if not unknown:
            return False
        now = self._clock()
        if len(self._unknown_until) > _UNKNOWN_IDS_MAX:  # garbage makes up new ids without end
            self._unknown_until.clear()
        learned = False
        for schema_id in unknown:
            if self._unknown_until.get(schema_id, now) > now:
                continue
            try:
                schema = self._schema_by_id(schema_id)
            except UnknownSchemaError:
                self._unknown_until[schema_id] = now + self._unknown_kept_s
                continue
            except SchemaError as error:  # known, but no Avro, or not for us
                self._unresolved[schema_id] = error
                entry = -Fault.UNRESOLVED_ID
            else:
                entry = self._compile(schema_id, schema)
            self._unknown_until.pop(schema_id, None)
            self._writers = np.concatenate([self._writers, [[schema_id, entry]]])
            learned = True
        return learned

    def _compile(self, schema_id: int, schema: str) -> int:
        try:
            writer = parse(schema)
            try:
                return self._kernel.program.add(writer)
            except UnsupportedSchemaError:
                self._transcoders[schema_id] = Transcoder(writer, self._reader)
                return -Fault.SLOW_ID
        except (InvalidSchemaError, ResolutionError, UnsupportedSchemaError) as error:
            self._unresolved[schema_id] = error
            return -Fault.UNRESOLVED_ID

    def _failure(self, row: int, value: bytes | None, report: list[int]) -> Failure:
        fault, position, place = Fault(report[0]), report[1], report[2]
        if fault == Fault.NOT_WIRE_FORMAT:
            got = "null" if value is None else f"{len(value)} bytes {value[:HEADER_BYTES]!r}"
            message = f"value expected magic byte 0, a schema id of 4 bytes and Avro, got {got}"
            return Failure.of(row, Reason.NOT_WIRE_FORMAT, message)
        if fault == Fault.UNKNOWN_ID:
            message = f"schema id expected one that the registry knows, got {place}"
            return Failure.of(row, Reason.UNKNOWN_SCHEMA_ID, message)
        if fault == Fault.UNRESOLVED_ID:
            error = self._unresolved[place]
            message = f"schema id {place}: {error}"
            return Failure(row, Reason.FAILS_RESOLUTION, type(error).__name__, message)
        assert value is not None
        message = describe_fault(fault, self._kernel.program.names[place], value, position)
        if fault in op.RESOLUTION_FAULTS:
            return Failure.of(row, Reason.FAILS_RESOLUTION, message)
        return Failure.of(row, Reason.UNDECODABLE, message)


class WireEncoder:
    """Encodes columns as wire-format messages under one schema id."""

    def __init__(self, schema: str, schema_id: int) -> None:
        """`schema` is JSON text. Raises InvalidSchemaError, UnsupportedSchemaError, and ValueError
        for an id that 4 bytes cannot hold."""
        if not 0 <= schema_id < 1 << 32:
            raise ValueError(f"schema id expected 0 to {(1 << 32) - 1}, got {schema_id!r}")
        self.schema_id = schema_id
        self._encoder = Encoder(schema)

    def encode(self, columns: Columns) -> Encoded:
        """Encode every row; see `Encoder.encode`."""
        return self._encoder.encode(columns, self.schema_id)
