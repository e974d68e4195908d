"""What the boxes of a served model hand to each other: inputs with their places, then answers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import Detail, RawBatch
from streamrec.dataflows.errors.failed import Failed, Origins
from streamrec.dataflows.steps.records import fill_places
from streamrec.models.serving.contract import Fault
from streamrec.models.serving.split import Assigned
from streamrec.schemas.columns import Columns, select
from streamrec.schemas.reasons import Reason


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """n inputs of one lane of a topic, decoded, in the order they were read: as values, or as
    columns where the model takes them."""

    shard: str
    origins: Origins
    rows: NDArray[np.int64]  # (n,) rows of `origins`
    values: list[Any] | None  # n, as JSON says them, or Raw
    columns: Columns | None  # of n rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def topic(self) -> str:
        return self.origins.batches[0].topic

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(m, 2): partition and offset of chosen inputs."""
        partitions = np.empty(len(rows), np.int64)
        offsets, _ = fill_places(self.origins, self.rows[rows], partitions)
        return np.stack([partitions, offsets], axis=1)

    def details(self, rows: NDArray[np.int64]) -> list[Detail]:
        """Key, headers and time of chosen inputs: a call or two a message on Kafka."""
        return [detail for _, detail in self.origins.originals(self.rows[rows])]

    def fail(
        self, row: int, reason: Reason, message: str, error: Exception | None = None
    ) -> Failed:
        """One input failed: it goes to `errors` as it came."""
        return self.origins.fail(int(self.rows[row]), reason, message, error)

    def fault(self, row: int, fault: Fault) -> Failed:
        """The same, as a model says it."""
        failed = self.origins.fail(
            int(self.rows[row]), fault.reason, fault.message, exception=fault.exception or None
        )
        return replace(failed, stacktrace=fault.stacktrace)

    def take(self, rows: Sequence[int]) -> list[Any]:
        """Chosen values."""
        assert self.values is not None
        return [self.values[row] for row in rows]

    def part(self, start: int, stop: int) -> "ModelInputs":
        """Those from one to another, not including it."""
        chosen = slice(start, stop)
        values, columns = self.values, self.columns
        return ModelInputs(
            self.shard,
            self.origins,
            self.rows[chosen],
            None if values is None else values[chosen],
            None if columns is None else select(columns, np.arange(start, stop)),
        )

    def raw(self) -> Sequence[RawBatch]:
        """The messages, as they were read: what a snapshot keeps of inputs without an answer."""
        return self.origins.select(self.rows)[0].batches


@dataclass(frozen=True, slots=True)
class ModelAnswers:
    """m answers of a pipeline, in the order of their inputs."""

    shard: str
    inputs: ModelInputs
    rows: NDArray[np.int64]  # (m,) which of the inputs
    answers: list[Any] | None  # m, as JSON can say them
    columns: Columns | None  # of m rows, where the model answers by column
    took_us: NDArray[np.int64]  # (m,) each one's share of the model's time
    assigned: Assigned | None = None  # which variant answered each; None: one answered all
    served: int = 0  # which of those that the outputs name it was, where `assigned` is None


__all__ = ["ModelAnswers", "ModelInputs"]
