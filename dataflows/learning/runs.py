"""A training run: that a model is to be made now, and from which examples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streamrec.dataflows.learning.published import ModelRecords

EVERY, TIME, DRIFT = "every", "time", "drift"


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """As schemas/training_runs.avsc says."""

    pipeline: str
    model: str
    kind: str
    count: int
    at_ms: int  # event time
    source: tuple[int, int]  # partition and offset of the example at which it was time
    starts: Mapping[int, int]  # offsets by partition
    stops: Mapping[int, int]

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> "TrainingRun":
        """What a record says, as plain values."""
        return cls(
            value["pipeline"],
            value["model"],
            value["kind"],
            value["count"],
            value["at"],
            (value["source_partition"], value["source_offset"]),
            dict(zip(value["partitions"], value["from_offsets"], strict=True)),
            dict(zip(value["partitions"], value["until_offsets"], strict=True)),
        )

    @property
    def facts(self) -> dict[str, Any]:
        """What a version that came of it says in about.json, by which it is known again."""
        return {
            "pipeline": self.pipeline,
            "why": self.kind,
            "count": self.count,
            "at_ms": self.at_ms,
            "partition": self.source[0],
            "offset": self.source[1],
        }

    def covers(self, time_ms: int, partition: int, offset: int) -> bool:
        """Whether an example comes before it, by the order in which they were counted."""
        if not self.starts.get(partition, offset + 1) <= offset < self.stops.get(partition, 0):
            return False
        if self.kind == TIME:
            return time_ms <= self.at_ms
        return (time_ms, partition, offset) <= (self.at_ms, *self.source)

    def version_in(self, records: ModelRecords) -> str | None:
        """The version that came of it, which was published already."""
        made = (v for v, each in records.versions.items() if each.about.get("run") == self.facts)
        return next(made, None)

    def is_newest_in(self, records: ModelRecords) -> bool:
        """Whether no version is of examples after these: an older one must not answer again."""
        runs = [each.about.get("run") for each in records.versions.values()]
        times = [run.get("at_ms", 0) for run in runs if isinstance(run, dict)]
        return all(at_ms <= self.at_ms for at_ms in times)


__all__ = ["DRIFT", "EVERY", "TIME", "TrainingRun"]
