"""`metrics`: how well models do, as `dataflows.evaluation` tells it: a table, or a picture."""

import json
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from streamrec.connectors.log import SchemaError
from streamrec.dataflows.job.topics import METRICS
from streamrec.program.learning.metric_chart import Mark, draw_png, text_chart
from streamrec.program.learning.metric_lines import Lines, Point, known_of, lines_of
from streamrec.program.records.reading_on import records_from
from streamrec.program.records.shown_values import avro
from streamrec.program.shared import CommandError, UsageError, opened, say
from streamrec.program.times import FORMS, parse_time_ms, show_time_ms
from streamrec.schemas.json_codec import UnreadableError

metrics = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="How well models do: what dataflows.evaluation says, as a table or a picture.",
)
_PRINTED_WIDTH = 200  # where it goes to no terminal
_ROWS = 16

Models = Annotated[
    str | None,
    typer.Option(help="Pipelines or models, with commas; all if it is left out."),
]
Segment = Annotated[str, typer.Option(help="all, new_users, new_items, or position=0 and so on.")]
Kind = Annotated[
    Literal["model", "version", "variant"],
    typer.Option("--by", help="A line for each model, for each of its versions, or variants."),
]
Start = Annotated[
    str | None,
    typer.Option("--from", help="Windows that begin from then on: " + FORMS + "."),
]


@metrics.command()
def show(
    metric: Annotated[
        str | None, typer.Option(help="Metrics, with commas; all if it is left out.")
    ] = None,
    models: Models = None,
    by: Kind = "model",
    segment: Segment = "all",
    start: Start = None,
    last: Annotated[int, typer.Option(min=1, help="Newest windows of each line.")] = 5,
    as_json: Annotated[
        bool, typer.Option("--json", help="An object a line instead of a table.")
    ] = False,
) -> None:
    """Print the newest windows of each metric: value, 95 % interval, and of how many answers."""
    records = _records(start)
    wanted = known_of(records, "metric") if metric is None else _names(metric)
    table = Table("model", "metric", "from", "to", "value", "low", "high", "of", box=None)
    rows = 0
    for name in wanted:
        lines = lines_of(records, name, names=_names(models), by=by, segment=segment)
        for called, points in lines.items():
            for point in points[-last:]:
                rows += 1
                if as_json:
                    typer.echo(json.dumps(_row(called, name, segment, point)))
                    continue
                shown = [show_time_ms(ms)[:19] for ms in (point.start_ms, point.end_ms)]
                values = [_number(v) for v in (point.value, point.low, point.high)]
                table.add_row(called, name, *shown, *values, str(point.count))
    if not rows:
        raise _nothing(records, metric, models, segment)
    if not as_json:
        console = Console()
        if not console.is_terminal:
            console = Console(width=_PRINTED_WIDTH)
        console.print(table)


@metrics.command()
def plot(
    metric: Annotated[str, typer.Option(help="Which metric: auc, hit_rate@20, mrr@20, ...")],
    models: Models = None,
    by: Kind = "model",
    segment: Segment = "all",
    start: Start = None,
    out: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="A PNG file to write; without it, in the terminal."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Above the picture.")] = None,
    mark: Annotated[
        list[str] | None,
        typer.Option(help="TIME=TEXT: point out a moment; may be given several times."),
    ] = None,
) -> None:
    """Draw a metric over event time, a line for each model, with its 95 % interval as a band.

    A PNG needs the extra `plot`: pip install 'streamrec[plot]'.
    """
    marks = [_mark(each) for each in mark or ()]
    records = _records(start)
    lines = lines_of(records, metric, names=_names(models), by=by, segment=segment)
    if not lines:
        raise _nothing(records, metric, models, segment)
    what = metric if segment == "all" else f"{metric}, {segment}"
    if out is None:
        width = shutil.get_terminal_size((100, 24)).columns
        typer.echo(title or what)
        typer.echo(text_chart(lines, width, _ROWS, marks))
        return
    draw_png(out, lines, title or f"{what}, windows of {_window(lines)}", what, marks)
    say(f"wrote {out}")


def _records(start: str | None) -> list[dict[str, Any]]:
    """All that the topic holds, of windows from a time on. Raises CommandError."""
    try:
        start_ms = 0 if start is None else parse_time_ms(start)
    except ValueError as error:
        raise UsageError(f"--from: {error}") from None
    found = []
    with opened() as (log, settings), closing(log.registry()) as registry:
        decode, topic = avro(registry), settings.topic(METRICS)
        for record in records_from(log, topic, "earliest", follow=False):
            if record.value is None:
                continue
            try:
                value = decode(record.value, record.headers)
            except (UnreadableError, SchemaError) as error:
                place = f"partition {record.partition}, offset {record.offset}"
                say(f"topic {topic!r}, {place}: {error}")
                continue
            if value["window_start"] >= start_ms:
                found.append(value)
    return found


def _nothing(
    records: Sequence[dict[str, Any]], metric: str | None, models: str | None, segment: str
) -> CommandError:
    """Why there is nothing to show."""
    if not records:
        return CommandError(
            "metrics expected records of dataflows.evaluation, got none; it tells a window once "
            "it is over"
        )
    wanted = {"metric": metric, "pipeline": models, "segment": segment}
    for field, given in wanted.items():
        known = known_of(records, field)
        names = [*known, *known_of(records, "model")] if field == "pipeline" else known
        if given is not None and not set(_names(given)) & set(names):
            option = "models" if field == "pipeline" else field
            return CommandError(f"--{option} expected of {', '.join(known)}, got {given!r}")
    return CommandError("metrics expected records that all options fit, got none")


def _row(model: str, metric: str, segment: str, point: Point) -> dict[str, Any]:
    """One window, as JSON says it."""
    return {
        "model": model,
        "metric": metric,
        "segment": segment,
        "from": show_time_ms(point.start_ms),
        "to": show_time_ms(point.end_ms),
        "value": point.value,
        "low": point.low,
        "high": point.high,
        "count": point.count,
    }


def _mark(text: str) -> Mark:
    time, found, told = text.partition("=")
    try:
        if not found:
            raise ValueError(f"expected TIME=TEXT, got {text!r}")
        return Mark(parse_time_ms(time), told)
    except ValueError as error:
        raise UsageError(f"--mark: {error}") from None


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _window(lines: Lines) -> str:
    """How long the windows are."""
    first = next(iter(lines.values()))[0]
    return f"{(first.end_ms - first.start_ms) / 1000:g} s"


__all__ = ["metrics"]
