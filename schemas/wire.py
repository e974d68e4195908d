"""Confluent wire format: magic byte 0, schema id (4 bytes, big-endian), Avro.

The header check, the choice of the writer's schema and the decoding of a batch are one kernel call,
whatever mixture of schema ids it holds.

In the newer format the id stands in a header of the record (`header_ids`). Where both could be
meant, what can be read whole by its prefix is, whatever its headers say: they are looked at for
values only that cannot. So a topic without them pays nothing, and what a record is read as does not
depend on its neighbours.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamrec.schemas import opcodes as op
from streamrec.schemas.columns import Columns
from streamrec.schemas.decoder import KernelDecoder, describe_fault
from streamrec.schemas.encoder import Encoded, Encoder
from streamrec.schemas.fallback import UndecodableError, UnresolvableError
from streamrec.schemas.header_ids import HEADER_BYTES, SchemaKey, SchemaOf, key_in, name_of
from streamrec.schemas.layout import Layout
from streamrec.schemas.opcodes import WireFault
from streamrec.schemas.parsing import parse
from streamrec.schemas.reasons import Reason
from streamrec.schemas.writers import Writers

HeadersOf = Callable[[int], Sequence[tuple[str, bytes | None]]]  # of a row


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


@dataclass
class _Batch:
    """Messages on their way through the kernel. Those with an id in a header have been given a
    prefix with an id that nothing else in the batch has."""

    values: list[bytes | None]
    keys: dict[int, SchemaKey] = field(default_factory=dict)  # by row, of headers
    names: dict[int, SchemaKey] = field(default_factory=dict)  # by the id that stands for a key

    def table(self, writers: Writers) -> NDArray[np.int64]:
        if not self.names:
            return writers.table
        own = [[given, writers.entry(key)] for given, key in self.names.items()]
        return np.concatenate([writers.table, np.array(own, np.int64)])


class WireDecoder:
    """Decodes batches of wire-format messages of any writer as one reader's schema.

    Schemas are asked for once and kept. Not safe for use by several threads at once.
    """

    def __init__(
        self,
        reader_schema: str,
        schema_of: SchemaOf,
        unknown_kept_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`reader_schema` is JSON text; `schema_of` is given an id, or a GUID as text, and may
        raise UnknownSchemaError, which is believed for `unknown_kept_s`; then a message with that
        id asks again.

        Raises InvalidSchemaError, UnsupportedSchemaError when columns cannot hold the records.
        """
        reader = parse(reader_schema)
        self._kernel = KernelDecoder(Layout(reader))
        self._own_entry = self._kernel.program.add(reader)
        self._writers = Writers(self._kernel, reader, schema_of, unknown_kept_s, clock)

    def decode(self, values: list[bytes | None], headers: HeadersOf | None = None) -> Decoded:
        """Decode messages; None (a tombstone) is not wire format. `headers` says those of a row.

        Lets what `schema_of` raises through, other than UnknownSchemaError: when the registry
        does not answer, nothing has been decoded and the same call can be made again.
        """
        columns, report = self._kernel.decode_list(values, self._writers.table, HEADER_BYTES)
        if not np.count_nonzero(report[0]):  # as nearly always
            return Decoded(np.arange(len(values)), columns, [])
        batch = _Batch(values)
        if headers is not None and self._take_headers(batch, report, headers):
            columns, report = self._run(batch)
            if self._drop_headers(batch, values, report):
                columns, report = self._run(batch)
        while self._learn(batch, report):
            columns, report = self._run(batch)
        if not np.count_nonzero(report[0]):
            return Decoded(np.arange(len(values)), columns, [])
        faults = report[:, report[0] != 0]
        failures = {
            row: self._failure(batch, row, fault)
            for row, fault in zip(
                np.flatnonzero(report[0]).tolist(), faults.T.tolist(), strict=True
            )
            if fault[0] != WireFault.SLOW_ID
        }
        if len(failures) < faults.shape[1]:
            columns, report = self._decode_slowly(batch, report, failures)
        by_row = [failures[row] for row in sorted(failures)]
        return Decoded(np.flatnonzero(report[0] == 0), columns, by_row)

    def _take_headers(self, batch: _Batch, report: NDArray[np.int64], headers: HeadersOf) -> bool:
        """Read by their headers the messages that cannot be read by their prefix; whether any."""
        for row in np.flatnonzero((report[0] != 0) & (report[0] != WireFault.SLOW_ID)).tolist():
            key = None if batch.values[row] is None else key_in(headers(row))
            if key is not None:
                batch.keys[row] = key
        if not batch.keys:
            return False
        self._writers.learn(dict.fromkeys(batch.keys.values()))
        # Ids that neither a known writer nor a message of this batch has.
        taken = {*self._writers.table[:, 0].tolist(), *_unknown_ids(report)}
        free = (given for given in range(len(taken) + len(batch.keys) + 1) if given not in taken)
        ids = {key: next(free) for key in dict.fromkeys(batch.keys.values())}
        batch.names = {given: key for key, given in ids.items()}
        batch.values = list(batch.values)
        for row, key in batch.keys.items():
            batch.values[row] = _prefix(ids[key]) + (batch.values[row] or b"")
        return True

    def _drop_headers(
        self, batch: _Batch, values: list[bytes | None], report: NDArray[np.int64]
    ) -> bool:
        """Give up headers by which a message cannot be read where its prefix may still do: headers
        of another record may have been passed on. Whether there are any."""
        dropped = False
        for row in list(batch.keys):
            value = values[row]
            assert value is not None
            if report[0, row] in (WireFault.NONE, WireFault.SLOW_ID) or value[:1] != b"\0":
                continue
            if len(value) < HEADER_BYTES:
                continue
            prefix_id = int.from_bytes(value[1:HEADER_BYTES], "big")
            if prefix_id not in self._writers.entries and prefix_id not in batch.names:
                del batch.keys[row]
                batch.values[row] = value
                dropped = True
        return dropped

    def _decode_slowly(
        self, batch: _Batch, report: NDArray[np.int64], failures: dict[int, Failure]
    ) -> tuple[Columns, NDArray[np.int64]]:
        """Decode again with the slow messages replaced by messages of the reader's own schema.

        They get a schema id of their own, which is safe because no other unknown id is left: what
        has failed is taken out. What fails now is added to `failures`.
        """
        batch.values = [None if row in failures else v for row, v in enumerate(batch.values)]
        table = batch.table(self._writers)
        own_id = next(i for i in range(len(table) + 1) if i not in table[:, 0])
        for row in np.flatnonzero(report[0] == WireFault.SLOW_ID).tolist():
            value = batch.values[row]
            assert value is not None
            place = int(report[2, row])
            transcoder = self._writers.transcoders[batch.names.get(place, place)]
            try:
                batch.values[row] = _prefix(own_id) + transcoder.transcode(value[HEADER_BYTES:])
            except UndecodableError as error:
                failures[row] = Failure.of(row, Reason.UNDECODABLE, str(error))
                batch.values[row] = None
            except UnresolvableError as error:
                failures[row] = Failure.of(row, Reason.FAILS_RESOLUTION, str(error))
                batch.values[row] = None
        table = np.concatenate([table, [[own_id, self._own_entry]]])
        columns, report = self._kernel.decode_list(batch.values, table, HEADER_BYTES)
        for row in np.flatnonzero(report[0]).tolist():
            if row not in failures:
                failures[row] = self._failure(batch, row, report[:, row].tolist())
        return columns, report

    def _run(self, batch: _Batch) -> tuple[Columns, NDArray[np.int64]]:
        return self._kernel.decode_list(batch.values, batch.table(self._writers), HEADER_BYTES)

    def _learn(self, batch: _Batch, report: NDArray[np.int64]) -> bool:
        """Ask for the schemas of ids met for the first time; whether any became known."""
        return self._writers.learn(i for i in _unknown_ids(report) if i not in batch.names)

    def _failure(self, batch: _Batch, row: int, report: list[int]) -> Failure:
        fault, position, place = WireFault(report[0]), report[1], report[2]
        value = batch.values[row]
        if fault == WireFault.NOT_WIRE_FORMAT:
            got = "null" if value is None else f"{len(value)} bytes {value[:HEADER_BYTES]!r}"
            message = f"value expected magic byte 0, a schema id of 4 bytes and Avro, got {got}"
            return Failure.of(row, Reason.NOT_WIRE_FORMAT, message)
        key = batch.names.get(place, place)
        if fault == WireFault.UNKNOWN_ID:
            what, name = ("id", key) if isinstance(key, int) else ("GUID", repr(key))
            message = f"schema {what} expected one that the registry knows, got {name}"
            if why := self._writers.why_unknown(key):
                message = f"{message} ({why})"
            return Failure.of(row, Reason.UNKNOWN_SCHEMA_ID, message)
        if fault == WireFault.UNRESOLVED_ID:
            error = self._writers.errors[key]
            message = f"{name_of(key)}: {error}"
            return Failure(row, Reason.FAILS_RESOLUTION, type(error).__name__, message)
        assert value is not None
        if row in batch.keys:  # it has no prefix
            value, position = value[HEADER_BYTES:], position - HEADER_BYTES
        message = describe_fault(fault, self._kernel.program.names[place], value, position)
        if fault in op.RESOLUTION_FAULTS:
            return Failure.of(row, Reason.FAILS_RESOLUTION, message)
        return Failure.of(row, Reason.UNDECODABLE, message)


def _unknown_ids(report: NDArray[np.int64]) -> list[int]:
    found: list[int] = np.unique(report[2, report[0] == WireFault.UNKNOWN_ID]).tolist()
    return found


def _prefix(schema_id: int) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big")


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
