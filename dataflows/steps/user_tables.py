"""Saved users as Arrow tables: the columns of a state file, and of `streamrec state export`."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamrec.models.users import kernels
from streamrec.models.users.state import UserTable

# Columns of `words` that are saved as they are, by name; _HIGH and _LOW are the id's hash.
FIXED = {
    "hash_high": kernels.HIGH,
    "hash_low": kernels.LOW,
    "newest_ms": kernels.NEWEST_MS,
    "session_id": kernels.SESSION_ID,
    "session_key": kernels.SESSION_KEY,
    "session_start_ms": kernels.SESSION_START_MS,
    "session_clicks": kernels.SESSION_CLICKS,
    "session_distinct": kernels.SESSION_DISTINCT,
    "session_cents": kernels.SESSION_CENTS,
    "partition": kernels.LAST_PARTITION,
}


def table_of(users: UserTable) -> pa.Table:
    """One row a user; cells and items as lists, without what is zero."""
    cells, items = (pa.array(bounds.astype(np.int32)) for bounds in users.bounds)
    columns = {
        "user_id": pa.array(users.user_ids, pa.binary()),
        **{
            name: pa.array(np.ascontiguousarray(users.fixed[:, column]))
            for name, column in FIXED.items()
        },
        "cell_places": pa.ListArray.from_arrays(cells, pa.array(users.cell_places)),
        "cell_counts": pa.ListArray.from_arrays(cells, pa.array(users.cell_counts)),
        "items": pa.ListArray.from_arrays(items, pa.array(users.items[0])),
        "item_times_ms": pa.ListArray.from_arrays(items, pa.array(users.items[1])),
    }
    return pa.table(columns)


def users_of(table: pa.Table) -> UserTable:
    """The inverse of `table_of`."""
    table = table.combine_chunks()
    fixed = np.empty((len(table), kernels.FIRST_ITEM), np.int64)
    for name, column in FIXED.items():
        fixed[:, column] = table[name].to_numpy()
    fixed[:, kernels.IN_USE] = 1
    # Copies: what Arrow hands out is read-only, and the kernels take only what is not.
    cells, places = _list(table, "cell_places")
    items, keys = _list(table, "items")
    return UserTable(
        user_ids=table["user_id"].to_pylist(),
        fixed=fixed,
        bounds=np.stack([cells, items]),
        cell_places=np.array(places, np.uint16),
        cell_counts=np.array(_list(table, "cell_counts")[1], np.int32),
        items=np.stack([keys, _list(table, "item_times_ms")[1]]),
    )


def newest_of_each(tables: Sequence[pa.Table]) -> pa.Table:
    """One table of what several files hold, oldest first: of a user saved twice, the later row."""
    table = pa.concat_tables(tables)
    last = {user: row for row, user in enumerate(table["user_id"].to_pylist())}
    return table.take(pa.array(sorted(last.values()), pa.int64()))


def _list(table: pa.Table, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bounds and values of a list column."""
    column = table[name]
    if column.num_chunks == 0:
        return np.zeros(1, np.int64), np.zeros(0, np.int64)
    array = column.chunk(0)
    return array.offsets.to_numpy().astype(np.int64), array.values.to_numpy()
