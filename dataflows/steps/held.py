"""Records that a step holds until their time, what it asks to be called for, and what it says."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import NO_TIMESTAMP_MS, Headers
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.topics import Topic
from streamrec.schemas.reasons import Reason


class Original(NamedTuple):
    """A record as it stands on the log, for `errors`."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


# Finds the original of a record by topic, partition, offset and key; None: it is not held any more.
Find = Callable[["TimedRecord"], "Original | None"]


class TimedRecord(NamedTuple):
    """One record, for logic that goes record by record."""

    topic: str  # its name on the log
    partition: int
    offset: int
    key: str  # what it is sharded by
    time_ms: int  # event time, Unix milliseconds
    value: Any  # as `receive` shows it; None of an earlier one
    original: "Original | Find"
    source: Topic  # the row of the topic, as it was given to `job.read`

    def fail(self, reason: Reason, message: str, kind: str = "", number: int = 0) -> Failed:
        """This record's failure, or with `kind` that of one of its outputs: it goes to `errors`, as
        it came. Give it out once for each kind and number."""
        place = f"(topic {self.topic!r}, partition {self.partition}, offset {self.offset})"
        original = self.original
        if not isinstance(original, Original):
            found = original(self)
            if found is None:
                place += "; the original is not held any more, and left out"
            original = found or Original(None, None, [], NO_TIMESTAMP_MS)
        return Failed(
            reason=reason.value,
            exception=reason.exception,
            message=f"{message} {place}",
            topic=self.topic,
            partition=self.partition,
            offset=self.offset,
            key=original.key,
            value=original.value,
            headers=original.headers,
            timestamp_ms=original.timestamp_ms,
            kind=kind,
            number=number,
        )

    def output(self, topic: Topic, kind: str = "", number: int = 0, **fields: Any) -> "Output":
        """One of this record's outputs, for `job.write(up, topic, outputs_of(job, topic))`. Of a
        record and a topic there is one of each kind and number, ever."""
        return Output(topic, self, kind, number, fields)


class Timer(NamedTuple):
    """A call that was asked for."""

    name: str
    at_ms: int  # event time
    record: TimedRecord  # for which it was asked


class Output(NamedTuple):
    """What a step says to a record."""

    topic: Topic
    record: TimedRecord
    kind: str
    number: int
    fields: Mapping[str, Any]


class Answered:
    """The records behind some outputs, as `job.write` must know inputs."""

    def __init__(self, records: list[TimedRecord]) -> None:
        self._records = records

    @property
    def topic(self) -> list[str]:
        return [record.topic for record in self._records]

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(m, 2): partition and offset of chosen rows."""
        found = [self._records[row] for row in rows.tolist()]
        return np.array([(r.partition, r.offset) for r in found], np.int64).reshape(-1, 2)

    def fail(
        self, row: int, reason: Reason, message: str, error: Exception | None = None
    ) -> Failed:
        """The failure of one row."""
        return self._records[row].fail(reason, message)


__all__ = ["Answered", "Original", "Output", "TimedRecord", "Timer"]
