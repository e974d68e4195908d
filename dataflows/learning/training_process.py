"""A training process, from its parent's side: at the lowest priority, begun again when it dies."""

import json
import logging
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from streamrec.dataflows.learning.learners import Version
from streamrec.dataflows.learning.train_apart import CANNOT, DONE, Task
from streamrec.models.serving.apart.process import give_way

_PROGRAM = "streamrec.dataflows.learning.train_apart"
_TRIES = 5
_PAUSE_S = 0.5
_logger = logging.getLogger(__name__)


class CannotTrain(Exception):
    """No model came of a run, and none will."""


def train_apart(
    task: Task, started: Callable[[int], object] = lambda pid: None, tries: int = _TRIES
) -> Version:
    """The version that comes of a task; `started` is told the process's id each time. To be called
    by a thread that lives as long as this process: with it the other ends. Raises CannotTrain."""
    for number in range(1, tries + 1):
        with tempfile.TemporaryDirectory(prefix="streamrec-training-") as name:
            status, said = _run(task, Path(name), started)
            if status == 0:
                return _made(task, Path(name))
        if status == CANNOT:
            raise CannotTrain(said or "no reason was given")
        _logger.warning(
            "training of %s at %d examples ended with status %d, begun again (%d of %d): %s",
            task.run.model,
            task.run.count,
            status,
            number,
            tries,
            said,
        )
        time.sleep(_PAUSE_S)
    raise CannotTrain(f"ended {tries} times, the last with status {status}: {said}")


def _run(task: Task, folder: Path, started: Callable[[int], object]) -> tuple[int, str]:
    """Its status, and the last line that it printed."""
    printed = folder / "printed"
    command = [sys.executable, "-P", "-m", _PROGRAM, str(os.getpid()), str(folder)]
    with printed.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(_paths())},
            start_new_session=True,
        )
    give_way(process.pid, task.keys.nice)
    started(process.pid)
    try:
        process.communicate(pickle.dumps(task))
    except BrokenPipeError:  # it has ended
        process.wait()
    lines = printed.read_text(errors="replace").split("\n")
    return process.returncode, next((line for line in reversed(lines) if line.strip()), "")


def _paths() -> list[str]:
    return [path for path in sys.path if path]


def _made(task: Task, folder: Path) -> Version:
    about = json.loads((folder / DONE).read_text())
    beside = {DONE, "printed"}
    files = {each.name: each.read_bytes() for each in folder.iterdir() if each.name not in beside}
    return Version(task.recipe.name, files, about)


__all__ = ["CannotTrain", "train_apart"]
