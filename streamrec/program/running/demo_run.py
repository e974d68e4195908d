"""What `demo` does and shows."""

import shlex
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Log
from streamrec.dataflows.job.settings import Settings, SettingsError, load_settings
from streamrec.dataflows.job.topics import CLICKS, ERRORS, RECOMMENDATIONS, TOPICS, make_all
from streamrec.program.shared import CommandError, UsageError
from streamrec.shop import judged_run
from streamrec.shop.judging import Verdict
from streamrec.shop.sending import SentClicks, send_paced, send_shop
from streamrec.shop.shop import Shop

_LOOK_S = 2.0
_MODELS = {
    "artifact": "trained ranker",
    "river": "ranker that learns online (river)",
    "none": "untrained blend of sessions",
}


@dataclass(frozen=True, slots=True)
class _Setup:
    """A run of the main job: its settings, here and as the environment of its process."""

    settings: Settings
    environment: dict[str, str]


def run_demo(clicks: int, seed: int, models: str | None, path: Path) -> None:
    """The finite demo."""
    began = time.monotonic()
    setups = _setups(models, path)
    log = open_log(setups[0].settings)
    err = Console(stderr=True)
    with ExitStack() as stack, _progress(err) as progress:
        task = progress.add_task("simulated shop to the topic of clicks", total=clicks)
        sent = SentClicks()
        make_all(log, setups[0].settings.topics())
        for batch in send_shop(
            log,
            setups[0].settings.topic(CLICKS),
            lambda ids: Shop(seed=seed, clicks=clicks, schema_ids=ids),
        ):
            sent.batches.append(batch)
            progress.advance(task, len(batch.records))
        runs = []
        # Beside the main job, which is a process of its own.
        alone = stack.enter_context(ThreadPoolExecutor(1)).submit(
            judged_run.judge_alone, setups[0].settings, sent
        )
        for setup in setups:
            total = sent.asks(setup.settings) + sent.errors().total()
            task = progress.add_task(
                f"main job, {_MODELS[setup.settings.model]}: records out", total=total
            )
            make_all(log, setup.settings.topics())
            try:
                runs.append(
                    judged_run.run_recommender(
                        log,
                        setup.settings,
                        setup.environment,
                        sent,
                        lambda count, task=task: progress.advance(task, count),  # type: ignore[misc]
                    )
                )
            except judged_run.DemoError as error:
                raise CommandError(f"demo: {error}") from error
        methods = alone.result()
    out = Console()
    as_expected = _show(out, clicks, sent, setups, runs)
    _show_verdicts(out, runs, methods)
    _show_sample(out, log, setups[0].settings)
    _show_next(out, setups[0].environment)
    out.print(f"All of it took {time.monotonic() - began:.0f} s.")
    if not as_expected:
        raise typer.Exit(1)


def _setups(models: str | None, path: Path) -> list[_Setup]:
    try:
        defaults = load_settings()
    except SettingsError as error:
        raise UsageError(f"settings: {error}") from None
    chosen = list(dict.fromkeys(models.split(","))) if models else [defaults.model]
    if unknown := [name for name in chosen if name not in _MODELS]:
        raise UsageError(f"--models expected some of {', '.join(_MODELS)}, got {unknown}")
    # On Kafka the topics have names of their own, so that nothing else is touched or mixed in.
    prefix = "" if defaults.backend == "embedded" else f"demo-{int(time.time())}-"
    if defaults.backend == "embedded":
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    setups = []
    for place, model in enumerate(chosen):
        suffix = "" if place == 0 else f"-{model}"
        given: dict[str, Any] = {
            # Each model reads the same clicks, and writes topics of its own.
            **{
                topic.setting: f"{prefix}{topic.name}{'' if topic is CLICKS else suffix}"
                for topic in TOPICS
                if topic.setting is not None
            },
            "consumer_group": f"{prefix}streamrec{suffix}",
            "model": model,
        }
        environment = {f"STREAMREC_{name.upper()}": value for name, value in given.items()}
        environment |= {"STREAMREC_FOLLOW": "false", "STREAMREC_START_FROM": "earliest"}
        if defaults.backend == "embedded":
            given["embedded_log_path"] = path.resolve()
            environment["EMBEDDED_LOG_PATH"] = str(path.resolve())
        setups.append(_Setup(load_settings(**given), environment))
    return setups


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        yield progress


def _show(
    out: Console,
    clicks: int,
    sent: SentClicks,
    setups: list[_Setup],
    runs: list[judged_run.DemoRun],
) -> bool:
    """The summary; whether everything came out that had to."""
    expected_errors = sent.errors()
    as_expected = True
    for setup, run in zip(setups, runs, strict=True):
        asked = sent.asks(setup.settings)
        out.print(f"main job with the {_MODELS[run.model]}")
        table = Table()
        table.add_column("")
        table.add_column("came out", justify="right")
        table.add_column("had to", justify="right")
        table.add_row("events in", f"{clicks:,}", "")
        table.add_row("recommendations", f"{run.recommendations:,}", f"{asked:,}")
        for reason in sorted(expected_errors | run.errors):
            table.add_row(
                f"errors: {reason}", f"{run.errors[reason]:,}", f"{expected_errors[reason]:,}"
            )
        out.print(table)
        out.print(
            f"{run.rate(clicks):,.0f} events a second, "
            f"{run.took_s:.1f} s after a start of {run.started_s:.1f} s\n"
        )
        as_expected &= run.recommendations == asked and run.errors == expected_errors
    return as_expected


def _show_verdicts(
    out: Console, runs: list[judged_run.DemoRun], methods: dict[str, Verdict]
) -> None:
    out.print("what users clicked next: was it among the 20 recommended, and how far up")
    table = Table()
    table.add_column("")
    table.add_column("hit rate", justify="right")
    table.add_column("MRR@20", justify="right")
    table.add_column("clicks that judged", justify="right")
    rows = [("what is most popular", runs[0].popularity)]
    rows += [(f"candidate method {name} alone", verdict) for name, verdict in methods.items()]
    rows += [(_MODELS[run.model], run.verdict) for run in runs]
    for name, verdict in rows:
        table.add_row(name, f"{verdict.hit_rate:.1%}", f"{verdict.mrr:.3f}", f"{verdict.judged:,}")
    out.print(table)


def _show_sample(out: Console, log: Log, settings: Settings) -> None:
    record = judged_run.sample(log, settings)
    if record is None:
        return
    best = ", ".join(f"{item['item_id']} ({item['score']:.2f})" for item in record["items"][:5])
    out.print(
        f"\nA recommendation: user {record['user_id']} has just looked at {record['item_id']}; "
        f"next, best first: {best}, ..."
    )


def _show_next(out: Console, environment: dict[str, str]) -> None:
    names = ("EMBEDDED_LOG_PATH", "STREAMREC_ERRORS_TOPIC")
    default = {"STREAMREC_ERRORS_TOPIC": "errors"}
    given = {
        n: _short(environment[n])
        for n in names
        if n in environment and environment[n] != default.get(n)
    }
    topic = environment["STREAMREC_RECOMMENDATIONS_TOPIC"]
    out.print("\nWhat to type next:", highlight=False)
    for name, value in given.items():
        out.print(f"  export {name}={shlex.quote(value)}", highlight=False)
    for command in (
        f"./justw streamrec receive {topic} --max 3",
        "./justw streamrec errors list --reason too_late",
        "./justw streamrec errors list --count",
        "./justw streamrec describe",
        "./justw demo --models artifact,river",
        "./justw streamrec --help",
    ):
        out.print(f"  {command}", highlight=False, soft_wrap=True)


def _short(path: str) -> str:
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def follow_shop(seed: int, models: str | None, path: Path, rate: int) -> None:
    """The demo that goes on: clicks at a steady rate, and how far the main job is behind."""
    setup = _setups(models, path)[0]
    setup.environment["STREAMREC_FOLLOW"] = "true"
    settings = setup.settings
    log = open_log(settings)
    out = Console()
    _show_next(out, setup.environment)
    with closing(log.admin()) as admin:
        make_all(log, settings.topics())

        def total(topic: str) -> int:
            return sum(high - low for low, high in admin.bounds(topic).values())

        with judged_run.process(setup.environment) as main_job:
            shown = time.monotonic()
            for _ in send_paced(log, settings.topic(CLICKS), seed, rate):
                if not main_job.running():
                    raise CommandError(f"demo: main job ended with status {main_job.status}")
                if time.monotonic() - shown >= _LOOK_S:
                    shown = time.monotonic()
                    committed = sum(
                        admin.committed(settings.consumer_group, settings.topic(CLICKS)).values()
                    )
                    out.print(
                        f"clicks {total(settings.topic(CLICKS)):,}  "
                        f"recommendations {total(settings.topic(RECOMMENDATIONS)):,}  "
                        f"errors {total(settings.topic(ERRORS)):,}  committed {committed:,}",
                        highlight=False,
                    )
