"""A backlog through each contender, in turns: messages a second, and CPU for each.

- *ours*: `dataflows.scorer` with a recovery directory: each output once, over a crash too.
- *aiokafka*, *aiokafka_batches*, *quix*, *quix_tuned*: scripts in `contenders/`, which say what was
  set; at least once.

All serve the same class, which costs nothing, and check what goes in and out against its schemas.
The rate is from the first output to the last; CPU is that of the process and its children, from
where a share of the outputs was there.
"""

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.place import Place
from benchmarks.processes import BenchmarkError, Progress, recovering, running
from benchmarks.scorer import environments
from benchmarks.scorer.family import Family
from benchmarks.scorer.ours import MODULE, SERVED, Table, serve
from benchmarks.scorer.outputs import expect_each_once
from benchmarks.scorer.records import make_topic

ROUNDS = 3
EPOCH_S = 10  # as the README starts the main job
WARM_UP_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Task:
    """A model, and a topic full of what it is sent."""

    model: Table  # as the list of models has it
    name: str
    inputs: str
    count: int
    is_right: Callable[[str], Callable[[bytes], bool]]  # for a topic of outputs
    with_headers: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    rate: float  # outputs a second, first to last
    cpu_us: float  # for each output, once warm


Contender = Callable[[Place, Task, str], Run]  # the last names the run


def in_turns(place: Place, task: Task, contenders: Mapping[str, Contender]) -> dict[str, list[Run]]:
    """Each contender's runs, one in each round, so that what else the machine does falls on all
    alike. Raises BenchmarkError when a record was not answered once."""
    runs: dict[str, list[Run]] = {name: [] for name in contenders}
    for number in range(ROUNDS):
        for name, contender in contenders.items():
            run = contender(place, task, f"{task.name}-{name}-{number}")
            runs[name].append(run)
            place.say(
                f"{task.name}, round {number + 1} of {ROUNDS}: {name} {run.rate:,.0f} a second, "
                f"{run.cpu_us:.1f} us of CPU each"
            )
    return runs


def ours(place: Place, task: Task, name: str) -> Run:
    served = serve(place, name, [{**task.model, "name": task.name, "inputs": [task.inputs]}])
    outputs = served.topic(task.name, "outputs")
    with tempfile.TemporaryDirectory(dir=place.folder) as recovery:
        arguments = recovering(MODULE, Path(recovery), EPOCH_S)
        run = _measure(place, task, name, outputs, arguments, served.environment)
    served.delete_topics(place)
    return run


def script(place: Place, task: Task, name: str, *, lock: str, file: str, how: Sequence[str]) -> Run:
    """One of `contenders/`, in the environment of a lock."""
    python = environments.python_of(lock, place.say)
    outputs = make_topic(place, f"{name}.outputs")
    servers = place.environment["KAFKA_BOOTSTRAP_SERVERS"]
    arguments = [servers, task.inputs, outputs, outputs, str(task.count), task.name, *how]
    environment = place.process_environment() | {"PYTHONPATH": str(SERVED)}
    program = (str(python), str(environments.CONTENDERS / file))
    run = _measure(place, task, name, outputs, arguments, environment, program)
    place.delete_topics(outputs)
    return run


RIVALS: dict[str, Contender] = {
    "aiokafka": partial(script, lock="aiokafka", file="aiokafka_loop.py", how=("send",)),
    "aiokafka_batches": partial(script, lock="aiokafka", file="aiokafka_loop.py", how=("batches",)),
    "quix": partial(script, lock="quix", file="quix_app.py", how=("plain",)),
    "quix_tuned": partial(script, lock="quix", file="quix_app.py", how=("tuned",)),
}


def _measure(
    place: Place,
    task: Task,
    name: str,
    outputs: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *program: Sequence[str],
) -> Run:
    with running(name, arguments, environment, place.folder, *program) as process:
        progress = Progress(Family(process), place.log, outputs)
        progress.watch(lambda sample: False)
        process.wait()
    is_right = task.is_right(outputs)
    expect_each_once(place, outputs, task.count, is_right, with_headers=task.with_headers)
    cpu_us, _ = progress.warm_us(task.count, WARM_UP_SHARE)
    first = next(sample for sample in progress.samples if sample.done)
    last = next(sample for sample in progress.samples if sample.done >= task.count)
    if last.at_s <= first.at_s:
        raise BenchmarkError(f"{name} ran too short for two samples")
    return Run((last.done - first.done) / (last.at_s - first.at_s), cpu_us)


def figures_of(name: str, runs: Mapping[str, Sequence[Run]]) -> list[Figure]:
    """Medians of each contender."""
    return [
        figure
        for who, found in runs.items()
        for figure in (
            Figure(f"{name}.{who}.rate", statistics.median(r.rate for r in found), "records/s"),
            Figure(f"{name}.{who}.cpu", cpu_us_of(found), "us CPU/record"),
        )
    ]


def cpu_us_of(runs: Sequence[Run]) -> float:
    """Their median."""
    return statistics.median(run.cpu_us for run in runs)


def ratios_of(
    name: str, runs: Mapping[str, Sequence[Run]], at_least: Mapping[str, float]
) -> list[Figure]:
    """Our rate by that of each rival, round by round, and their CPU by ours; `at_least` has the
    targets of rates, by rival."""
    mine = runs["ours"]
    return [
        figure
        for who, theirs in runs.items()
        if who != "ours"
        for figure in (
            Figure(
                f"{name}.rate_by_{who}",
                statistics.median(m.rate / t.rate for m, t in zip(mine, theirs, strict=True)),
                "x",
                at_least=at_least.get(who),
            ),
            Figure(
                f"{name}.cpu_of_{who}_by_ours",
                statistics.median(t.cpu_us / m.cpu_us for m, t in zip(mine, theirs, strict=True)),
                "x",
            ),
        )
    ]
