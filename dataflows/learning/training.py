"""What the settings say is trained, and what does it on a real log."""

import os
from collections.abc import Callable
from functools import partial

from streamrec.connectors.backend import open_log
from streamrec.connectors.leases.holder import Claim
from streamrec.connectors.log import LogError
from streamrec.connectors.patience import Patience
from streamrec.dataflows.engine.flags import process_index, recovery_directory
from streamrec.dataflows.engine.holding import Holding, end_at_once
from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.saved_state import LEASES
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import TRAINING_EXAMPLES, TRAINING_RUNS
from streamrec.dataflows.learning.desk import Desk, PaperDesk, PublishingDesk
from streamrec.dataflows.learning.learn import Trainers
from streamrec.dataflows.learning.plan import RECOMMENDER, BadPlan, LearningPlan, read_plan
from streamrec.dataflows.learning.published import ModelTopics, who_am_i
from streamrec.dataflows.learning.retraining import Retraining
from streamrec.dataflows.learning.steady_publisher import SteadyPublisher
from streamrec.models.learning.online import OnlineLearner
from streamrec.models.learning.recipe import Recipe, read_recipe
from streamrec.models.loading import BadModel


def trainers_of(settings: Settings, required: bool = False) -> Trainers:
    """By pipeline, what the learning file says is trained, with its recipe. Raises StartError; with
    `required` also where there is nothing."""
    if settings.learning is None and not required:
        return {}
    try:
        plan = read_plan(settings.learning)
        found = {
            each.pipeline: (each.trainer, _recipe(plan, each.trainer.recipe))
            for each in plan.models
            if each.trainer is not None
        }
        for pipeline, (keys, recipe) in found.items():
            if keys.kind == "online":
                if recipe is None:
                    raise BadModel(f"{pipeline!r}: trainer.kind expected retrain, got online")
                OnlineLearner(recipe)
    except (BadPlan, BadModel) as error:
        raise StartError(str(error)) from error
    if required and not found:
        raise StartError(
            f"dataflow 'trainer' expected an entry with a trainer in {settings.learning}, got none"
        )
    names = [keys.publish_as or pipeline for pipeline, (keys, _) in found.items()]
    for name in names:
        if names.count(name) > 1:
            raise StartError(f"trainers expected a model each, got two that publish {name!r}")
    return found


def _recipe(plan: LearningPlan, named: str) -> Recipe | None:
    return None if named == RECOMMENDER else read_recipe(plan.folder / named)


def open_training(job: Job, trainers: Trainers) -> Desk:
    """What publishes, on the log of the job's settings; in a replay into other topics nothing does.
    Starts retraining, in the first process of a cluster. Raises StartError, LogError."""
    settings = job.settings
    if settings.into is not None:
        return PaperDesk()
    log = open_log(settings, Patience(None, job.is_stopping), make=False)
    publisher: Callable[[], SteadyPublisher] = partial(
        SteadyPublisher, log, ModelTopics.of(settings)
    )
    publisher().close()  # what is missing is told before anything is read
    holding = Holding()
    recovery = recovery_directory()
    locks = None if recovery is None else recovery.resolve() / LEASES / "trainer"
    who = f"trainer {who_am_i()}/{os.getpid()}"

    def hold(model: str) -> None:
        """The lease of who trains a model: one process, wherever it runs."""
        name = f"trainer.{model}"
        claim = Claim(0, "one trainer", settings.lease_s)
        key = f"{name} on {log.describe_target()}"
        holding.take(key, lambda: log.lease(name, claim, locks, end_at_once))

    retrained = {
        pipeline: (keys, recipe)
        for pipeline, (keys, recipe) in trainers.items()
        if keys.kind == "retrain" and recipe is not None
    }
    if retrained and process_index() == 0:
        try:
            for pipeline, (keys, _) in retrained.items():
                hold(keys.publish_as or pipeline)
        except LogError as error:
            raise StartError(str(error)) from error
        Retraining(
            log,
            settings,
            settings.topic(TRAINING_EXAMPLES),
            settings.topic(TRAINING_RUNS),
            retrained,
            publisher,
            who,
            job.flow_id,
        ).start()
    return PublishingDesk(publisher, hold, who)


__all__ = ["open_training", "trainers_of"]
