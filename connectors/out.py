"""Encoded records on their way to a sink."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import Headers


@dataclass(frozen=True, slots=True)
class Out:
    """Encoded records for one partition of a topic, in order."""

    partition: int
    keys: list[bytes | None]
    values: list[bytes]
    headers: list[Headers] | None = None  # None: no record has any
    sources: NDArray[np.int64] | None = None  # (n, 2) partition and offset of each one's input

    def lane(self, lanes: int) -> str:
        """The key under which the engine must route this."""
        return str(self.partition % lanes)

    def without(self, dropped: Sequence[int]) -> "Out":
        """The records that are left when some are dropped by index."""
        gone = set(dropped)
        kept = [index for index in range(len(self.values)) if index not in gone]
        return Out(
            self.partition,
            [self.keys[index] for index in kept],
            [self.values[index] for index in kept],
            None if self.headers is None else [self.headers[index] for index in kept],
            None if self.sources is None else self.sources[kept],
        )


def by_partition(
    targets: NDArray[np.int32],
    keys: list[bytes | None],
    values: list[bytes],
    sources: NDArray[np.int64] | None,
    headers: list[Headers] | None = None,
) -> list[Out]:
    """Split n records by target partition (n,), in order within each."""
    if (targets[1:] < targets[:-1]).any():
        order = np.argsort(targets, kind="stable")
        rows = order.tolist()
        targets = targets[order]
        sources = None if sources is None else sources[order]
        keys, values = [keys[row] for row in rows], [values[row] for row in rows]
        headers = None if headers is None else [headers[row] for row in rows]
    cuts = [0, *(np.flatnonzero(np.diff(targets)) + 1).tolist(), len(targets)]
    return [
        Out(
            partition=int(targets[start]),
            keys=keys[start:end],
            values=values[start:end],
            headers=None if headers is None else headers[start:end],
            sources=None if sources is None else sources[start:end],
        )
        for start, end in pairwise(cuts)
        if start < end
    ]
