"""Several tables as one, so that a shard which keeps several things writes one file a snapshot."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from streamrec.connectors.state_files import ROWS

_SCHEMA = pa.schema({"part": pa.string(), "content": pa.large_binary()})


def pack(parts: Mapping[str, pa.Table]) -> pa.Table:
    """One row a table that has any, and how many rows they have in all; none where none has."""
    full = {name: table for name, table in parts.items() if len(table)}
    contents = []
    for table in full.values():
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        contents.append(sink.getvalue().to_pybytes())
    rows = sum(map(len, full.values()))
    columns = [pa.array(list(full), pa.string()), pa.array(contents, pa.large_binary())]
    return pa.table(columns, _SCHEMA.with_metadata({ROWS: str(rows)}))


def unpack(tables: Sequence[pa.Table], part: str) -> list[pa.Table]:
    """The tables of one part, in their order."""
    found = []
    for packed in tables:
        for name, content in zip(packed["part"], packed["content"], strict=True):
            if name.as_py() == part:
                found.append(pa.ipc.open_stream(content.as_buffer()).read_all())
    return found


def is_packed(table: pa.Table) -> bool:
    return bool(table.schema.names == _SCHEMA.names)


__all__ = ["is_packed", "pack", "unpack"]
