"""`import`: a click log of the user's own onto the topic."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from streamrec.dataflows.job.topics import CLICKS


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
        typer.Option(
            "--format", help="What the file is.  [default: by content, else by its ending]"
        ),
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
    # Here and not above: Arrow and the codec's kernels take two seconds to load, which the other
    # commands need not wait for.
    from streamrec.connectors.click_files.formats import FileForm
    from streamrec.connectors.click_files.meaning import Meaning
    from streamrec.connectors.click_files.names import Names
    from streamrec.program.records.import_file_run import import_clicks, parse_mapping

    import_clicks(
        file,
        topic,
        FileForm(form, delimiter, columns.split(",") if columns else None),
        Names(user, item, at, event_type, price, category, session),
        Meaning(time_unit, price_scale, parse_mapping(mapping)),
        by_time=by_time,
        rejects=rejects,
    )
