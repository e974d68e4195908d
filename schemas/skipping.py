"""Instructions that pass over a value of any type, for the kernel in `skip_kernel`."""

from collections.abc import Callable

from streamrec.schemas import opcodes as op
from streamrec.schemas.parsing import Type, UnsupportedSchemaError, describe, min_bytes

_FIXED_BYTES = {"boolean": 1, "float": 4, "double": 8}
_VARINTS = frozenset({"int", "long", "enum"})

Emit = Callable[..., int]  # (operation, path, argument=, extra=): where it stands in the program


class Skipper:
    """Of one writer, whose records may refer to themselves and to those around them."""

    def __init__(self, code: list[int], emit: Emit, writer: Type) -> None:
        self._code = code
        self._emit = emit
        self._records: dict[str, Type] = {}
        self._find_records(writer)
        self._starts: dict[str, int] = {}  # by name of a record, where its instructions begin

    def skip(self, value: Type, path: str) -> None:
        """Pass over a value. Raises UnsupportedSchemaError where a few bytes could claim a billion
        items; what was emitted is then of no use."""
        at = self._emit(op.SKIP, path)
        jump_at = self._emit(op.JUMP, path)
        self._code[at + op.ARGUMENT] = len(self._code)
        self._value(value, path)
        self._emit(op.RETURN, path)
        self._code[jump_at + op.ARGUMENT] = len(self._code)

    def _find_records(self, node: Type) -> None:
        if node.kind == "record":
            self._records.setdefault(node.name, node)
        for inner in (*node.branches, *(field.type for field in node.fields)):
            self._find_records(inner)

    def _value(self, value: Type, path: str) -> None:
        if value.kind in ("record", "recursive"):
            self._record(self._records[value.name], path)
        elif value.kind == "union":
            self._union(value, path)
        elif value.kind in ("array", "map"):
            self._blocks(value, path)
        elif value.kind in _VARINTS:
            self._emit(op.VARINT, path)
        elif value.kind in ("string", "bytes"):
            self._emit(op.SPAN, path)
        elif value.kind != "null":
            size = _FIXED_BYTES.get(value.kind, value.size)
            self._emit(op.FIXED, path, argument=size)

    def _record(self, value: Type, path: str) -> None:
        at = self._emit(op.CALL, path)
        if value.name not in self._starts:
            jump_at = self._emit(op.JUMP, path)
            self._starts[value.name] = len(self._code)
            for field in value.fields:
                self._value(field.type, f"{path}.{field.name}")
            self._emit(op.RETURN, path)
            self._code[jump_at + op.ARGUMENT] = len(self._code)
        self._code[at + op.ARGUMENT] = self._starts[value.name]

    def _union(self, value: Type, path: str) -> None:
        count = len(value.branches)
        at = self._emit(op.CHOOSE, path, extra=count)
        table = len(self._code)
        self._code[at + op.ARGUMENT] = table
        self._code += [0] * (count + -count % op.WIDTH)
        jumps = []
        for index, branch in enumerate(value.branches):
            self._code[table + index] = len(self._code)
            self._value(branch, path)
            jumps.append(self._emit(op.JUMP, path))
        for jump_at in jumps:
            self._code[jump_at + op.ARGUMENT] = len(self._code)

    def _blocks(self, value: Type, path: str) -> None:
        item = value.branches[0]
        least = min_bytes(item) + (1 if value.kind == "map" else 0)  # a key
        if least == 0:
            raise UnsupportedSchemaError(
                f"field {path} expected array items of at least one byte, got {describe(item)}"
            )
        at = self._emit(op.BLOCKS, path)
        if value.kind == "map":
            self._emit(op.SPAN, path)
        self._value(item, path)
        self._code[at + op.ARGUMENT] = self._emit(op.BLOCK_NEXT, path, argument=at, extra=least)


__all__ = ["Skipper"]
