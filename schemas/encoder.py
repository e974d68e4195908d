"""Columns to Avro messages: the Python side of the encode kernel."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamrec.schemas import opcodes as op
from streamrec.schemas.columns import Bytes, Column, Columns, Lists, Numbers
from streamrec.schemas.encode_kernel import encode_rows
from streamrec.schemas.layout import Layout, Node, row_leaves
from streamrec.schemas.opcodes import EXPECTED, WireFault
from streamrec.schemas.parsing import describe, parse
from streamrec.schemas.resolution import Program

_NO_HEADER = -1
_KINDS = {
    "int": "iu",
    "long": "iu",
    "enum": "iu",
    "float": "f",
    "double": "f",
    "boolean": "b",
    "null": "b",
}


class EncodeFailure(NamedTuple):
    """A row that could not be encoded."""

    row: int
    fault: WireFault
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """Messages of the rows that could be encoded, in order, and the rows that could not."""

    values: list[bytes]
    rows: NDArray[np.int64]  # (len(values),), strictly increasing
    failures: list[EncodeFailure]


class Encoder:
    """Encodes columns as messages of one schema, with or without the wire header.

    Holds scratch memory for its largest batch and row, so an instance serves one thread at a time.
    """

    def __init__(self, schema: str) -> None:
        """`schema` is JSON text. Raises InvalidSchemaError, UnsupportedSchemaError."""
        tree = parse(schema)
        self._layout = Layout(tree, wide=True)
        self._program = Program(self._layout)
        self._program.add(tree)
        self._code = np.array(self._program.code, np.int64)
        self._lists = [leaf for leaf in self._layout.leaves if leaf.item is not None]
        self._item_leaves = {
            leaf.name: row_leaves(leaf.item) for leaf in self._lists if leaf.item is not None
        }
        self._arena = np.empty(0, np.int64)
        self._out = np.empty(4096, np.uint8)

    def encode(self, columns: Columns, schema_id: int = _NO_HEADER) -> Encoded:
        """Encode every row; a row that fails is left out and reported.

        A negative `schema_id` leaves the 5-byte header away. Columns that the schema does not name
        are ignored. Raises ValueError for a column that is missing or of another length than the
        others, and TypeError for one of the wrong kind or dtype: those are mistakes of the program,
        not of a row.
        """
        rows = self._rows(columns)
        frame = self._fill(columns, rows)
        report = np.empty((3, rows), np.int64)
        values: list[bytes] = [b""] * rows
        start = 0
        while True:
            encode_rows(
                id(values), start, schema_id, self._code, frame, self._arena, self._out, report
            )
            good, start = frame[op.FRAME_GOOD : op.FRAME_STOP + 1].tolist()
            if start < 0:
                break
            self._out = np.empty(2 * len(self._out), np.uint8)
        if good == rows:
            return Encoded(values, np.arange(rows), [])
        del values[good:]
        return Encoded(values, np.flatnonzero(report[0] == 0), self._failures(report))

    def _rows(self, columns: Columns) -> int:
        for leaf in self._layout.leaves:
            if leaf.name not in columns:
                raise ValueError(f"field {leaf.path} expected a column, got none")
        rows = len(columns[self._layout.leaves[0].name]) if self._layout.leaves else 0
        _check_lengths(self._layout.leaves, columns, rows)
        return rows

    def _fill(self, columns: Columns, rows: int) -> NDArray[np.int64]:
        """Copy the columns into the arena and return the frame that says where they lie."""
        sizes = [rows]
        for leaf in self._lists:
            column = columns[leaf.name]
            if not isinstance(column, Lists):
                raise _wrong_column(leaf, column)
            inner = self._item_leaves[leaf.name]
            for item in inner:
                if item.name not in column.items:
                    raise ValueError(f"field {item.path} expected a column, got none")
            sizes.append(len(column.items[inner[0].name]))
            _check_lengths(inner, column.items, sizes[-1])
        bases, arena_size = self._layout.bases(sizes)
        if arena_size > len(self._arena):
            self._arena = np.empty(2 * arena_size, np.int64)
        arena = self._arena
        views = {"i8": arena, "f8": arena.view(np.float64), "?": arena.view(np.bool_)}
        for leaf in self._layout.leaves:
            column = columns[leaf.name]
            self._copy(leaf, column, bases, views, rows)
            if isinstance(column, Lists):
                for item in self._item_leaves[leaf.name]:
                    self._copy(item, column.items[item.name], bases, views, sizes[leaf.level])
        fixed = [0, 0, len(sizes) - 1, 0, -1]
        return np.array(fixed + sizes[1:] + bases, np.int64)

    def _copy(
        self,
        leaf: Node,
        column: Column,
        bases: list[int],
        views: dict[str, NDArray[np.generic]],
        size: int,
    ) -> None:
        base = bases[leaf.slot]
        if isinstance(column, Numbers):
            dtype = column.values.dtype
            if dtype.kind not in _KINDS.get(leaf.type.value.kind, "") or dtype == np.uint64:
                raise _wrong_column(leaf, column)
            views[leaf.view][base : base + size] = column.values
        elif isinstance(column, Bytes) and leaf.store == op.STORE_SPAN:
            wide = views["i8"]
            wide[base : base + size] = column.starts
            base = bases[leaf.slot + 1]
            wide[base : base + size] = column.lengths
            bases[leaf.slot + 2] = column.data.ctypes.data
            bases[leaf.slot + 3] = len(column.data)
        elif isinstance(column, Lists) and leaf.item is not None:
            views["i8"][base : base + size + 1] = column.bounds
        else:
            raise _wrong_column(leaf, column)
        if column.valid is None:
            bases[leaf.valid] = -1
        else:
            base = bases[leaf.valid]
            views["?"][base : base + size] = column.valid

    def _failures(self, report: NDArray[np.int64]) -> list[EncodeFailure]:
        failures = []
        for row in np.flatnonzero(report[0]).tolist():
            fault = WireFault(int(report[0, row]))
            field = self._program.names[int(report[2, row])]
            message = f"field {field} expected {EXPECTED[fault]}"
            failures.append(EncodeFailure(row, fault, field, message))
        return failures


def _check_lengths(leaves: list[Node], columns: Columns, rows: int) -> None:
    for leaf in leaves:
        if len(columns[leaf.name]) != rows:
            raise ValueError(
                f"field {leaf.path} expected {rows} rows as {leaves[0].path}, "
                f"got {len(columns[leaf.name])}"
            )


def _wrong_column(leaf: Node, column: Column) -> TypeError:
    got = f"{column.values.dtype} numbers" if isinstance(column, Numbers) else type(column).__name__
    return TypeError(f"field {leaf.path} expected a column of {describe(leaf.type)}, got {got}")
