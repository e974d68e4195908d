"""Which clicks a trained model has learned already, so that a flow answers but does not relearn."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_EDGE = 10
_DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class LearnedLog:
    """The clicks of a training: a topic's up to its offsets, or a file's range of event times."""

    from_ms: int  # event times, Unix milliseconds, both included
    to_ms: int
    # By topic and partition, the next offset; empty: a file, whose clicks may be on any topic.
    offsets: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    @classmethod
    def of_times(
        cls, times_ms: NDArray[np.int64], offsets: Mapping[str, Mapping[int, int]]
    ) -> Self:
        """Of a log's clicks, (n,) event times. Up to nine that lie more than a day beyond all
        others are wrong clocks: a range that they reach would hold all that is to come."""
        ordered = np.sort(times_ms)
        first, last = ordered[:_EDGE], ordered[-_EDGE:]
        below = np.flatnonzero(np.diff(first) > _DAY_MS)
        above = np.flatnonzero(np.diff(last) > _DAY_MS)
        return cls(
            int(first[below[-1] + 1] if len(below) else first[0]),
            int(last[above[0]] if len(above) else last[-1]),
            offsets,
        )

    def holds_times(self, times_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) to (n,): clicks of whose place nothing is known but the time."""
        return (times_ms >= self.from_ms) & (times_ms <= self.to_ms)

    def holds(
        self,
        topic: str,
        places: NDArray[np.int64],
        times_ms: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        """(n, 2) partitions and offsets of a topic, (n,) event times, to (n,)."""
        held = self.holds_times(times_ms)
        if not self.offsets:
            return held
        # Times as well: a topic may have been made anew under its name.
        ends = self.offsets.get(topic, {})
        next_offset = np.zeros(max([*ends, *places[:, 0].tolist()], default=0) + 1, np.int64)
        next_offset[list(ends)] = list(ends.values())
        return held & (places[:, 1] < next_offset[places[:, 0]])

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        offsets = {topic: {str(p): at for p, at in e.items()} for topic, e in self.offsets.items()}
        return {"from_ms": self.from_ms, "to_ms": self.to_ms, "offsets": offsets}

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> Self:
        """What `plain` said."""
        offsets = {
            str(topic): {int(p): int(at) for p, at in ends.items()}
            for topic, ends in plain["offsets"].items()
        }
        return cls(int(plain["from_ms"]), int(plain["to_ms"]), offsets)
