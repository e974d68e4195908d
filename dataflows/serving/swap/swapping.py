"""A pipeline that follows a published model, in one process: its versions, and which is to answer.

Worker threads ask `lane`, `target` and `loaded`; the threads of `ModelWatch` change the target.
Each partition takes it up by itself, between two batches (`asking`).
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.learning.model_events import ModelEvent
from streamrec.dataflows.learning.published import CHAMPION, PINNED, ModelRecords
from streamrec.dataflows.serving.answering import AnswerInputs, Judge
from streamrec.dataflows.serving.apart_models import ApartModel
from streamrec.dataflows.serving.pipelines import Variant
from streamrec.dataflows.serving.running import Running
from streamrec.dataflows.serving.swap.first import First
from streamrec.dataflows.serving.swap.made import Refused, apart_model, made_of
from streamrec.dataflows.serving.swap.timeline import LaneVersions, ModelVersion, Timeline
from streamrec.dataflows.serving.swap.told import BEGAN, ENDED, TAKEN_BACK
from streamrec.dataflows.serving.swap.trials import (
    MODEL_FAULTS,
    TrialInputs,
    TrialRules,
    check_fits,
    self_test,
)
from streamrec.dataflows.serving.swap.watch import ModelWatch
from streamrec.models.serving.apart.predictor import ApartPredictor
from streamrec.models.serving.contract import Fault, Metadata, Predictor
from streamrec.schemas.served import ServedBy

_logger = logging.getLogger(__name__)

_LOADED_MAX = 4  # versions in memory
_END_S = 5.0  # that an end waits for the log
_JUDGED_MIN = 50  # inputs before a version is judged
_JUDGED_MAX = 2_000  # after so many, older ones count half

Place = tuple[str, int]  # topic, partition


@dataclass(slots=True)
class Loaded:
    """A version in memory."""

    version: ModelVersion
    predictor: Predictor
    running: Running
    answer: AnswerInputs
    apart: list[ApartPredictor]  # what must be closed
    asked: int = 0
    failed: int = 0

    def judge(self, count: int, faults: Collection[Fault]) -> float:
        """Count, and say the share of inputs at which it failed; 0: too few to say."""
        if self.asked >= _JUDGED_MAX:
            self.asked, self.failed = self.asked // 2, self.failed // 2
        self.asked += count
        if not faults and not self.failed:
            return 0.0
        self.failed += sum(each.reason in MODEL_FAULTS for each in faults)
        return self.failed / self.asked if self.asked >= _JUDGED_MIN else 0.0


@dataclass(frozen=True, slots=True)
class SwapPlan:
    """What a pipeline is, and how its versions answer."""

    pipeline: str
    model: str  # published under this name
    variant: Variant
    metadata: Metadata  # that the topics were made for
    rules: TrialRules
    flow_id: str
    read_only: bool  # a replay into other topics begins nothing
    # Makes the step's answer of a version: who answers, whose place among `by`, and who judges.
    answering: Callable[[Running, int, Judge], AnswerInputs]
    on_move: Callable[[], object] = lambda: None
    on_target: Callable[[ModelVersion, float | None], object] = lambda version, made_s: None


class Swapping:
    """See the module."""

    def __init__(
        self,
        plan: SwapPlan,
        watch: ModelWatch,
        first: First,
        ends: Mapping[Place, int],
    ) -> None:
        """`first` answers until another is there; `ends` are those of the inputs at the start."""
        version, predictor = first.version, first.predictor
        self._plan = plan
        self._watch = watch
        self._ends = ends
        self._lock = threading.RLock()
        self._loading = threading.Lock()
        self._lanes: dict[Place, LaneVersions] = {}
        self._loaded: dict[ModelVersion, Loaded] = {}
        self._refused: dict[ModelVersion, int] = {}  # by the number of the alias that wanted it
        self._whys: dict[ModelVersion, str] = {}  # of those that were taken back here
        self._stuck: set[ModelVersion] = set()  # that fail, with none before them
        self._order: list[ModelVersion] = []  # that were the target, newest last
        self.by: list[ServedBy] = []  # each version's name in outputs, in the order of loading
        self._places: dict[ModelVersion, int] = {}
        self.sample = TrialInputs()  # some inputs that came last
        told = watch.told.pipelines[plan.pipeline]
        self._told = told
        # As it was at the start: what this run begins it knows before the topic tells it.
        self._timelines, self._ended = told.timelines, told.ends
        told.timelines, told.ends = {}, {}
        self._order += [each for each in told.order if each != version]
        self._keep(version, predictor, [predictor] if isinstance(predictor, ApartPredictor) else [])
        self.target = self._loaded[version]
        self._aim(self.target)
        for each, why in first.refused.items():
            self._refuse(each, why)

    # Of the workers.

    def lane(self, topic: str, partition: int) -> LaneVersions:
        """A partition in this run."""
        place = topic, partition
        found = self._lanes.get(place)
        if found is None:
            timeline = self._timelines.get(place, Timeline())
            end = self._ended.get(place)
            floor = self._ends.get(place, 0) if end is None else end
            found = self._lanes[place] = LaneVersions(timeline, floor, is_closed=end is not None)
        return found

    @property
    def begins(self) -> bool:
        """Whether versions begin in this run, or answer as they did."""
        return not self._plan.read_only

    def loaded(self, version: ModelVersion) -> Loaded:
        """A version that answers, or has answered. Raises StartError where it cannot be had."""
        found = self._loaded.get(version)
        if found is not None:
            return found
        try:
            with self._loading:
                if version not in self._loaded:
                    self._keep(version, *self._made(version))
                return self._loaded[version]
        except Refused as refused:
            raise StartError(
                f"model {self._plan.pipeline!r}: inputs that version {version.version} of "
                f"{version.model!r} answered need it again, and it cannot be had: {refused}; "
                "publish it again"
            ) from refused

    def begin(self, begins: Sequence[tuple[Place, int, ModelVersion]]) -> None:
        """A version's first offset in partitions, durable when this returns."""
        now_ms, events = _now_ms(), []
        for (topic, partition), first_offset, version in begins:
            before = self.lane(topic, partition).timeline.last
            is_back = before is not None and before != version and before in self._told.taken_back
            events.append(
                replace(
                    self._event(BEGAN, version, now_ms),
                    kind=TAKEN_BACK if is_back else BEGAN,
                    version=before.version if is_back and before is not None else version.version,
                    reason="model_failed" if is_back else None,
                    message=self._whys.get(before, "") if is_back and before else "",
                    previous=version.version
                    if is_back
                    else (None if before is None else before.version),
                    topic=topic,
                    partition=partition,
                    first_offset=first_offset,
                )
            )
        self._watch.append(events)
        for place, first_offset, version in begins:
            self.lane(*place).begin(first_offset, version)

    # Of the watch.

    def settle(self) -> ModelVersion | None:
        """As `Follows` says."""
        with self._lock:
            wanted = self._wanted()
            if wanted is None or wanted == self.target.version:
                return None
            found = self._loaded.get(wanted)
            if found is None:
                return wanted
            self._aim(found)
            return None

    def load(self, version: ModelVersion) -> None:
        """Load and try a version; told on the topic either way."""
        made: tuple[Predictor, list[ApartPredictor]] | None = None
        try:
            with self._loading:
                if version in self._loaded:
                    return
                made = self._made(version)
                old = self.target
                check_fits(made[0], self._plan.metadata, self._plan.rules)
                live = self.sample.cut() if self.sample.count else None
                turns = old.running.turns
                about = self._watch.about(version)
                self_test(made[0], old.predictor, live, about, self._plan.rules, lambda: turns)
                with self._lock:
                    self._keep(version, *made)
        except Refused as refused:
            for each in made[1] if made is not None else ():
                each.close()
            self._refuse(version, refused)
            return
        self._watch.tell([self._event("loaded", version)])

    def close(self) -> None:
        """Say where this run ended: nothing after that was answered."""
        lanes = [(p, lane) for p, lane in self._lanes.items() if lane.next_offset >= 0]
        if lanes and self.begins:
            now_ms = _now_ms()
            self._watch.append(
                [
                    replace(
                        self._event(ENDED, lane.timeline.at(lane.next_offset), now_ms),
                        topic=topic,
                        partition=partition,
                        first_offset=lane.next_offset,
                    )
                    for (topic, partition), lane in lanes
                    # What a run before has answered further on, it has not said.
                    if lane.next_offset >= lane.floor
                ],
                within_s=_END_S,
            )

    def close_apart(self) -> None:
        """End what runs in processes of its own."""
        for each in list(self._loaded.values()):
            _close(each)

    def _wanted(self) -> ModelVersion | None:
        """What is to answer: what the topic says, unless it was refused or taken back; else the
        newest that was not."""
        records = self._watch.models.models.get(self._plan.model)
        named = None if records is None else records.wanted
        if records is None or named is None:
            return None
        wanted = ModelVersion(self._plan.model, named)
        number = _choices(records)
        back = self._told.taken_back
        if wanted not in back and self._refused.get(wanted) != number:
            return wanted
        if self.target.version not in back:
            return self.target.version
        kept = [each for each in self._order if each not in back and each not in self._refused]
        return kept[-1] if kept else None

    def _aim(self, loaded: Loaded) -> None:
        if loaded.version in self._order:
            self._order.remove(loaded.version)
        self._order.append(loaded.version)
        loaded.asked = loaded.failed = 0
        self.target = loaded
        _logger.info("model %s: version %s answers", self._plan.pipeline, loaded.version.version)
        records = self._watch.models.models.get(loaded.version.model)
        found = None if records is None else records.versions.get(loaded.version.version)
        self._plan.on_target(loaded.version, None if found is None else found.at_ms / 1000)

    def _refuse(self, version: ModelVersion, refused: Refused) -> None:
        records = self._watch.models.models[version.model]
        with self._lock:
            self._refused[version] = _choices(records)
        _logger.error(
            "model %s: version %s refused: %s: %s",
            self._plan.pipeline,
            version.version,
            refused.reason,
            refused,
        )
        event = self._event("refused", version)
        self._watch.tell([replace(event, reason=refused.reason, message=str(refused))])

    def _judge(self, version: ModelVersion, count: int, faults: Collection[Fault]) -> None:
        found = self._loaded.get(version)
        if found is None:
            return
        share = found.judge(count, faults)
        if share > self._plan.rules.failing_share and version == self.target.version:
            last = next((each for each in faults if each.reason in MODEL_FAULTS), None)
            self._take_back(version, share, "" if last is None else last.message)

    def _take_back(self, version: ModelVersion, share: float, message: str) -> None:
        with self._lock:
            if version in self._stuck | self._told.taken_back or not self.begins:
                return
            told = f"failed at {share:.0%} of the last inputs: {message}"
            if not [each for each in self._order if each != version]:
                self._stuck.add(version)
                _logger.error(
                    "model %s: version %s %s; there is none before it to go back to",
                    self._plan.pipeline,
                    version.version,
                    told,
                )
                return
            self._told.taken_back.add(version)
            self._whys[version] = told
            before = self._wanted()
        _logger.error(
            "model %s: version %s taken back: it %s", self._plan.pipeline, version.version, told
        )
        self._watch.tell(
            [
                replace(
                    self._event(TAKEN_BACK, version),
                    reason="model_failed",
                    message=told,
                    previous=None if before is None else before.version,
                )
            ]
        )
        self._watch.look()

    def _made(self, version: ModelVersion) -> tuple[Predictor, list[ApartPredictor]]:
        """A version, and what runs in a process of its own for it. Raises Refused."""
        folder = self._watch.folder_of(version)
        return made_of(folder, self._plan.variant, self._plan.pipeline)

    def _keep(self, version: ModelVersion, made: Predictor, apart: list[ApartPredictor]) -> None:
        plan, label = self._plan, f"{self._plan.pipeline}/{version.version}"
        if version not in self._places:
            self._places[version] = len(self.by)
            self.by.append(ServedBy(version.model, version.version))

        def make_apart() -> ApartModel:
            if not apart:  # it was slow here
                plan.on_move()
                folder = self._watch.folder_of(version)
                apart.append(apart_model(folder, plan.variant, label))
            return ApartModel(apart[0])

        running = Running(
            label, None if apart else made, make_apart, self._plan.variant.cut_ms / 1000
        )
        if apart:
            plan.on_move()
            running.start_apart()

        def judge(count: int, faults: Collection[Fault]) -> None:
            self._judge(version, count, faults)

        answer = plan.answering(running, self._places[version], judge)
        with self._lock:
            while len(self._loaded) >= _LOADED_MAX:
                oldest = next(each for each in self._loaded if each != self.target.version)
                _close(self._loaded.pop(oldest))
            self._loaded[version] = Loaded(version, made, running, answer, apart)

    def _event(self, kind: str, version: ModelVersion, at_ms: int | None = None) -> ModelEvent:
        return ModelEvent(
            version.model,
            version.version,
            kind,
            self._watch.who,
            _now_ms() if at_ms is None else at_ms,
            dataflow=self._plan.flow_id,
            pipeline=self._plan.pipeline,
        )


def _choices(records: ModelRecords) -> int:
    """How often it was chosen which version answers: a refused one may be tried again then."""
    found = (records.aliases.get(name) for name in (CHAMPION, PINNED))
    return sum(each.number for each in found if each is not None)


def _close(loaded: Loaded) -> None:
    for each in loaded.apart:
        each.close()


def _now_ms() -> int:
    return int(time.time() * 1000)


__all__ = ["Loaded", "Place", "SwapPlan", "Swapping"]
