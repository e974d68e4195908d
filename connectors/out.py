"""Encoded records on their way to a sink, and what tells each of them after a crash."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import Headers


class OutputId(NamedTuple):
    """What one output is, whenever and in whatever run it is made: of a dataflow and a topic of
    outputs there is one of each."""

    topic: str  # of the input, as are partition and offset
    partition: int
    offset: int
    kind: str = ""  # what the output is of that input, where there is more than one thing
    number: int = 0  # which of its kind


@dataclass(frozen=True, slots=True)
class Sources:
    """The ids of n outputs, as columns."""

    places: NDArray[np.int64]  # (n, 2): partition and offset of each one's input
    topics: str | Sequence[str]  # of all, or of each
    kinds: str | Sequence[str] = ""
    numbers: NDArray[np.int64] | None = None  # (n,); None: 0

    def __len__(self) -> int:
        return len(self.places)

    def take(self, rows: slice | NDArray[np.int64]) -> "Sources":
        """Those of some rows."""
        return Sources(
            self.places[rows],
            _taken(self.topics, rows),
            _taken(self.kinds, rows),
            None if self.numbers is None else self.numbers[rows],
        )

    def ids(self) -> list[OutputId]:
        n = len(self.places)
        topics = [self.topics] * n if isinstance(self.topics, str) else self.topics
        kinds = [self.kinds] * n if isinstance(self.kinds, str) else self.kinds
        numbers = [0] * n if self.numbers is None else self.numbers.tolist()
        places = self.places.tolist()
        return [
            OutputId(topic, partition, offset, kind, number)
            for topic, (partition, offset), kind, number in zip(
                topics, places, kinds, numbers, strict=True
            )
        ]


def _taken(names: str | Sequence[str], rows: slice | NDArray[np.int64]) -> str | Sequence[str]:
    if isinstance(names, str):
        return names
    return names[rows] if isinstance(rows, slice) else [names[row] for row in rows.tolist()]


@dataclass(frozen=True, slots=True)
class Out:
    """Encoded records for one partition of a topic, in order."""

    partition: int
    keys: list[bytes | None]
    values: list[bytes]
    headers: list[Headers] | None = None  # None: no record has any
    sources: Sources | None = None  # None: a restart may repeat them
    # (n,) Unix ms, NO_TIMESTAMP_MS and None: the time of writing.
    times_ms: NDArray[np.int64] | None = None

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
            None if self.sources is None else self.sources.take(np.array(kept, np.int64)),
            None if self.times_ms is None else self.times_ms[kept],
        )


def by_partition(
    targets: NDArray[np.int32],
    keys: list[bytes | None],
    values: list[bytes],
    sources: Sources | None,
    headers: list[Headers] | None = None,
    times_ms: NDArray[np.int64] | None = None,
) -> list[Out]:
    """Split n records by target partition (n,), in order within each."""
    if (targets[1:] < targets[:-1]).any():
        order = np.argsort(targets, kind="stable")
        rows = order.tolist()
        targets = targets[order]
        sources = None if sources is None else sources.take(order)
        keys, values = [keys[row] for row in rows], [values[row] for row in rows]
        headers = None if headers is None else [headers[row] for row in rows]
        times_ms = None if times_ms is None else times_ms[order]
    cuts = [0, *(np.flatnonzero(np.diff(targets)) + 1).tolist(), len(targets)]
    return [
        Out(
            partition=int(targets[start]),
            keys=keys[start:end],
            values=values[start:end],
            headers=None if headers is None else headers[start:end],
            sources=None if sources is None else sources.take(slice(start, end)),
            times_ms=None if times_ms is None else times_ms[start:end],
        )
        for start, end in pairwise(cuts)
        if start < end
    ]
