"""`top`: all processes of this user on this machine, as they run."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from streamrec.program.shared import CommandError, say
from streamrec.services.metrics.looking import Looked, look_at_all
from streamrec.services.metrics.notes import notes_folder, read_notes
from streamrec.services.metrics.rows import ProcessRow, row_of

_PRINTED_WIDTH = 200  # where it goes to no terminal
_SAYS_LEAST = (  # first
    *("model age", "closing", "up", "store age", "model", "epoch", "waiting", "memory", "out/s"),
)


def top(
    every_s: Annotated[
        float, typer.Option("--every", min=0.2, max=3_600, help="Seconds between two looks.")
    ] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Look twice, a second apart, print one table and end.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="A list of objects, one for each process, once.")
    ] = False,
) -> None:
    """Show how all processes do: rates, errors, lag, latency, epochs, models, processor and memory.

    What dataflows and services of this user serve at /metrics is shown; Ctrl-C ends it. Processes
    that serve none (STREAMREC_METRICS_ADDRESS=off), or run elsewhere, are not found.
    """
    if once or as_json:
        looks = _looks(1.0)
        next(looks)
        rows = next(looks)
        if as_json:
            typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
        elif rows:
            console = Console()
            if not console.is_terminal:
                console = Console(width=_PRINTED_WIDTH)
            console.print(table_of(rows, console.width))
        else:
            say(f"no process that serves metrics, by the notes in {notes_folder()}")
        return
    try:
        console = Console()
        with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
            for rows in _looks(every_s):
                live.update(table_of(rows, console.width), refresh=True)
    except KeyboardInterrupt:
        return


def _looks(every_s: float) -> Iterator[list[ProcessRow]]:
    """The rows of each look, for ever."""
    before: dict[int, Looked | None] = {}
    while True:
        begun_s = time.monotonic()
        try:
            notes = read_notes()
        except OSError as error:
            raise CommandError(f"top: {error}") from error
        now = look_at_all(notes)
        yield [row_of(note, now[note.pid], before.get(note.pid)) for note in notes]
        before = now
        time.sleep(max(0.0, begun_s + every_s - time.monotonic()))


def table_of(rows: Sequence[ProcessRow], width: int) -> Table:
    """For a terminal. Columns that nobody has anything for are left out, and those that say least
    where there is no room for all."""
    shown = {
        "pid": [str(row.pid) for row in rows],
        "process": [f"{row.kind} {row.name}" if row.kind != row.name else row.name for row in rows],
        "state": [row.state for row in rows],
        "in/s": [_number(row.in_per_s) for row in rows],
        "out/s": [_number(row.out_per_s) for row in rows],
        "errors": [_number(row.errors) for row in rows],
        "lag": [_number(row.lag) for row in rows],
        "p99": [_seconds(row.p99_s) for row in rows],
        "waiting": [_number(row.waiting) for row in rows],
        "epoch": [_seconds(row.epoch_s) for row in rows],
        "closing": [_seconds(row.closing_s) for row in rows],
        "store age": [_seconds(row.store_age_s) for row in rows],
        "model": [row.model for row in rows],
        "model age": [_seconds(row.model_age_s) for row in rows],
        "cpu": ["" if row.cpu is None else f"{100 * row.cpu:.0f}%" for row in rows],
        "memory": [
            "" if row.rss_bytes is None else f"{row.rss_bytes / 2**20:,.0f} MB" for row in rows
        ],
        "up": [_seconds(row.up_s) for row in rows],
    }
    kept = {name: cells for name, cells in shown.items() if any(cells)}
    for name in _SAYS_LEAST:
        if sum(max(map(len, (each, *cells))) + 2 for each, cells in kept.items()) <= width + 2:
            break
        kept.pop(name, None)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in kept:
        is_text = name in ("process", "state", "model")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=name != "state")
    for index in range(len(rows)):
        table.add_row(*(shown[name][index] for name in kept))
    if not rows:
        table.add_column("no process that serves metrics was found")
    return table


def _number(value: float | None) -> str:
    """
    >>> _number(12_345.0), _number(0.25), _number(None)
    ('12,345', '0.2', '')
    """
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _seconds(value: float | None) -> str:
    """
    >>> [_seconds(each) for each in (0.0042, 1.5, 90.0, 7_200.0, 200_000.0)]
    ['4.2 ms', '1.5 s', '90 s', '120 min', '56 h']
    """
    if value is None:
        return ""
    if value < 1:
        return f"{1_000 * value:.2g} ms" if value < 0.1 else f"{1_000 * value:.0f} ms"
    if value < 120:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 2 * 3_600 + 1 else f"{value / 3_600:.0f} h"


__all__ = ["table_of", "top"]
