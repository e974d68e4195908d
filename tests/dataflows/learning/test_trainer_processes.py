"""The trainer as a process: one for each model, and the same counts however often it is killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streamrec.connectors.leases.holder import Claim
from streamrec.dataflows.job.paper import PaperJob
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import MODELS, TRAINING_EXAMPLES, TRAINING_RUNS
from streamrec.dataflows.learning.plan import TrainerKeys
from streamrec.dataflows.learning.training import open_training
from streamrec.program.learning.learn_run import recipe_text
from tests.dataflows.learning.examples import all_of, learning_log, people_examples, send
from tests.models.learning.people import recipe

LEARNING = """
[[models]]
pipeline = "people"
[models.trainer]
kind = "online"
every = 20
min_examples = 2
late_ms = 100
recipe = "people.learn.toml"
"""
STARTED_S = 90.0
SEED = 5  # of when it is killed


def embedded(folder: Path) -> dict[str, str]:
    return {
        "EMBEDDED_LOG_PATH": str(folder / "log.sqlite"),
        "KAFKA_BOOTSTRAP_SERVERS": "",
        "SCHEMA_REGISTRY_URL": "",
    }


def test_a_second_trainer_of_a_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in embedded(tmp_path).items():
        monkeypatch.setenv(name, value)
    log = learning_log(tmp_path)
    first = log.lease("trainer.people", Claim(0, "one trainer", 1.0), None, lambda told: None)
    first.claim()
    job = PaperJob("trainer", settings=load_settings(lease_s=1.0))
    trainers = {"people": (TrainerKeys(recipe="people.learn.toml", every=10), recipe())}
    try:
        with pytest.raises(StartError, match=r"'trainer\.people' on .* pid"):
            open_training(job, trainers)
    finally:
        first.leave()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_counts_are_those_of_a_plain_program_though_the_trainer_is_killed(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    log = learning_log(tmp_path)
    (tmp_path / "people.learn.toml").write_text(recipe_text(recipe(), {}))
    (tmp_path / "learning.toml").write_text(LEARNING)
    environment = {
        **os.environ,
        **embedded(tmp_path),
        "STREAMREC_LEARNING": str(tmp_path / "learning.toml"),
        "STREAMREC_TICK_S": "0.1",
    }
    (tmp_path / "r").mkdir()
    command = [sys.executable, "-m", "streamrec", "run", "--flow", "dataflows.trainer"]
    command += ["-r", str(tmp_path / "r"), "-s", "1", "-b", "0"]
    records = people_examples(300)

    def begin(**more: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "printed").open("ab") as out:
            return subprocess.Popen(
                command,
                env={**environment, **more},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    for part in range(3):
        process = begin()
        before = len(all_of(log, TRAINING_RUNS))
        now_ms = int(time.time() * 1000) - 100  # event time passes with the clock, too
        own = enumerate(records[100 * part : 100 * (part + 1)])
        send(log, TRAINING_EXAMPLES, [each | {"labelled_at": now_ms + n} for n, each in own])
        until_s = time.monotonic() + STARTED_S
        while len(all_of(log, TRAINING_RUNS)) == before and time.monotonic() < until_s:
            time.sleep(0.1)
        time.sleep(rng.random())
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    process = begin(STREAMREC_FOLLOW="false")
    assert process.wait(STARTED_S) == 0, (tmp_path / "printed").read_text()[-3000:]

    runs = all_of(log, TRAINING_RUNS)
    found = [(run["count"], run["source_partition"], run["source_offset"]) for run in runs]
    places = []
    offsets = [0] * 8
    for number in range(len(records)):
        partition = number % 100 % 8
        places.append((partition, offsets[partition]))
        offsets[partition] += 1
    expected = [(count, *places[count - 1]) for count in range(20, 301, 20)]
    assert sorted(found) == expected[: len(found)]
    assert len(found) >= len(expected) - 1  # the last waits for a tick beyond its time
    ids = [each["id"] for each in all_of(log, MODELS) if each["kind"] == "version"]
    assert len(ids) == len(set(ids))
    assert {each.partition("/")[2] for each in ids} <= {run["version"] for run in runs}
