"""The one reader of click files: columns by the names of schemas/clicks.avsc, whatever the file."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamrec.connectors.click_files.formats import Cells, FileForm, read_cells, read_names
from streamrec.connectors.click_files.meaning import Meaning, event_types, prices, times_ms
from streamrec.connectors.click_files.names import Names, name_columns
from streamrec.connectors.click_files.rejecting import Checks, ClickFileError, Rejected
from streamrec.schemas.columns import Bytes, Columns, Numbers


@dataclass(frozen=True, slots=True)
class FileClicks:
    """A file's clicks, in the order in which to send them."""

    columns: dict[str, Bytes | Numbers]
    ids: dict[str, "pa.LargeBinaryArray"]  # the columns user_id and item_id once more
    rejected: list[Rejected]  # by row
    unknown_types: dict[str, int]  # event types taken as other, and how many rows have each

    def __len__(self) -> int:
        return len(self.ids["user_id"])

    def numbered(self, name: str) -> tuple[NDArray[np.int64], list[bytes]]:
        """Of `user_id` or `item_id`: (n,) the place of each in the list of those that differ."""
        coded = self.ids[name].dictionary_encode()
        return coded.indices.to_numpy().astype(np.int64), coded.dictionary.to_pylist()

    def chunks(self, size: int) -> Iterator[tuple[slice, Columns]]:
        """Consecutive parts of `size` clicks, and which they are."""
        for start in range(0, len(self), size):
            part = slice(start, min(start + size, len(self)))
            yield part, {name: _part(column, part) for name, column in self.columns.items()}


def load(
    path: Path, form: FileForm, given: Names, meaning: Meaning, by_time: bool
) -> tuple[Names, FileClicks]:
    """Read a file as clicks, and say which column was taken for what. Raises ClickFileError."""
    try:
        names = name_columns(read_names(path, form), given)
        wanted = [name for f in fields(names) if (name := getattr(names, f.name)) is not None]
        cells = read_cells(path, form, wanted)
    except (OSError, EOFError, pa.ArrowException) as error:
        raise ClickFileError(f"{path}: {error}") from error
    return names, understand(cells, names, meaning, by_time)


def understand(cells: Cells, names: Names, meaning: Meaning, by_time: bool) -> FileClicks:
    """Turn text into clicks; rows that are none are rejected with the reason. By time, or in the
    order of the file."""
    assert names.user is not None and names.item is not None and names.time is not None
    checks = Checks(cells.rows)
    users, items = cells.columns[names.user], cells.columns[names.item]
    checks.require_id(names.user, users)
    checks.require_id(names.item, items)
    times = times_ms(cells, names.time, meaning, checks)
    cents, priced = prices(cells, names.price, meaning, checks)
    types, unknown = event_types(cells, names.type, meaning, checks.good)

    good = np.flatnonzero(checks.good)
    if by_time:
        good = good[np.argsort(times[good], kind="stable")]
    indices = pa.array(good)
    ids = {"user_id": users.take(indices), "item_id": items.take(indices)}
    return FileClicks(
        {
            "user_id": _bytes_column(ids["user_id"]),
            "item_id": _bytes_column(ids["item_id"]),
            "event_type": Numbers(types[good]),
            "timestamp": Numbers(times[good]),
            "price_cents": Numbers(cents[good], priced[good]),
            "category_id": _optional_column(cells, names.category, indices),
            "session_id": _optional_column(cells, names.session, indices),
        },
        ids,
        sorted(cells.rejected + checks.rejected),
        unknown,
    )


def _optional_column(cells: Cells, name: str | None, indices: "pa.Array") -> Bytes:
    if name is None:
        nothing = np.zeros(len(indices), dtype=np.int64)
        return Bytes(np.empty(0, np.uint8), nothing, nothing, np.zeros(len(indices), np.bool_))
    column = cells.columns[name].take(indices)
    column = pc.if_else(pc.equal(pc.binary_length(column), 0), None, column)
    return _bytes_column(column)


def _bytes_column(column: "pa.LargeBinaryArray") -> Bytes:
    """The same memory, as spans."""
    _, offsets_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[
        column.offset : column.offset + len(column) + 1
    ]
    data = np.frombuffer(data_buffer or b"", np.uint8)
    lengths = np.diff(offsets)
    if column.null_count == 0:
        return Bytes(data, offsets[:-1], lengths, np.ones(len(column), dtype=np.bool_))
    return Bytes(data, offsets[:-1], lengths, column.is_valid().to_numpy(zero_copy_only=False))


def _part(column: Bytes | Numbers, part: slice) -> Bytes | Numbers:
    valid = None if column.valid is None else column.valid[part]
    if isinstance(column, Bytes):
        return Bytes(column.data, column.starts[part], column.lengths[part], valid)
    return Numbers(column.values[part], valid)
