"""Retraining: follows `training-runs`, and makes the models that they ask for, one at a time.

Which runs are done stands on the topics `models` (a version's about.json names its run) and
`model-events` (of one that could not be done). So a start after any crash goes on with the newest
run that is neither; one that a newer of its model overtook while it waited is passed over.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streamrec.connectors.log import Log, LogError, RawBatch
from streamrec.connectors.log_settings import LogSettings
from streamrec.connectors.table import GONE, Follower, decoded
from streamrec.dataflows.job.codecs import schema_of
from streamrec.dataflows.learning.desk import publish_run
from streamrec.dataflows.learning.learners import Version
from streamrec.dataflows.learning.model_events import ModelEvent
from streamrec.dataflows.learning.plan import TrainerKeys
from streamrec.dataflows.learning.published import CHALLENGER, CHAMPION
from streamrec.dataflows.learning.publishing import By, Publisher
from streamrec.dataflows.learning.runs import TrainingRun
from streamrec.dataflows.learning.tracking import Tracked, track_apart
from streamrec.dataflows.learning.train_apart import Task
from streamrec.dataflows.learning.training_process import CannotTrain, train_apart
from streamrec.models.learning.recipe import Recipe
from streamrec.schemas.json_codec import JsonDecoder

_LOOK_S = 0.2
_RETRY_S = 5.0
_logger = logging.getLogger(__name__)


class Runs(Follower):
    """The newest run of each model that is retrained, as `training-runs` has it."""

    def __init__(self, log: Log, topic: str) -> None:
        super().__init__(log, topic)
        registry = log.registry()
        self._decode = JsonDecoder(lambda key: schema_of(registry, log.patience, key)).decode
        self.newest: dict[str, TrainingRun] = {}  # by pipeline

    def apply(self, batch: RawBatch) -> int:
        for _, _, value in decoded(batch, self._decode):
            if value is not GONE and value["trainer"] == "retrain":
                self.newest[value["pipeline"]] = TrainingRun.of(value)
        return len(batch)


@dataclass(frozen=True, slots=True)
class Retraining:
    """What a thread of it needs."""

    log: Log
    settings: LogSettings
    examples_topic: str
    runs_topic: str
    trainers: Mapping[str, tuple[TrainerKeys, Recipe]]
    publisher: Callable[[], Publisher]
    who: str
    dataflow: str
    started: Callable[[int], object] = lambda pid: None  # told of each process

    def start(self) -> threading.Thread:
        """Go on in a thread, until the process ends."""
        thread = threading.Thread(target=self._go_on, name="retraining", daemon=True)
        thread.start()
        return thread

    def _go_on(self) -> None:
        while True:
            try:
                self.follow(lambda: False)
            except LogError as error:
                _logger.error("retraining: waits for the log: %s", error)
                time.sleep(_RETRY_S)

    def follow(self, stop: Callable[[], bool]) -> None:
        """Do what is to be done until `stop` says so. Raises LogError."""
        runs = Runs(self.log, self.runs_topic)
        reader = runs.load()
        done: dict[str, TrainingRun] = {}
        with self.publisher() as publisher:
            while not stop():
                for pipeline, run in list(runs.newest.items()):
                    if pipeline in self.trainers and done.get(pipeline) != run:
                        self._do(run, publisher)
                        done[pipeline] = run
                time.sleep(_LOOK_S)
                runs.catch_up(reader)
        reader.close()

    def _do(self, run: TrainingRun, publisher: Publisher) -> None:
        keys, recipe = self.trainers[run.pipeline]
        known = publisher.known().models.get(run.model)
        if known is not None and run.version_in(known) is not None:
            self._finish(run, publisher, known.versions[str(run.version_in(known))].version, keys)
            return
        place = (self.examples_topic, *run.source)
        events = publisher.events.read(run.model)
        if any((e.topic, e.partition, e.first_offset) == place for e in events):
            return  # it was told that nothing comes of it
        task = Task(self.settings, self.examples_topic, run, keys, recipe)
        _logger.info(
            "model %s: training begins, at %d examples (%s)", run.model, run.count, run.kind
        )
        began_s = time.monotonic()
        try:
            version = train_apart(task, self.started)
        except CannotTrain as error:
            _logger.error("model %s: no version at %d examples: %s", run.model, run.count, error)
            self._tell(run, publisher, "", "cannot_train", f"at {run.count} examples: {error}")
            return
        _logger.info("model %s: trained in %.1f s", run.model, time.monotonic() - began_s)
        self._out(run, publisher, version, keys)

    def _out(
        self, run: TrainingRun, publisher: Publisher, version: Version, keys: TrainerKeys
    ) -> None:
        promote = keys.promote and keys.learn_from == "label"
        made = publish_run(publisher, version, run, promote, self.who)
        self._tell(run, publisher, made, None, f"from {run.count} examples ({run.kind})")
        if keys.mlflow is not None:
            records = publisher.known().of(run.model)
            named = [a for a in (CHAMPION, CHALLENGER) if records.alias(a) == made]
            alias = named[0] if named else None
            track_apart(keys.mlflow, Tracked(run.model, made, alias, version.files, version.about))

    def _finish(
        self, run: TrainingRun, publisher: Publisher, version: str, keys: TrainerKeys
    ) -> None:
        """A version that is out may not have been chosen yet, where a crash came between."""
        known = publisher.known().of(run.model)
        told = {e.kind for e in publisher.events.read(run.model) if e.version == version}
        if "retrained" in told:
            return
        if run.is_newest_in(known) and keys.promote and keys.learn_from == "label":
            publisher.promote(run.model, version, By(self.who, "its publishing was cut off"))
        self._tell(run, publisher, version, None, f"from {run.count} examples ({run.kind})")

    def _tell(
        self, run: TrainingRun, publisher: Publisher, version: str, reason: str | None, message: str
    ) -> None:
        event = ModelEvent(
            run.model,
            version,
            "retrained",
            self.who,
            By().time_ms,
            reason=reason,
            message=message,
            dataflow=self.dataflow,
            pipeline=run.pipeline,
            topic=self.examples_topic,
            partition=run.source[0],
            first_offset=run.source[1],
        )
        publisher.events.write([event])


__all__ = ["Retraining", "Runs"]
