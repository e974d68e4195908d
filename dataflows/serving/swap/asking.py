"""The step `score` of a pipeline that follows a published model: each input by its own version.

Between two batches, and only there, a partition goes over to the version that is wanted: the first
offset is durable on `model-events` before the version's first answer.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True, slots=True)
class _Part:
    """The inputs of one partition among those of a batch."""

    start: int  # index of the first
    offsets: NDArray[np.int64]  # (n,) increasing
    lane: LaneVersions
    place: Place


@dataclass(frozen=True, slots=True)
class AnswerPublished:
    """Called with the inputs of one lane."""

    swapping: Swapping

    def __call__(self, inputs: ModelInputs) -> "Answered | Batch | InOrder":
        swapping = self.swapping
        parts = self._parts(inputs)
        runs: list[tuple[int, ModelVersion]] = []
        for part in parts:
            for index, version in part.lane.timeline.runs(part.offsets):
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
        """By partition; versions that are to begin have begun."""
        swapping, rows, origins = self.swapping, inputs.rows, inputs.origins
        wanted = swapping.target.version
        parts: list[_Part] = []
        begins: list[tuple[Place, int, ModelVersion]] = []
        first_row = start = 0
        for batch, end in zip(origins.batches, origins.ends.tolist(), strict=True):
            stop = int(np.searchsorted(rows, end))
            if stop > start:
                place = batch.topic, batch.partition
                offsets = batch.offsets[rows[start:stop] - first_row]
                lane = swapping.lane(*place)
                if swapping.begins or lane.timeline.last is None:
                    first = lane.beginning(offsets, wanted)
                    if first is not None and swapping.begins:
                        begins.append((place, int(first), wanted))
                    elif first is not None:
                        lane.begin(int(first), wanted)
                parts.append(_Part(start, offsets, lane, place))
            first_row, start = end, stop
        if begins:
            swapping.begin(begins)
        for part in parts:
            part.lane.answers(int(part.offsets[-1]))
        return parts


def _sample(inputs: ModelInputs) -> TrialInputs:
    if inputs.values is not None:
        values = inputs.values[:SAMPLE_MAX]
        return TrialInputs(values, None, len(values))
    return TrialInputs(None, inputs.columns, len(inputs))


__all__ = ["AnswerPublished", "InOrder"]
