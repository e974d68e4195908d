"""What shapes of state have in common that are kept as `KeyedRows`."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamrec.models.keyed.rows import KeyedRows


class OverRows:
    """State of one shard in rows that are due when they may be dropped."""

    def __init__(self, rows: KeyedRows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        """Records held."""
        return len(self.rows)

    def remove(self, hashes: NDArray[np.int64]) -> None:
        """Forget keys, where they are there: hashes (n, 2)."""
        self.rows.remove_keys(hashes)
        self.rows.settle()

    def forget(self, now_ms: int) -> None:
        """No record before this event time will come: drop what is over by then."""
        self.rows.drop_due(now_ms)
        self.rows.settle()

    def changed(self, whole: bool) -> pa.Table:
        """As `KeyedRows.changed`; a column is saved as its bits, under its name and type."""
        return self.rows.changed(whole)

    def restore(self, tables: Sequence[pa.Table]) -> None:
        """As `KeyedRows.restore`, by one that is declared alike."""
        self.rows.restore(tables)


__all__ = ["OverRows"]
