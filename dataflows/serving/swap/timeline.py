"""Which version of a model answers each input of a partition: a table of first offsets.

The table is what `model-events` says, and nothing else: an offset has the version that began last
at or before it, in every run. So a version may only begin where nothing was answered yet.
"""

from bisect import bisect_right
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class ModelVersion(NamedTuple):
    """A version of a published model."""

    model: str
    version: str


class Timeline:
    """The table of one partition.

    >>> table = Timeline()
    >>> one, two = ModelVersion("m", "1"), ModelVersion("m", "2")
    >>> table.begin(10, one)
    >>> table.begin(20, two)
    >>> [table.at(offset).version for offset in (3, 10, 19, 20, 99)]
    ['1', '1', '1', '2', '2']
    """

    __slots__ = ("_firsts", "_versions")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._versions: list[ModelVersion] = []

    def begin(self, first_offset: int, version: ModelVersion) -> None:
        """From an offset on. What had begun at it or later never answered anything."""
        while self._firsts and self._firsts[-1] >= first_offset:
            self._firsts.pop()
            self._versions.pop()
        self._firsts.append(first_offset)
        self._versions.append(version)

    @property
    def last(self) -> ModelVersion | None:
        """What answers from now on; None: nothing has begun."""
        return self._versions[-1] if self._versions else None

    def at(self, offset: int) -> ModelVersion:
        """What answers an offset; what lies before all is the first one's. Something has begun."""
        return self._versions[max(0, bisect_right(self._firsts, offset) - 1)]

    def is_one(self, first: int, last: int) -> bool:
        """Whether no version begins after one offset and up to another."""
        return bisect_right(self._firsts, first) == bisect_right(self._firsts, last)

    def runs(self, offsets: NDArray[np.int64]) -> list[tuple[int, ModelVersion]]:
        """Of increasing offsets, where each version begins among them: index and version.

        >>> table = Timeline()
        >>> table.begin(0, ModelVersion("m", "1"))
        >>> table.begin(5, ModelVersion("m", "2"))
        >>> [(index, found.version) for index, found in table.runs(np.array([3, 4, 7, 8]))]
        [(0, '1'), (2, '2')]
        """
        first, last = int(offsets[0]), int(offsets[-1])
        found = [(0, self.at(first))]
        for at in range(bisect_right(self._firsts, first), bisect_right(self._firsts, last)):
            if at:  # what lies before the first has its version too
                index = int(np.searchsorted(offsets, self._firsts[at]))
                found.append((index, self._versions[at]))
        return found


class LaneVersions:
    """A partition in this run: its table, and from where on a version may begin."""

    __slots__ = ("floor", "is_closed", "next_offset", "timeline")

    def __init__(self, timeline: Timeline, floor: int, is_closed: bool = False) -> None:
        """`floor`: nothing from here on was answered by a run before. `is_closed`: that run said
        so when it ended; it must be told that another goes on."""
        self.timeline = timeline
        self.floor = floor
        self.is_closed = is_closed
        self.next_offset = -1  # after what was answered in this run; -1: nothing was

    def beginning(self, offsets: NDArray[np.int64], wanted: ModelVersion) -> int | None:
        """The first of increasing offsets, that come next, at which a version begins; None: it
        answers already, or may not begin among them."""
        if self.timeline.last == wanted and not self.is_closed:
            return None
        floor = self.floor if self.timeline.last is not None else 0
        floor = max(floor, self.next_offset)
        if offsets[-1] < floor:
            return None
        return int(offsets[np.searchsorted(offsets, floor)])

    def begin(self, first_offset: int, version: ModelVersion) -> None:
        """It is told on the topic."""
        self.timeline.begin(first_offset, version)
        self.is_closed = False

    def answers(self, last_offset: int) -> None:
        """Up to this offset something may be answered from now on."""
        self.next_offset = max(self.next_offset, last_offset + 1)


__all__ = ["LaneVersions", "ModelVersion", "Timeline"]
