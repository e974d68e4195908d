"""`streamrec evaluate`: train on some files, be judged on others, print and write the table.

Two formats, found by content. A session log (CSV, TSV or Parquet): each click after a session's
first is judged from those before it. JSON lines: an array of item ids a session to train on, and
`{"prefix": [ids], "target": id}` to be judged by. Nothing is ever fitted to a test file.
"""

import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from streamrec.models.sessions.candidate_kernel import METHODS
from streamrec.models.sessions.numbered import NumberedSessions
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.training.fitting import RANKERS
from streamrec.models.training.logs import (
    BadLog,
    BadRows,
    ClickLog,
    Columns,
    Judged,
    SessionRows,
    is_jsonl,
    questions,
    read_log,
    read_questions,
    read_sessions,
)
from streamrec.models.training.metrics import Mean, hits, mean_of, reciprocal_ranks, target_ranks
from streamrec.models.training.train import TrainingSettings, train

_ASKED = 40  # items asked for: twice the largest cut-off, so that ties across it count against us
_SHOWN = 20
_BATCH = 64
_ALONE_MAX = 2_000  # queries asked one by one for their cost
_COLD_CLICKS = 5  # a target with at most so many training clicks is a cold item
_TEST_KEYS = 1 << 40  # keeps the sessions of a test file apart from those learned
MODELS = (*RANKERS, "blend", *METHODS)
_DEFAULT_MODELS = ("lightgbm", "blend", *METHODS)


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of CPU a query."""

    batch_median_us: float
    batch_p99_us: float
    alone_median_us: float
    alone_p99_us: float


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table."""

    model: str
    prequential: bool
    queries: int
    hr5: Mean
    hr10: Mean
    hr20: Mean
    mrr20: Mean
    cold_items: tuple[Mean, Mean]  # HR@20, MRR@20 of targets with few training clicks or none
    cold_sessions: tuple[Mean, Mean]  # of sessions of one click
    repeats: tuple[Mean, Mean]  # of targets that are in their session already
    new_in_session: tuple[Mean, Mean]  # of the others
    coverage: float  # share of the known items that were shown to anybody
    popularity_rank: float  # mean rank by training clicks of what was shown, 1 the most popular
    cost: Cost
    learn_us: float  # of CPU a click learned
    training_s: float
    memory_mb: float


class Asked:
    """What one model said to the queries so far, and what it cost."""

    def __init__(self, name: str, model: SessionRecommender) -> None:
        self.name = name
        self.model = model
        self.ranks: list[NDArray[np.int64]] = []
        self.shown: list[NDArray[np.int32]] = []
        self.batch_us: list[float] = []

    def ask(self, judged: Judged) -> None:
        begin = time.process_time_ns()
        self.model.recommend(judged.sessions, _SHOWN)
        self.batch_us.append((time.process_time_ns() - begin) / 1e3 / len(judged))
        # Asked again for more, untimed: ties across the cut-off have to be seen.
        ranking = self.model.recommend(judged.sessions, _ASKED)
        self.ranks.append(target_ranks(ranking, judged.targets))
        self.shown.append(ranking.items[:, :_SHOWN])

    def result(
        self,
        judged: Judged,
        clicks: NDArray[np.int64],
        prequential: bool,
        learn_us: float,
        training_s: float,
    ) -> Result:
        """`clicks` (n_items,): training clicks by item number."""
        ranks = np.concatenate(self.ranks)
        shown = np.concatenate(self.shown).ravel()
        shown = shown[(shown >= 0) & (shown < len(clicks))]
        targets = judged.targets
        known = np.flatnonzero(clicks > 0)
        popularity = np.empty(len(clicks), np.int64)
        popularity[np.argsort(-clicks, kind="stable")] = np.arange(1, len(clicks) + 1)
        cold = (targets < 0) | (clicks[np.maximum(targets, 0)] <= _COLD_CLICKS)
        repeat = is_repeat(judged)
        alone = self._alone_us(judged.sessions)
        return Result(
            model=self.name,
            prequential=prequential,
            queries=len(judged),
            hr5=mean_of(hits(ranks, 5)),
            hr10=mean_of(hits(ranks, 10)),
            hr20=mean_of(hits(ranks, 20)),
            mrr20=mean_of(reciprocal_ranks(ranks, 20)),
            cold_items=_pair(ranks[cold]),
            cold_sessions=_pair(ranks[judged.sessions.positions == 1]),
            repeats=_pair(ranks[repeat]),
            new_in_session=_pair(ranks[~repeat]),
            coverage=len(np.unique(shown)) / max(len(known), 1),
            popularity_rank=float(popularity[shown].mean()) if len(shown) else 0.0,
            cost=Cost(
                float(np.median(self.batch_us)),
                float(np.quantile(self.batch_us, 0.99)),
                float(np.median(alone)),
                float(np.quantile(alone, 0.99)),
            ),
            learn_us=learn_us,
            training_s=training_s,
            memory_mb=self.model.bytes_used / 1e6,
        )

    def _alone_us(self, sessions: NumberedSessions) -> NDArray[np.float64]:
        rows = np.linspace(0, len(sessions) - 1, min(_ALONE_MAX, len(sessions))).astype(np.int64)
        spent = np.empty(len(rows))
        for place, row in enumerate(rows.tolist()):
            first, end = sessions.bounds[row], sessions.bounds[row + 1]
            one = NumberedSessions(
                keys=sessions.keys[row : row + 1],
                items=sessions.items[first:end],
                times_ms=sessions.times_ms[first:end],
                bounds=np.array([0, end - first]),
                positions=sessions.positions[row : row + 1],
                user_features=sessions.user_features[row : row + 1],
            )
            begin = time.process_time_ns()
            self.model.recommend(one, _SHOWN)
            spent[place] = (time.process_time_ns() - begin) / 1e3
        return spent


def is_repeat(judged: Judged) -> NDArray[np.bool_]:
    """Whether each target is in its session already, (n,)."""
    sessions = judged.sessions
    row = np.repeat(np.arange(len(judged)), np.diff(sessions.bounds))
    same = (sessions.items == judged.targets[row]) & (sessions.items >= 0)
    return np.bincount(row[same], minlength=len(judged)) > 0


def _pair(ranks: NDArray[np.int64]) -> tuple[Mean, Mean]:
    return mean_of(hits(ranks, _SHOWN)), mean_of(reciprocal_ranks(ranks, _SHOWN))


def asked_models(trained: SessionRecommender, names: Sequence[str]) -> list[Asked]:
    """The models by name, all on the index that `trained` has learned."""
    asked = []
    for name in names:
        # What is learned is the same for all: predicting changes nothing, so they can share it.
        model = trained.alone(*((name,) if name in METHODS else METHODS))
        if name in RANKERS:
            model.ranker = trained.ranker
        asked.append(Asked(name, model))
    return asked


def judge(
    asked: list[Asked],
    judged: Judged,
    rows: SessionRows | None = None,
    progress: Progress | None = None,
) -> None:
    """Ask every model about every query; with `rows`, learn each click of the test log after it
    was judged, in batches of 64 clicks (prequential)."""
    task = progress.add_task("judging", total=len(judged)) if progress else None
    if rows is None:
        for first in range(0, len(judged), _BATCH):
            batch = judged[slice(first, first + _BATCH)]
            for each in asked:
                each.ask(batch)
            if progress and task is not None:
                progress.advance(task, len(batch))
        return
    index = asked[0].model
    of_row = rows.judged_rows()[: len(judged)]
    end_row = int(of_row[-1]) + 1 if len(of_row) else 0
    for first in range(0, end_row, _BATCH):
        begin, end = np.searchsorted(of_row, [first, first + _BATCH])
        if begin < end:
            # Targets by their numbers of now: the item may have become known since.
            batch = judged[slice(int(begin), int(end))]
            for each in asked:
                each.ask(batch)
            if progress and task is not None:
                progress.advance(task, len(batch))
        index.learn(rows.sessions(slice(first, min(first + _BATCH, len(rows)))))


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


def evaluate(
    train_files: list[Path],
    test_files: list[Path],
    names: Sequence[str] = _DEFAULT_MODELS,
    columns: Columns | None = None,
    settings: TrainingSettings | None = None,
    prequential: bool = False,
    limit: int | None = None,
    console: Console | None = None,
) -> list[Result]:
    """Train within the budget, then judge. With `prequential` every model comes twice: as it was
    after training, and learning live from the clicks of the test log."""
    columns = columns or Columns()
    settings = settings or TrainingSettings()
    console = console or Console(stderr=True)
    bad = BadRows()
    unknown = set(names) - set(MODELS)
    if unknown:
        raise BadLog(f"--models expected some of {', '.join(MODELS)}, got {sorted(unknown)!r}")
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as progress:
        task = progress.add_task("reading the training files", total=None)
        log = (
            read_sessions(train_files, bad)
            if is_jsonl(train_files[0])
            else read_log(train_files, columns, bad)
        )
        if len(log) == 0:
            raise BadLog(f"{train_files[0].name} expected clicks, got none")
        wanted = [name for name in names if name in RANKERS] or ["none"]
        results: list[Result] = []
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
            results += _judged_results(
                model, log, test_files, columns, mine, prequential, limit, training_s, progress, bad
            )
            if place == 0:
                for text in bad.first:
                    console.print(f"[yellow]skipped[/yellow] {text}", highlight=False)
                if bad.count > len(bad.first):
                    console.print(f"skipped {bad.count - len(bad.first)} more rows")
    return results


def _judged_results(
    model: SessionRecommender,
    log: ClickLog,
    test_files: list[Path],
    columns: Columns,
    names: list[str],
    prequential: bool,
    limit: int | None,
    training_s: float,
    progress: Progress,
    bad: BadRows,
) -> list[Result]:
    numbers = model.items.numbers(log.items, None, add=False)
    clicks = np.bincount(numbers, minlength=len(model.items))
    learn_us = _learn_us(log, model)
    rows: SessionRows | None = None
    if is_jsonl(test_files[0]):
        prefixes, targets = read_questions(test_files, bad)
        flat = np.concatenate(prefixes) if prefixes else np.zeros(0, np.int64)
        judged = questions(
            prefixes,
            model.items.numbers(flat, None, add=False),
            model.items.numbers(targets, None, add=False),
        )
        if prequential:
            raise BadLog(
                f"--prequential expected a session log, got questions in {test_files[0].name}: "
                "each is judged by itself, so there is no order to learn in"
            )
    else:
        test = read_log(test_files, columns, bad)
        # Items first seen in the test have no number while nothing is learned from it.
        rows = SessionRows(test, model.items.numbers(test.items, None, add=False), _TEST_KEYS)
        judged = rows.judged(rows.judged_rows())
    if len(judged) == 0:
        raise BadLog(f"{test_files[0].name} expected something to judge, got nothing")
    judged = judged[: limit or len(judged)]
    static = asked_models(model, names)
    judge(static, judged, None, progress)
    results = [each.result(judged, clicks, False, learn_us, training_s) for each in static]
    if prequential and rows is not None:
        known = len(model.items)
        rows = SessionRows(test, model.items.numbers(test.items, None, add=True), _TEST_KEYS)
        clicks = np.concatenate([clicks, np.zeros(len(model.items) - known, clicks.dtype)])
        judged = rows.judged(rows.judged_rows()[: len(judged)])
        live = asked_models(model, names)
        judge(live, judged, rows, progress)
        results += [each.result(judged, clicks, True, learn_us, training_s) for each in live]
    return results


def _learn_us(log: ClickLog, model: SessionRecommender) -> float:
    """CPU of learning a click, measured on the log's last 50,000 by a recommender of its own."""
    part = log[slice(max(len(log) - 50_000, 0), len(log))]
    fresh = SessionRecommender(model.bounds, model.weights)
    rows = SessionRows(part, fresh.items.numbers(part.items, None, add=True))
    spent = 0
    for first in range(0, len(part), _BATCH):
        sessions = rows.sessions(slice(first, min(first + _BATCH, len(part))))
        begin = time.process_time_ns()
        fresh.learn(sessions)
        spent += time.process_time_ns() - begin
    return spent / 1e3 / len(part)


def main(
    train_files: Annotated[list[Path], typer.Option("--train", exists=True, dir_okay=False)],
    test_files: Annotated[list[Path], typer.Option("--test", exists=True, dir_okay=False)],
    budget: Annotated[float, typer.Option(help="Minutes that training may take.")] = 10.0,
    models: Annotated[
        str, typer.Option(help="Names with commas between: " + ", ".join(MODELS))
    ] = ",".join(_DEFAULT_MODELS),
    prequential: Annotated[
        bool, typer.Option(help="Judge again, learning from each test click after it was judged.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Judge the first N only.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the table as JSON, too.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same table.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="For growing trees.")] = 2,
    session_column: Annotated[str | None, typer.Option(help="Session or user.")] = None,
    item_column: Annotated[str | None, typer.Option()] = None,
    time_column: Annotated[str | None, typer.Option(help="Seconds, ms or ISO 8601.")] = None,
) -> None:
    """Train on some files, judge on others; print the table of accuracy and cost."""
    console = Console(stderr=True)
    try:
        results = evaluate(
            train_files,
            test_files,
            [name.strip() for name in models.split(",") if name.strip()],
            Columns(session_column, item_column, time_column),
            TrainingSettings(budget_minutes=budget, seed=seed, threads=threads),
            prequential,
            limit,
            console,
        )
    except (BadLog, ValueError) as error:
        console.print(f"[red]error[/red] {error}", highlight=False)
        raise typer.Exit(2) from error
    show(results, Console(width=max(Console().width, 150)))
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sys.platform == "darwin":
        peak_kb //= 1024
    console.print(f"most memory of the process: {peak_kb / 1024:.0f} MB")
    if out is not None:
        report = {
            "train": [path.name for path in train_files],
            "test": [path.name for path in test_files],
            "seed": seed,
            "budget_minutes": budget,
            "results": [asdict(each) for each in results],
        }
        out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
