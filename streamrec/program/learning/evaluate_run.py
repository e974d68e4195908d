"""What `evaluate` does and shows."""

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from streamrec.connectors.click_files.questions import are_questions
from streamrec.connectors.click_files.reading import ReadAs
from streamrec.models.sessions.candidate_kernel import METHODS
from streamrec.models.training.fitting import RANKERS
from streamrec.models.training.judge import MODELS, Judge, Result
from streamrec.models.training.logs import questions
from streamrec.models.training.train import TrainingSettings, train
from streamrec.program.file_options import file_errors
from streamrec.program.learning.evaluate_files import read_log, read_questions
from streamrec.program.rejected_rows import RejectedRows
from streamrec.program.shared import CommandError, UsageError

_DEFAULT_MODELS = ("lightgbm", "blend", *METHODS)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is trained on what, and judged how."""

    train_files: list[Path]
    test_files: list[Path]
    models: str | None  # names with commas between; None: all but the slower rankers
    read_as: ReadAs
    budget: float
    seed: int
    threads: int
    prequential: bool
    limit: int | None


def evaluate_models(asked: Evaluation, out: Path | None) -> None:
    """The command, its options parsed."""
    console = Console(stderr=True)
    with file_errors("evaluate"):
        results = evaluate(asked, console)
    show(results, Console(width=max(Console().width, 150)))
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sys.platform == "darwin":
        peak_kb //= 1024
    console.print(f"most memory of the process: {peak_kb / 1024:.0f} MB")
    if out is not None:
        report = {
            "train": [path.name for path in asked.train_files],
            "test": [path.name for path in asked.test_files],
            "seed": asked.seed,
            "budget_minutes": asked.budget,
            "results": [asdict(each) for each in results],
        }
        out.write_text(json.dumps(report, indent=2) + "\n")


def evaluate(asked: Evaluation, console: Console) -> list[Result]:
    """Train within the budget, then judge. With `prequential` every model comes twice: as it was
    after training, and learning live from the clicks of the test log."""
    try:
        settings = TrainingSettings(
            budget_minutes=asked.budget, seed=asked.seed, threads=asked.threads
        )
    except ValueError as error:
        raise UsageError(f"evaluate: {error}") from error
    given = asked.models.split(",") if asked.models else _DEFAULT_MODELS
    names = [name.strip() for name in given if name.strip()]
    if unknown := set(names) - set(MODELS):
        raise UsageError(f"--models expected some of {', '.join(MODELS)}, got {sorted(unknown)!r}")

    def say(text: str) -> None:
        _say(console, text)

    results: list[Result] = []
    with _progress(console) as progress:
        task = progress.add_task("reading the training files", total=None)
        log = read_log(asked.train_files, asked.read_as, RejectedRows(True, say=say))
        wanted = [name for name in names if name in RANKERS] or ["none"]
        for place, ranker in enumerate(wanted):
            begin = time.monotonic()
            model = train(
                log,
                settings=settings,
                ranker=ranker,
                progress=lambda message: progress.update(task, description=message),
            )
            training_s = time.monotonic() - begin
            # The methods and the blend are judged with the first ranker only: they are the same.
            mine = [
                name for name in names if name == ranker or (place == 0 and name not in RANKERS)
            ]
            judging = progress.add_task("judging")
            judge = Judge(
                model,
                log,
                mine,
                training_s,
                lambda count, total, task=judging: progress.update(  # type: ignore[misc]  # its own
                    task, advance=count, total=total
                ),
            )
            # Of test files that are read once more there is nothing new to say.
            rejected = RejectedRows(True, say=say if place == 0 else lambda text: None)
            results += _judged(asked, judge, rejected)
    return results


def _say(console: Console, text: str) -> None:
    # Not as markup: there may be brackets in it.
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _judged(asked: Evaluation, judge: Judge, rejected: RejectedRows) -> list[Result]:
    first = asked.test_files[0]
    if are_questions(first):
        if asked.prequential:
            raise UsageError(
                f"--prequential expected a session log, got questions in {first.name}: "
                "each is judged by itself, so there is no order to learn in"
            )
        found = read_questions(asked.test_files, rejected)
        number = judge.model.items.numbers
        items = number(found.items, None, add=False)
        judged = questions(found.lengths, items, number(found.targets, None, add=False))
        results = judge.of_questions(judged[: asked.limit])
    else:
        test = read_log(asked.test_files, asked.read_as, rejected)
        results = judge.of_log(test, asked.limit, asked.prequential)
    if not results:
        raise CommandError(f"evaluate: {first.name} expected something to judge, got nothing")
    return results


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as progress:
        yield progress


def show(results: list[Result], console: Console) -> None:
    """Print the tables."""
    table = Table(title="accuracy, 95 % intervals; ties count against the model")
    for column in ("model", "learns", "HR@5", "HR@10", "HR@20", "MRR@20"):
        table.add_column(column, no_wrap=True)
    for each in results:
        how = "live" if each.prequential else "static"
        table.add_row(each.model, how, *map(str, (each.hr5, each.hr10, each.hr20, each.mrr20)))
    console.print(table)
    apart = Table(title="HR@20 / MRR@20 apart")
    for column in ("model", "learns", "cold items", "first clicks", "repeats", "not repeats"):
        apart.add_column(column, no_wrap=True)
    for each in results:
        parts = (each.cold_items, each.cold_sessions, each.repeats, each.new_in_session)
        apart.add_row(
            each.model,
            "live" if each.prequential else "static",
            *(f"{hr.value:.4f} / {mrr.value:.4f} ({hr.n})" for hr, mrr in parts),
        )
    console.print(apart)
    cost = Table(title="cost: CPU µs a query in batches of 64 and alone, median / p99")
    for column in (
        *("model", "learns", "batch", "alone", "learn µs/click", "training s"),
        *("memory MB", "coverage", "popularity rank"),
    ):
        cost.add_column(column, no_wrap=True)
    for each in results:
        cost.add_row(
            each.model,
            "live" if each.prequential else "static",
            f"{each.cost.batch_median_us:.0f} / {each.cost.batch_p99_us:.0f}",
            f"{each.cost.alone_median_us:.0f} / {each.cost.alone_p99_us:.0f}",
            f"{each.learn_us:.1f}",
            f"{each.training_s:.0f}",
            f"{each.memory_mb:.0f}",
            f"{each.coverage:.3f}",
            f"{each.popularity_rank:.0f}",
        )
    console.print(cost)
