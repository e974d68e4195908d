"""The slow path: what the kernel does not cover goes through fastavro, message by message.

A message is read by fastavro with both schemas and written again in the reader's own, which the
kernel does cover. So the columns, the order of rows and the checks are those of the fast path.
"""

import io
from typing import Any

import fastavro
from fastavro.read import SchemaResolutionError

from streamrec.schemas.parsing import Type, UnsupportedSchemaError, describe, min_bytes
from streamrec.schemas.time_units import conversions, convert

# What fastavro raises for bytes that do not hold what the schema says.
_BAD_BYTES = (EOFError, IndexError, UnicodeDecodeError, ValueError, OverflowError, TypeError)


class UndecodableError(Exception):
    """The bytes are not a message of the writer's schema."""


class UnresolvableError(Exception):
    """The message is whole, but its value has no place in the reader's schema."""


class Transcoder:
    """Turns messages of one writer into messages of the reader. About 5 us a message."""

    def __init__(self, writer: Type, reader: Type) -> None:
        """Raises UnsupportedSchemaError for writers that can make any decoder run away."""
        _refuse_runaway(writer, writer.name)
        self._times = list(conversions(writer, reader))
        self._writer: Any = fastavro.parse_schema(writer.schema)
        self._reader: Any = fastavro.parse_schema(reader.schema)

    def transcode(self, message: bytes) -> bytes:
        """Raises UndecodableError, also for trailing bytes, and UnresolvableError."""
        source = io.BytesIO(message)
        try:
            value: Any = fastavro.schemaless_reader(source, self._writer, self._reader)
        except SchemaResolutionError as error:
            raise UnresolvableError(f"record expected the reader's schema: {error}") from error
        except _BAD_BYTES as error:
            raise UndecodableError(
                f"record expected a message of the writer's schema, got {error!r} "
                f"before byte {source.tell()} of {len(message)}"
            ) from error
        if source.tell() != len(message):
            raise UndecodableError(
                f"record expected the end of the message, got {len(message) - source.tell()} "
                f"more at byte {source.tell()} of {len(message)}"
            )
        out = io.BytesIO()
        try:
            for path, factor in self._times:
                convert(value, path, factor)
            fastavro.schemaless_writer(out, self._reader, value)
        except _BAD_BYTES as error:
            raise UnresolvableError(f"record expected the reader's schema: {error!r}") from error
        return out.getvalue()


def _refuse_runaway(node: Type, path: str) -> None:
    """A few bytes can claim a billion items of no bytes, or nest a record past the stack."""
    if node.kind == "recursive":
        raise UnsupportedSchemaError(f"field {path} expected no recursion, got {describe(node)}")
    if node.kind == "array" and min_bytes(node.branches[0]) == 0:
        raise UnsupportedSchemaError(
            f"field {path} expected array items of at least one byte, got {describe(node)}"
        )
    for branch in node.branches:
        _refuse_runaway(branch, path)
    for field in node.fields:
        _refuse_runaway(field.type, f"{path}.{field.name}")
