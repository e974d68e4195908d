"""How far the examples of one pipeline were counted, and between which offsets they stand."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_MARKS = 8  # for so many examples as a model is made of


@dataclass
class Counted:
    """Plain values. Marks remember where the topic stood, so that a model of the newest
    `max_examples` need not read it from its beginning."""

    count: int = 0
    last_count: int = 0  # at the last version
    begins: dict[int, int] = field(default_factory=dict)  # by partition, the first offset seen
    ends: dict[int, int] = field(default_factory=dict)  # the offset after the last one seen
    marks: list[tuple[int, dict[int, int]]] = field(default_factory=list)  # count, ends

    def see(self, partition: int, offset: int) -> None:
        """A record of the pipeline, whether it counts or not."""
        self.begins[partition] = min(self.begins.get(partition, offset), offset)
        self.ends[partition] = max(self.ends.get(partition, 0), offset + 1)

    def add(self, max_examples: int) -> None:
        """One more example that counts."""
        self.count += 1
        if self.count % max(max_examples // _MARKS, 1) == 0:
            self.marks.append((self.count, dict(self.ends)))
            while len(self.marks) > 1 and self.marks[1][0] <= self.count - max_examples:
                del self.marks[0]

    def starts(self, max_examples: int) -> dict[int, int]:
        """By partition, from where on the newest so many are found, and some more."""
        if self.marks and self.marks[0][0] <= self.count - max_examples:
            mark = self.marks[0][1]
            return {p: max(at, mark.get(p, at)) for p, at in self.begins.items()}
        return dict(self.begins)

    def state(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "count": self.count,
            "last_count": self.last_count,
            "begins": sorted(self.begins.items()),
            "ends": sorted(self.ends.items()),
            "marks": [[count, sorted(ends.items())] for count, ends in self.marks],
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> "Counted":
        """The same as `state` told of."""
        return cls(
            state["count"],
            state["last_count"],
            dict(state["begins"]),
            dict(state["ends"]),
            [(count, dict(ends)) for count, ends in state["marks"]],
        )


__all__ = ["Counted"]
