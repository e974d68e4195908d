"""`import`: click logs of the user's own onto the topic."""

from pathlib import Path
from typing import Annotated

import typer

from streamrec.dataflows.job.topics import CLICKS
from streamrec.program.file_options import FileOptions, with_file_options


@with_file_options
def import_file(
    files: Annotated[
        list[Path], typer.Argument(help="Click logs; a folder; FILE.zip:NAME for one of several.")
    ],
    options: FileOptions,
    topic: Annotated[str, typer.Option(help="Topic to write to.")] = CLICKS.name,
    by_time: Annotated[
        bool,
        typer.Option(
            "--by-time/--as-is", help="Send in order of event time, or in order of the files."
        ),
    ] = True,
    rejects: Annotated[
        Path | None, typer.Option(help="File for all rejected rows and why.", dir_okay=False)
    ] = None,
) -> None:
    """Put click logs (CSV, JSON lines, JSON, Parquet; packed as .gz, .bz2, .xz, .zst, .zip) on the
    topic.

    Columns with common names are found by themselves, and what was taken for what is said; a path
    (properties.product_id, events[].aid) names what is nested. A log of sessions without users has
    each session for a user of its own. Rows that are no clicks are named by line with the reason
    and left out; the rest goes on, and the exit status is 0 as long as any row was good.
    """
    # Here and not above: Arrow and the codec's kernels take two seconds to load, which the other
    # commands need not wait for.
    from streamrec.program.records.import_file_run import import_clicks

    import_clicks(files, topic, options, by_time=by_time, rejects=rejects)
