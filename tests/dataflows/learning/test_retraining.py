"""Retraining on a log: a run becomes a version once, however often its process is killed."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamrec.connectors.log import Log
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.job.topics import (
    MODEL_EVENTS,
    MODELS,
    TRAINING_EXAMPLES,
    TRAINING_RUNS,
)
from streamrec.dataflows.learning.examples_on_log import examples_on_log
from streamrec.dataflows.learning.plan import TrainerKeys
from streamrec.dataflows.learning.publishing import Publisher
from streamrec.dataflows.learning.retraining import Retraining
from streamrec.dataflows.learning.runs import TrainingRun
from streamrec.dataflows.learning.steady_publisher import SteadyPublisher
from streamrec.dataflows.learning.train_apart import Task
from streamrec.dataflows.learning.training_process import CannotTrain, train_apart
from streamrec.models.learning.fit import fit
from tests.dataflows.learning.examples import (
    START_MS,
    all_of,
    learning_log,
    people_examples,
    send,
)
from tests.models.learning.people import recipe

# On a busy machine a test would wait for ever for one that gives way to all.
KEYS = TrainerKeys(recipe="people.learn.toml", every=100, nice=0)
FEW = {"kind": "lightgbm", "parameters": {"rounds": 5}}


def run_record(count: int, **fields: Any) -> dict[str, Any]:
    """That a model is to be made of the first examples of a log."""
    return {
        "pipeline": "people",
        "model": "people",
        "source_topic": TRAINING_EXAMPLES.name,
        "source_partition": (count - 1) % 8,
        "source_offset": (count - 1) // 8,
        "dataflow": "trainer",
        "kind": "every",
        "number": 0,
        "trainer": "retrain",
        "count": count,
        "at": START_MS + 1000 * (count - 1),
        "partitions": list(range(8)),
        "from_offsets": [0] * 8,
        "until_offsets": [1000] * 8,
        **fields,
    }


def retraining(log: Log, folder: Path, started: Callable[[int], object]) -> Retraining:
    return Retraining(
        log,
        load_settings(
            embedded_log_path=folder / "log.sqlite",
            kafka_bootstrap_servers=None,
            schema_registry_url=None,
        ),
        TRAINING_EXAMPLES.name,
        TRAINING_RUNS.name,
        {"people": (KEYS, recipe(model=FEW))},
        lambda: SteadyPublisher(log),
        "trainer",
        "trainer",
        started,
    )


def follow_until(made: Retraining, is_done: Callable[[], bool]) -> None:
    ended = threading.Event()
    made.follow(lambda: is_done() or ended.wait(0))


def test_a_run_becomes_one_version_though_its_process_is_killed(tmp_path: Path) -> None:
    log = learning_log(tmp_path)
    records = people_examples(160)
    correction = records[3] | {"number": 1, "label": 1.0 - records[3]["label"]}
    # Until offset 1000: the correction is among what the run saw.
    send(log, TRAINING_EXAMPLES, [*records, correction])
    send(log, TRAINING_RUNS, [run_record(100), run_record(150)])
    started: list[int] = []

    def kill_the_first(pid: int) -> None:
        started.append(pid)
        if len(started) == 1:
            os.kill(pid, signal.SIGKILL)

    def is_out() -> bool:
        return any(e["kind"] == "retrained" for e in all_of(log, MODEL_EVENTS))

    follow_until(retraining(log, tmp_path, kill_the_first), is_out)
    assert len(started) == 2
    with Publisher(log) as publisher:
        known = publisher.known().of("people")
    (version,) = known.versions.values()
    # The run at 100 was overtaken while it waited.
    assert version.about["run"]["count"] == 150
    assert version.about["trained"]["examples"] == 150
    assert known.wanted == version.version
    kinds = [e["kind"] for e in all_of(log, MODEL_EVENTS)]
    assert sorted(kinds) == ["promoted", "published", "retrained"]

    # Another start finds it done, and a plain program makes the same of the same examples.
    follow_until(retraining(log, tmp_path, started.append), iter([False, True]).__next__)
    assert len(started) == 2
    assert len(all_of(log, MODEL_EVENTS)) == 3
    run = TrainingRun.of(run_record(150))
    examples, _ = examples_on_log(log, TRAINING_EXAMPLES.name, run, KEYS, recipe(model=FEW))
    labels = [each["label"] for each in records[:150]]
    labels[3] = correction["label"]
    assert examples.labels.tolist() == labels
    plain = fit(recipe(model=FEW), examples)
    assert plain.about["digests"] == version.about["digests"]


def test_what_cannot_be_trained_is_told_once_and_the_champion_stays(tmp_path: Path) -> None:
    log = learning_log(tmp_path)
    send(log, TRAINING_EXAMPLES, [each | {"label": 0.0} for each in people_examples(100)])
    send(log, TRAINING_RUNS, [run_record(100)])
    started: list[int] = []

    def is_told() -> bool:
        return bool(all_of(log, MODEL_EVENTS))

    for _ in range(2):
        follow_until(retraining(log, tmp_path, started.append), is_told)
    (event,) = all_of(log, MODEL_EVENTS)
    assert (event["kind"], event["reason"], event["version"]) == ("retrained", "cannot_train", "")
    assert "expected each of the labels no, yes" in event["message"]
    assert len(started) == 1
    assert all_of(log, MODELS) == []


def test_its_process_has_the_lowest_priority_unless_the_plan_says_otherwise() -> None:
    found = []

    def look_and_kill(pid: int) -> None:
        found.append((os.sched_getscheduler(pid), os.getpriority(os.PRIO_PROCESS, pid)))
        os.kill(pid, signal.SIGKILL)

    for nice in (19, 5):
        keys = KEYS.model_copy(update={"nice": nice})
        run = TrainingRun.of(run_record(100))
        task = Task(load_settings(), TRAINING_EXAMPLES.name, run, keys, recipe(model=FEW))
        with pytest.raises(CannotTrain, match="ended 2 times, the last with status -9"):
            train_apart(task, look_and_kill, tries=2)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert found[::2] == [(os.SCHED_IDLE, min(own + 19, 19)), (os.SCHED_OTHER, min(own + 5, 19))]
