"""The step `learn`: counts examples of each pipeline, learns online, and says when a model is to be
made."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from typing_extensions import override

from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.topics import TRAINING_RUNS
from streamrec.dataflows.learning.desk import Desk
from streamrec.dataflows.learning.learners import Counting, Online
from streamrec.dataflows.learning.plan import TrainerKeys
from streamrec.dataflows.learning.runs import DRIFT, EVERY, TIME, TrainingRun
from streamrec.dataflows.learning.targets import inputs_of, target_of
from streamrec.dataflows.steps.held import Output, TimedRecord, Timer
from streamrec.dataflows.steps.in_time import InEventTime
from streamrec.models.learning.recipe import Recipe
from streamrec.schemas.reasons import Reason

if TYPE_CHECKING:  # steps run without the engine, which a job wires
    from streamrec.dataflows.job.job import Job

# By pipeline; the recipe None: the main job's own training.
Trainers = Mapping[str, tuple[TrainerKeys, Recipe | None]]


class Learn(InEventTime):
    """One shard of pipelines. An example counts when it has a label to learn and is the first of
    its answer: corrections change what is learned from, never how many were counted. One that comes
    late, as when those who label are behind, counts at the time that the shard had come to.

    State by pipeline: two numbers for each partition of the topic, the drift's window (some 100
    numbers), and of online ones the model's weights and its 500 newest answers.
    """

    takes_late: ClassVar[bool] = True

    def __init__(self, job: "Job", trainers: Trainers, desk: Desk) -> None:
        late_ms = max((keys.late_ms for keys, _ in trainers.values()), default=0)
        super().__init__(job, late_ms=late_ms)
        self._trainers = trainers
        self._desk = desk
        self._watched: dict[str, Counting] = {}
        self._touched: set[str] = set()

    def on_record(self, record: TimedRecord) -> Iterator[Output | Failed]:
        found = self._of(record.key)
        if found is None:
            return
        self._touched.add(record.key)
        found.progress.see(record.partition, record.offset)
        example = {**record.value, "labelled_ms": record.time_ms}
        if example["number"]:
            return  # a correction
        label = _label(found, example)
        if label is None:
            return
        try:
            has_risen = found.take(example, inputs_of(example["inputs"]), label)
        except (TypeError, ValueError, OverflowError) as error:
            yield record.fail(Reason.INVALID_VALUE, f"inputs of an example: {error}")
            return
        yield from self._said(record, found, has_risen)

    def on_timer(self, timer: Timer) -> Iterator[Output | Failed]:
        found = self._of(timer.record.key)
        if found is not None and found.progress.count > found.progress.last_count:
            self._touched.add(timer.record.key)
            yield from self._run(timer.record, found, TIME, timer.at_ms)

    def _said(
        self, record: TimedRecord, found: Counting, has_risen: bool
    ) -> Iterator[Output | Failed]:
        keys, count = found.keys, found.progress.count
        if keys.every_s is not None and not self.timers_of(record.key, TIME):
            self.call(record, self.now_ms + round(1000 * keys.every_s), TIME)
        if keys.every is not None and count % keys.every == 0:
            yield from self._run(record, found, EVERY, self.now_ms)
        elif has_risen:
            yield from self._run(record, found, DRIFT, self.now_ms)

    def _run(self, record: TimedRecord, found: Counting, why: str, at_ms: int) -> Iterator[Output]:
        keys, progress = found.keys, found.progress
        is_made = progress.count >= keys.min_examples and (
            why != DRIFT or keys.on_drift or isinstance(found, Online)
        )
        if not is_made and why != DRIFT:
            return
        starts = progress.starts(keys.max_examples)
        run = TrainingRun(
            record.key,
            keys.publish_as or record.key,
            why,
            progress.count,
            at_ms,
            (record.partition, record.offset),
            starts,
            {partition: progress.ends[partition] for partition in starts},
        )
        version = None
        if is_made:
            progress.last_count = progress.count
            if isinstance(found, Online):
                promote = keys.promote and keys.learn_from == "label"
                version = self._desk.hand(found.version(run.facts), run, promote)
        yield record.output(
            TRAINING_RUNS,
            why,
            0,
            pipeline=run.pipeline,
            model=run.model,
            trainer=keys.kind if is_made else "none",
            count=run.count,
            at=at_ms,
            partitions=list(run.starts),
            from_offsets=list(run.starts.values()),
            until_offsets=list(run.stops.values()),
            error=found.drift.mean if found.drift.width else None,
            version=version,
        )

    def _of(self, pipeline: str) -> Counting | None:
        """What is kept of a pipeline; None: it is not learned from."""
        if pipeline not in self._trainers:
            return None
        found = self._watched.get(pipeline)
        if found is None:
            keys, recipe = self._trainers[pipeline]
            if keys.kind == "online":
                assert recipe is not None  # or it would have been refused
                found = Online(keys, recipe)
            else:
                found = Counting(keys, recipe)
            state: Any = self.values.get(pipeline)
            if state is not None and (state["kind"], state["recipe"]) == _made_by(found):
                found.restore(state["kept"])
            elif state is not None:  # another recipe: the counts go on, what was learned does not
                found.progress = Counting(keys, recipe).progress.restored(state["kept"]["progress"])
            self._watched[pipeline] = found
        return found

    @override
    def _parts(self, whole: bool) -> dict[str, pa.Table]:
        # What was learned may be forgotten as an example only when versions of it are out.
        self._desk.settle()
        for pipeline in sorted(self._touched):
            found = self._watched[pipeline]
            kind, recipe = _made_by(found)
            state = {"kind": kind, "recipe": recipe, "kept": found.state()}
            self.values.put(pipeline, state)
        self._touched.clear()
        return super()._parts(whole)


def _label(found: Counting, example: Mapping[str, Any]) -> float | None:
    if found.recipe is None:
        return example["label"] if example["mode"] == "served" else None
    return target_of(found.keys, found.recipe, example)


def _made_by(found: Counting) -> tuple[str, str]:
    """By which kind of trainer and which recipe."""
    return found.keys.kind, "" if found.recipe is None else found.recipe.digest()


__all__ = ["Learn", "Trainers"]
