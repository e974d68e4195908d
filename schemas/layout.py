"""Where the columns of a batch lie: one arena of int64 for all columns, cut into slots.

A kernel call that took every column as an argument would pay 100 to 200 ns of dispatch for each;
one arena costs one argument. Slots of 8 bytes come first, then those of 4 and of 1, so that each is
aligned. Level 0 slots hold a value per row, level k slots one per item of the k-th list.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.schemas.columns import Bytes, Column, Columns, Lists, Numbers
from streamrec.schemas.opcodes import (
    STORE_BOUNDS,
    STORE_BYTE,
    STORE_FLOAT32,
    STORE_FLOAT64,
    STORE_INT32,
    STORE_INT64,
    STORE_SPAN,
)
from streamrec.schemas.parsing import Type, UnsupportedSchemaError, describe, min_bytes

_STORES = {
    "null": STORE_BYTE,
    "boolean": STORE_BYTE,
    "int": STORE_INT32,
    "enum": STORE_INT32,
    "long": STORE_INT64,
    "float": STORE_FLOAT32,
    "double": STORE_FLOAT64,
    "bytes": STORE_SPAN,
    "string": STORE_SPAN,
    "fixed": STORE_SPAN,
}
_WIDE = {STORE_INT32: STORE_INT64, STORE_FLOAT32: STORE_FLOAT64}
_BYTES = {STORE_INT32: 4, STORE_FLOAT32: 4, STORE_BYTE: 1}  # the others take 8
_VIEWS = {STORE_INT32: "i4", STORE_INT64: "i8", STORE_FLOAT32: "f4", STORE_FLOAT64: "f8"}


@dataclass(frozen=True, slots=True)
class Node:
    """A type of the reader's schema and its place: a leaf, a list (`level` > 0) or a record."""

    type: Type
    name: str  # within its row or item, dotted
    path: str  # from the top, dotted, for messages
    slot: int = -1
    valid: int = -1
    store: int = 0
    view: str = ""  # NumPy type of the slot
    level: int = 0
    fields: dict[str, "Node"] = field(default_factory=dict)  # records
    item: "Node | None" = None  # lists


@dataclass(frozen=True, slots=True)
class Slot:
    """A run of values in the arena. `extra` is 1 for list bounds, which hold one more than rows."""

    bytes: int
    level: int
    extra: int


class Layout:
    """The slots of a record schema's columns.

    A `wide` layout is what the encoder copies columns into: every number takes 8 bytes, so that
    values beyond the schema's range arrive and can be reported, every leaf has a null mask, and
    each span has two slots more for its buffer.
    """

    def __init__(self, schema: Type, wide: bool = False) -> None:
        """Raises UnsupportedSchemaError for a schema that columns cannot hold."""
        self.wide = wide
        if schema.kind != "record":
            raise UnsupportedSchemaError(f"schema expected a record, got {describe(schema)}")
        self.slots: list[Slot] = []
        self._used_views: set[str] = set()
        self.item_bytes_min: list[int] = []  # by list level - 1
        self.root = self._node(schema, "", "", 0)
        self.leaves = row_leaves(self.root)
        self._narrow_views = self._used_views - {"i8", "?"}
        # Kernels index by slot number, so sorting by width only orders the bases.
        widest_first = sorted(enumerate(self.slots), key=lambda item: -item[1].bytes)
        self._order = [(i, s.bytes, s.level, s.extra) for i, s in widest_first if s.bytes]

    def _slot(self, width: int, level: int, extra: int = 0) -> int:
        self.slots.append(Slot(width, level, extra))
        return len(self.slots) - 1

    def _node(self, schema: Type, name: str, path: str, level: int) -> Node:
        value = schema.value
        nullable = schema.null_branch >= 0 or schema.kind == "null"
        if value.kind == "record" and not nullable:
            inside = {
                f.name: self._node(f.type, _join(name, f.name), _join(path, f.name), level)
                for f in value.fields
            }
            return Node(schema, name, path, fields=inside)
        if value.kind == "array" and level == 0:
            return self._list(schema, name, path, nullable)
        if value.kind not in _STORES:
            where = " inside an array" if level else ""
            raise UnsupportedSchemaError(
                f"field {path or schema.name} expected a type that columns can hold, "
                f"got {describe(schema)}{where}"
            )
        store = _STORES[value.kind]
        if self.wide:
            store = _WIDE.get(store, store)
        width = _BYTES.get(store, 8)
        view = "i8" if store == STORE_SPAN else _VIEWS.get(store, "?")
        self._used_views.add(view)
        slot = self._slot(width, level)
        if store == STORE_SPAN:
            self._slot(width, level)
            if self.wide:
                self._slot(0, level)
                self._slot(0, level)
        valid = self._slot(1, level) if nullable or self.wide else -1
        return Node(schema, name, path, slot, valid, store, view)

    def _list(self, schema: Type, name: str, path: str, nullable: bool) -> Node:
        item = schema.value.branches[0]
        if min_bytes(item) == 0:
            # A few bytes could claim a billion such items, so no decoder should take them.
            raise UnsupportedSchemaError(
                f"field {path} expected array items of at least one byte, got {describe(item)}"
            )
        self.item_bytes_min.append(min_bytes(item))
        level = len(self.item_bytes_min)
        slot = self._slot(8, 0, extra=1)
        valid = self._slot(1, 0) if nullable or self.wide else -1
        inside = self._node(item, "", path, level)
        return Node(schema, name, path, slot, valid, STORE_BOUNDS, "i8", level, item=inside)

    def bases(self, sizes: list[int]) -> tuple[list[int], int]:
        """Return by slot its first index, in units of its own width, and the arena's int64 count.

        `sizes` holds the number of values by level, rows first.
        """
        bases = [-1] * len(self.slots)
        at = 0  # bytes
        for index, width, level, extra in self._order:
            bases[index] = at // width
            at += width * (sizes[level] + extra)
        return bases, (at + 7) // 8

    def columns(
        self,
        data: NDArray[np.uint8],
        arena: NDArray[np.int64],
        bases: list[int],
        counts: list[int],
    ) -> Columns:
        """Return views of a filled arena as columns. `counts`: values by level, rows first."""
        views = {"i8": arena, "?": arena.view(np.bool_)}
        for view in self._narrow_views:
            views[view] = arena.view(view)
        columns: dict[str, Column] = {}
        size = counts[0]
        for leaf in self.leaves:
            item = leaf.item
            if item is None:
                columns[leaf.name] = self._column(leaf, data, views, bases, size)
                continue
            items = {
                inner.name: self._column(inner, data, views, bases, counts[leaf.level])
                for inner in row_leaves(item)
            }
            base = bases[leaf.slot]
            valid = self._mask(leaf, views, bases, size)
            columns[leaf.name] = Lists(arena[base : base + size + 1], items, valid)
        return columns

    def _column(
        self,
        leaf: Node,
        data: NDArray[np.uint8],
        views: dict[str, NDArray[Any]],
        bases: list[int],
        size: int,
    ) -> Column:
        base = bases[leaf.slot]
        valid = self._mask(leaf, views, bases, size)
        if leaf.store == STORE_SPAN:
            wide = views["i8"]
            lengths = bases[leaf.slot + 1]
            return Bytes(data, wide[base : base + size], wide[lengths : lengths + size], valid)
        return Numbers(views[leaf.view][base : base + size], valid)

    @staticmethod
    def _mask(
        leaf: Node, views: dict[str, NDArray[Any]], bases: list[int], size: int
    ) -> NDArray[np.bool_] | None:
        if leaf.valid < 0:
            return None
        base = bases[leaf.valid]
        return views["?"][base : base + size]


def row_leaves(node: Node) -> list[Node]:
    if node.type.kind != "record":
        return [node]
    return [leaf for inside in node.fields.values() for leaf in row_leaves(inside)]


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
