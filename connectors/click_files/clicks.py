"""A file's clicks as columns by the names of schemas/clicks.avsc."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamrec.connectors.click_files.rejecting import Rejected, Unread
from streamrec.schemas.columns import Bytes, Numbers

SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.large_string(), nullable=False),
        pa.field("item_id", pa.large_string(), nullable=False),
        pa.field("event_type", pa.int32(), nullable=False),
        pa.field("timestamp", pa.int64(), nullable=False),
        ("price_cents", pa.int64()),
        ("category_id", pa.large_string()),
        ("session_id", pa.large_string()),
    ]
)


@dataclass(frozen=True, slots=True)
class FileClicks:
    """Some clicks of a file, and what was none."""

    batch: "pa.RecordBatch"  # of SCHEMA
    file: str = ""  # its name, for messages
    rejected: list[Rejected] = field(default_factory=list)  # by row
    unread: list[Unread] = field(default_factory=list)  # values that clicks came without
    unknown_types: dict[str, int] = field(default_factory=dict)  # taken as other, and how many

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    @property
    def columns(self) -> dict[str, Bytes | Numbers]:
        """The same memory, as the codec wants it."""
        return {
            name: _bytes_column(column)
            if pa.types.is_large_string(column.type)
            else _numbers_column(column)
            for name, column in zip(SCHEMA.names, self.batch.columns, strict=True)
        }

    @property
    def times_ms(self) -> NDArray[np.int64]:
        return np.asarray(self.batch.column("timestamp").to_numpy())

    def numbered(self, name: str) -> tuple[NDArray[np.int64], list[bytes]]:
        """Of `user_id` or `item_id`: (n,) the place of each in the list of those that differ."""
        coded = self.batch.column(name).cast(pa.large_binary()).dictionary_encode()
        return coded.indices.to_numpy().astype(np.int64), coded.dictionary.to_pylist()

    def keys(self) -> list[bytes]:
        """User ids."""
        users: list[bytes] = self.batch.column("user_id").cast(pa.large_binary()).to_pylist()
        return users

    def chunks(self, size: int) -> "Iterator[FileClicks]":
        """Consecutive parts of up to `size` clicks."""
        for start in range(0, len(self), size):
            yield FileClicks(self.batch.slice(start, size))


def _numbers_column(column: "pa.Array") -> Numbers:
    if column.null_count == 0:
        return Numbers(column.to_numpy())
    return Numbers(column.fill_null(0).to_numpy(), column.is_valid().to_numpy(zero_copy_only=False))


def _bytes_column(column: "pa.LargeStringArray") -> Bytes:
    _, offsets_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[
        column.offset : column.offset + len(column) + 1
    ]
    data = np.frombuffer(data_buffer or b"", np.uint8)
    lengths = np.diff(offsets)
    if column.null_count == 0:
        return Bytes(data, offsets[:-1], lengths, np.ones(len(column), dtype=np.bool_))
    return Bytes(data, offsets[:-1], lengths, column.is_valid().to_numpy(zero_copy_only=False))
