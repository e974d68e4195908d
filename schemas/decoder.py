"""Joined Avro messages to columns: the Python side of the decode kernel."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamrec.schemas import opcodes as op
from streamrec.schemas.arenas import Arenas
from streamrec.schemas.columns import Columns
from streamrec.schemas.decode_kernel import decode_messages, join, measure
from streamrec.schemas.fallback import Transcoder, UndecodableError, UnresolvableError
from streamrec.schemas.layout import Layout
from streamrec.schemas.opcodes import EXPECTED, WireFault
from streamrec.schemas.parsing import UnsupportedSchemaError, parse
from streamrec.schemas.resolution import Program

_GROWTH = 2.0
_SHRINKAGE = 0.9  # by batch; forgets one batch of long lists without trembling


class DecodeResult(NamedTuple):
    """Columns of the messages that decoded, in order, and what became of every message."""

    columns: Columns
    status: NDArray[np.int64]  # (n,), a WireFault; 0: decoded
    position: NDArray[np.int64]  # (n,), byte within the message; meaningful where status is not 0
    field: NDArray[np.int64]  # (n,), index into `field_names`; meaningful where status is not 0


class KernelDecoder:
    """Fills columns of one reader's schema from messages of the writers in its program."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.program = Program(layout)
        self._code = np.zeros(0, np.int64)
        levels = len(layout.item_bytes_min)
        self._items_per_byte = [0.02] * levels  # by list, what the last batches held
        self._arenas = Arenas()
        self._bounds = np.empty(0, np.int64)
        self._report = np.empty((3, 0), np.int64)
        self._list_slots = [leaf.slot for leaf in layout.leaves if leaf.item is not None]

    def decode_list(
        self, values: list[bytes | None], writers: NDArray[np.int64], header: int
    ) -> tuple[Columns, NDArray[np.int64]]:
        """Decode messages from bytes objects; None counts as an empty one.

        Like `decode`, but the bytes are joined into the arena of the columns.
        """
        rows = len(values)
        if len(self._bounds) <= rows:
            self._bounds = np.empty(2 * rows + 64, np.int64)
        bounds = self._bounds[: rows + 1]
        used = measure(id(values), id(None), bounds)
        pool = self.program.pool
        size = used + len(pool)
        arena = self._arenas.take((size + 7) // 8)
        data = arena.view(np.uint8)[:size]
        join(id(values), bounds, data)
        if pool:
            data[used:] = np.frombuffer(pool, np.uint8)
        return self.decode(data, bounds[:-1], bounds[1:], writers, header)

    def decode(
        self,
        data: NDArray[np.uint8],
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
        writers: NDArray[np.int64],
        header: int,
    ) -> tuple[Columns, NDArray[np.int64]]:
        """Decode data[starts[i]:ends[i]]; `data` ends with the program's pool of defaults.

        `writers` (k, 2) int64: schema id and entry. Returns the columns of the good messages, which
        are views of `data`, and the report (3, n): fault, byte, field, valid until the next call.
        """
        if len(self._code) != len(self.program.code):
            self._code = np.array(self.program.code, np.int64)
        rows = len(starts)
        levels = len(self._items_per_byte)
        pool_at = len(data) - len(self.program.pool)
        if self._report.shape[1] < rows:
            self._report = np.empty((3, 2 * rows), np.int64)
        while True:
            sizes = [rows, *self._capacities(pool_at)] if levels else [rows]
            bases, arena_size = self.layout.bases(sizes)
            arena = self._arenas.take(arena_size)
            for slot in self._list_slots:
                arena[bases[slot]] = 0
            fixed = [header, pool_at, levels, 0, -1]
            frame = np.array(fixed + sizes[1:] + [0] * levels + bases, np.int64)
            decode_messages(data, starts, ends, self._code, writers, frame, arena, self._report)
            out = frame[: op.FRAME_FIXED + 2 * levels].tolist()
            full = out[op.FRAME_STOP]
            if full < 0:
                break
            # Rare: lists are longer than those of the batches before. Starting again bounds memory
            # by what the messages really hold, whatever lengths the bad ones claim.
            self._items_per_byte[full - 1] *= _GROWTH
        counts = out[op.FRAME_FIXED + levels :]
        for level in range(levels):
            seen = 1.25 * counts[level] / max(pool_at, 1)
            self._items_per_byte[level] = max(seen, self._items_per_byte[level] * _SHRINKAGE)
        columns = self.layout.columns(data, arena, bases, [out[op.FRAME_GOOD], *counts])
        return columns, self._report[:, :rows]

    def _capacities(self, size: int) -> list[int]:
        # Every default may hold items too, and they are not part of the messages' size.
        return [int(ratio * size) + 64 for ratio in self._items_per_byte]


class Decoder:
    """Decodes messages without header of one writer's schema as the reader's schema."""

    def __init__(self, writer_schema: str, reader_schema: str) -> None:
        """Both schemas are JSON text.

        Raises InvalidSchemaError, ResolutionError when nothing of the writer can be read, and
        UnsupportedSchemaError when columns cannot hold the reader's records. A writer that the
        kernel does not cover takes the slow path, which `is_fast` tells.
        """
        writer, reader = parse(writer_schema), parse(reader_schema)
        self._kernel = KernelDecoder(Layout(reader))
        self._transcoder: Transcoder | None = None
        try:
            entry = self._kernel.program.add(writer)
        except UnsupportedSchemaError:
            self._transcoder = Transcoder(writer, reader)
            entry = self._kernel.program.add(reader)
        self._writers = np.array([[0, entry]], np.int64)

    @property
    def is_fast(self) -> bool:
        return self._transcoder is None

    @property
    def field_names(self) -> list[str]:
        """Dotted names by `DecodeResult.field`."""
        return self._kernel.program.names

    def decode(
        self, data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> DecodeResult:
        """Decode the messages data[starts[i]:ends[i]] (uint8 (bytes,), int64 (n,), int64 (n,)).

        A message that fails leaves no row and says why in `status`. Strings and bytes are spans of
        `data`, or of a copy when it is read-only or the reader's schema has defaults to append.
        Raises ValueError for spans outside `data`.
        """
        if len(starts) != len(ends):
            raise ValueError(f"ends expected {len(starts)} values as starts, got {len(ends)}")
        if len(starts) and (starts.min() < 0 or ends.max() > len(data) or (ends < starts).any()):
            raise ValueError(f"messages expected within the {len(data)} bytes of data")
        if self._transcoder is not None:
            return self._decode_slowly(self._transcoder, data, starts, ends)
        return self._decode_fast(data, starts, ends)

    def _decode_fast(
        self, data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> DecodeResult:
        pool = self._kernel.program.pool
        if pool or not data.flags.writeable or not data.flags.c_contiguous:
            data = np.concatenate([data, np.frombuffer(pool, np.uint8)])
        columns, report = self._kernel.decode(
            data, np.ascontiguousarray(starts), np.ascontiguousarray(ends), self._writers, 0
        )
        return DecodeResult(columns, *report.copy())

    def _decode_slowly(
        self,
        transcoder: Transcoder,
        data: NDArray[np.uint8],
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
    ) -> DecodeResult:
        messages: list[bytes] = []
        faults = np.zeros(len(starts), np.int64)
        for row, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            try:
                messages.append(transcoder.transcode(data[start:end].tobytes()))
            except UndecodableError:
                faults[row] = WireFault.TRUNCATED
            except UnresolvableError:
                faults[row] = WireFault.UNEXPECTED_BRANCH
        bounds = np.cumsum([0, *map(len, messages)], dtype=np.int64)
        joined = np.frombuffer(bytearray().join(messages), np.uint8)
        inner = self._decode_fast(joined, bounds[:-1], bounds[1:])
        whole = faults == 0
        report = np.zeros((3, len(starts)), np.int64)
        report[0] = faults
        report[:, whole] = [inner.status, inner.position, inner.field]
        return DecodeResult(inner.columns, report[0], report[1], report[2])


def describe_fault(fault: WireFault, field: str, message: bytes, position: int) -> str:
    """Say where a message failed, what was expected and what was there."""
    where = f"field {field}" if field else "record"
    found = message[position : position + 8]
    got = "the end of the message" if not found else repr(found)
    if fault == WireFault.UNEXPECTED_NULL:
        got = "null"
    return f"{where} expected {EXPECTED[fault]}, got {got} at byte {position} of {len(message)}"
