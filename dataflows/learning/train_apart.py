"""The program of a training process: `python -m … PARENT FOLDER`, with its task on standard input.

It reads a run's examples from the log, makes a model of them, and leaves its files in the folder;
`done.json` comes last. What it prints is what its parent logs. Status 2: no model can be made of
these examples, and none is tried again.
"""

import json
import os
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path

from streamrec.connectors.backend import open_log
from streamrec.connectors.log_settings import LogSettings
from streamrec.dataflows.learning.examples_on_log import examples_on_log
from streamrec.dataflows.learning.plan import TrainerKeys
from streamrec.dataflows.learning.runs import TrainingRun
from streamrec.models.learning.examples import TooFewExamples
from streamrec.models.learning.fit import fit
from streamrec.models.learning.recipe import Recipe
from streamrec.models.loading import BadModel
from streamrec.models.serving.apart.child import die_with

DONE = "done.json"
CANNOT = 2


@dataclass(frozen=True, slots=True)
class Task:
    """What a training process is told."""

    settings: LogSettings
    topic: str  # of examples
    run: TrainingRun
    keys: TrainerKeys
    recipe: Recipe


def main(arguments: list[str]) -> int:
    parent, folder = int(arguments[0]), Path(arguments[1])
    die_with(parent)
    task: Task = pickle.loads(sys.stdin.buffer.read())
    try:
        about = make(task, folder)
    except (TooFewExamples, BadModel) as error:
        print(error, file=sys.stderr)  # noqa: T201  # its parent reads it
        return CANNOT
    part = folder / f"{DONE}.part"
    part.write_text(json.dumps(about))
    part.replace(folder / DONE)
    return 0


def make(task: Task, folder: Path) -> dict[str, object]:
    """Files of a model in a folder; what is known of it is returned. Raises TooFewExamples,
    BadModel, LogError."""
    log = open_log(task.settings, make=False)
    examples, misfits = examples_on_log(log, task.topic, task.run, task.keys, task.recipe)
    search = None
    if task.keys.trials and task.recipe.search:
        from streamrec.models.learning.search import optuna_search

        search = optuna_search(task.recipe, task.keys.trials, task.keys.budget_s)
    facts = {"trainer": "retrain", "run": task.run.facts, "misfits": misfits}
    trained = fit(task.recipe, examples, search=search, facts=facts)
    for name, content in trained.files.items():
        (folder / name).write_bytes(content)
    return trained.about


if __name__ == "__main__":
    # Threads of libraries would take the cores of those who answer.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))
