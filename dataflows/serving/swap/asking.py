"""The step `score` of a pipeline that follows a published model: each input by its own version.

Between two batches, and only there, a partition goes over to the version that is wanted: the first
offset is durable on `model-events` before the version's first answer.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import RawBatch
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.serving.answering import Batch
from streamrec.dataflows.serving.inputs import ModelAnswers, ModelInputs
from streamrec.dataflows.serving.swap.swapping import Place, Swapping
from streamrec.dataflows.serving.swap.timeline import LaneVersions, ModelVersion
from streamrec.dataflows.serving.swap.trials import SAMPLE_MAX, TrialInputs

Answered = list[ModelAnswers | Failed]


@dataclass(frozen=True, slots=True)
class InOrder:
    """What several versions say of the parts of a batch; a future, as `job.later` takes it."""

    parts: list[Answered | Batch]

    def done(self) -> bool:
        return all(isinstance(each, list) or each.done() for each in self.parts)

    def result(self) -> Answered:
        found: Answered = []
        for each in self.parts:
            found += each if isinstance(each, list) else each.result()
        return found


class _Part(NamedTuple):
    """The inputs of one partition among those of a batch."""

    start: int  # index of the first
    stop: int
    first: int  # offset
    last: int
    lane: LaneVersions
    batch: RawBatch
    first_row: int  # of the messages in `origins`

    def offsets(self, inputs: ModelInputs) -> NDArray[np.int64]:
        """(stop - start,) increasing."""
        return self.batch.offsets[inputs.rows[self.start : self.stop] - self.first_row]


@dataclass(frozen=True, slots=True)
class AnswerPublished:
    """Called with the inputs of one lane."""

    swapping: Swapping

    def __call__(self, inputs: ModelInputs) -> "Answered | Batch | InOrder":
        swapping = self.swapping
        parts = self._parts(inputs)
        self._begin(inputs, parts)
        runs: list[tuple[int, ModelVersion]] = []
        for part in parts:
            timeline = part.lane.timeline
            part.lane.answers(part.last)
            if timeline.is_one(part.first, part.last):
                found = [(0, timeline.at(part.first))]
            else:
                found = timeline.runs(part.offsets(inputs))
            for index, version in found:
                if not runs or runs[-1][1] != version:
                    runs.append((part.start + index, version))
        if len(runs) == 1:
            answered: Answered | Batch | InOrder = swapping.loaded(runs[0][1]).answer(inputs)
        else:
            answered = self._divided(inputs, runs)
        swapping.sample = _sample(inputs)
        return answered

    def _divided(
        self, inputs: ModelInputs, runs: list[tuple[int, ModelVersion]]
    ) -> Answered | InOrder:
        """No version answers what another does."""
        stops = [start for start, _ in runs[1:]] + [len(inputs)]
        whole = InOrder(
            [
                self.swapping.loaded(version).answer(inputs.part(start, stop))
                for (start, version), stop in zip(runs, stops, strict=True)
            ]
        )
        return whole.result() if whole.done() else whole

    def _parts(self, inputs: ModelInputs) -> list[_Part]:
        """By partition, in the order of the inputs."""
        rows, origins, parts = inputs.rows, inputs.origins, list[_Part]()
        ends = origins.ends.tolist()
        stops = ends if len(rows) == ends[-1] else np.searchsorted(rows, origins.ends).tolist()
        first_row = start = 0
        for batch, end, stop in zip(origins.batches, ends, stops, strict=True):
            if stop > start:
                first = int(batch.offsets[int(rows[start]) - first_row])
                last = int(batch.offsets[int(rows[stop - 1]) - first_row])
                lane = self.swapping.lane(batch.topic, batch.partition)
                parts.append(_Part(start, stop, first, last, lane, batch, first_row))
            first_row, start = end, stop
        return parts

    def _begin(self, inputs: ModelInputs, parts: list[_Part]) -> None:
        """Let the version that is wanted begin where it may: told on the topic first."""
        swapping = self.swapping
        wanted = swapping.target.version
        begins: list[tuple[Place, int, ModelVersion]] = []
        for part in parts:
            lane = part.lane
            if lane.timeline.last == wanted and not lane.is_closed:
                continue
            if not swapping.begins and lane.timeline.last is not None:
                continue  # a replay has the versions that there were
            first = lane.beginning(part.offsets(inputs), wanted)
            if first is not None and swapping.begins:
                begins.append(((part.batch.topic, part.batch.partition), first, wanted))
            elif first is not None:
                lane.begin(first, wanted)
        if begins:
            swapping.begin(begins)


def _sample(inputs: ModelInputs) -> TrialInputs:
    if inputs.values is not None:
        values = inputs.values[:SAMPLE_MAX]
        return TrialInputs(values, None, len(values))
    return TrialInputs(None, inputs.columns, len(inputs))


__all__ = ["AnswerPublished", "InOrder"]
