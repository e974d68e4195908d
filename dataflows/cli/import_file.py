"""`import`: a click log of the user's own onto the topic."""

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from connectors.log import Log, LogWriter
from connectors.partitioner import partition_for_key
from dataflows.cli.program import CommandError, UsageError, opened, say
from dataflows.click_log import (
    EVENT_TYPES,
    ClickLogError,
    Clicks,
    FileForm,
    Meaning,
    Names,
    Rejected,
    chunks,
    name_columns,
    read_names,
    read_table,
    understand,
)
from dataflows.topics import CLICKS, subject_of
from schemas.wire import WireEncoder

_CHUNK = 20_000
_FLUSH_S = 60.0
_SHOWN_MAX = 20


def import_file(
    file: Annotated[Path, typer.Argument(help="The click log.", exists=True, dir_okay=False)],
    topic: Annotated[str, typer.Option(help="Topic to write to.")] = CLICKS.name,
    user: Annotated[str | None, typer.Option(help="Column of the user.")] = None,
    item: Annotated[str | None, typer.Option(help="Column of the item.")] = None,
    at: Annotated[str | None, typer.Option("--time", help="Column of the event time.")] = None,
    event_type: Annotated[
        str | None, typer.Option("--type", help="Column of the event type; without one all view.")
    ] = None,
    price: Annotated[str | None, typer.Option(help="Column of the price.")] = None,
    category: Annotated[str | None, typer.Option(help="Column of the item's category.")] = None,
    session: Annotated[str | None, typer.Option(help="Column of the session.")] = None,
    time_unit: Annotated[
        Literal["s", "ms", "us", "ns"] | None,
        typer.Option(help="Unit of times that are numbers.  [default: by name, else by size]"),
    ] = None,
    price_scale: Annotated[
        float | None,
        typer.Option(help="Factor to cents.  [default: 1 for a column ...cents, else 100]"),
    ] = None,
    mapping: Annotated[
        str | None,
        typer.Option("--map", help="Event types: pv=view,fav=favorite,... beside common names."),
    ] = None,
    form: Annotated[
        Literal["csv", "jsonl", "parquet"] | None,
        typer.Option("--format", help="What the file is.  [default: by its ending]"),
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="What separates columns.  [default: the likeliest]")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Names, with commas, for a CSV file without a header.")
    ] = None,
    by_time: Annotated[
        bool,
        typer.Option(
            "--by-time/--as-is", help="Send in order of event time, or in order of the file."
        ),
    ] = True,
    rejects: Annotated[
        Path | None, typer.Option(help="File for all rejected rows and why.", dir_okay=False)
    ] = None,
) -> None:
    """Put a click log (CSV, JSON lines, Parquet; .gz too) on the topic.

    Columns with common names are found by themselves. A log of sessions without users has each
    session for a user of its own. Rows that are no clicks are named by line with the reason and
    left out; the rest goes on, and the exit status is 0 as long as any row was good.
    """
    started = time.monotonic()
    meaning = Meaning(time_unit, price_scale, _parse_mapping(mapping))
    layout = FileForm(form, delimiter, columns.split(",") if columns else None)
    given = Names(user, item, at, event_type, price, category, session)
    try:
        names = name_columns(read_names(file, layout), given)
        say(f"columns: {names}")
        wanted = [name for role in Names.__slots__ if (name := getattr(names, role)) is not None]
        clicks = understand(read_table(file, layout, wanted), names, meaning, by_time)
    except ClickLogError as error:
        raise UsageError(f"import {file.name}: {error}") from None
    _report(clicks, rejects)
    if not len(clicks):
        raise CommandError(f"import {file.name}: expected clicks, got none that is good")
    with opened() as log:
        _send(log, topic, clicks)
    took_s = time.monotonic() - started
    say(
        f"imported {len(clicks):,} clicks to {topic!r} in {took_s:.1f} s, "
        f"{len(clicks) / took_s:,.0f} a second; rejected {len(clicks.rejected):,} rows"
    )


def _parse_mapping(text: str | None) -> dict[str, str]:
    pairs = {}
    for part in text.split(",") if text else ():
        theirs, _, ours = part.partition("=")
        if ours not in EVENT_TYPES:
            raise UsageError(f"--map expected NAME={'|'.join(EVENT_TYPES)},..., got {part!r}")
        pairs[theirs] = ours
    return pairs


def _report(clicks: Clicks, path: Path | None) -> None:
    for name, count in clicks.unknown_types.items():
        say(f"event type {name!r} taken as other in {count:,} rows; see --map")
    for rejected in clicks.rejected[:_SHOWN_MAX]:
        say(_line(rejected))
    if (more := len(clicks.rejected) - _SHOWN_MAX) > 0:
        say(f"and {more:,} more rows rejected; --rejects FILE lists all")
    if path is not None:
        path.write_text("".join(f"{_line(r)}\n" for r in clicks.rejected), encoding="utf-8")


def _line(rejected: Rejected) -> str:
    return f"line {rejected.row}: {rejected.message}"


def _send(log: Log, topic: str, clicks: Clicks) -> None:
    with closing(log.admin()) as admin:
        partitions = len(admin.bounds(topic))
    with closing(log.registry()) as registry:
        registered = registry.latest(subject_of(topic))
    encoder = WireEncoder(registered.schema, registered.id)
    # The partition is reckoned once a user.
    users = clicks.users.dictionary_encode()
    keys = users.dictionary.to_pylist()
    by_user = np.array([partition_for_key(key, partitions) for key in keys])
    codes = users.indices.to_numpy()
    with closing(log.writer()) as writer:
        for part, columns in chunks(clicks.columns, len(clicks), _CHUNK):
            encoded = encoder.encode(columns)
            if encoded.failures:
                raise CommandError(f"import: {encoded.failures[0].message}")
            _write(writer, topic, by_user[codes[part]], codes[part], keys, encoded.values)
        writer.flush(_FLUSH_S)


def _write(
    writer: LogWriter,
    topic: str,
    partitions: np.ndarray,
    codes: np.ndarray,
    keys: list[bytes],
    values: list[bytes],
) -> None:
    for partition in np.unique(partitions).tolist():
        rows = np.flatnonzero(partitions == partition)
        writer.write_columns(
            topic,
            partition,
            [keys[code] for code in codes[rows].tolist()],
            [values[row] for row in rows.tolist()],
        )
