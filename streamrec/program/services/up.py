"""`up`: clicks in and recommendations out over HTTP, all on this machine, and a page to look at."""

from pathlib import Path
from typing import Annotated

import typer


def up(
    folder: Annotated[
        Path, typer.Option(help="Where state, store, logs and the embedded log are.")
    ] = Path("data/up"),
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Of the page; 0 takes a free one.")
    ] = 8000,
    ingress_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Of what takes clicks in.")
    ] = 8080,
    api_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Of what gives recommendations out.")
    ] = 8081,
    visits: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Visits to the page's shop, put on an empty topic, to learn from.  [default: 2000 "
            "on the embedded log, none on Kafka]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run ingress, main job, store and API together, until Ctrl-C, and a page to try them on.

    On the embedded log, or on Kafka where KAFKA_BOOTSTRAP_SERVERS is set. What has come in is kept
    in the folder and goes on at the next start. Everything listens on this machine alone.
    """
    # Here and not above: the other commands need not wait for what it imports.
    from streamrec.program.services.up_run import Together, run_together

    run_together(Together(folder, port, ingress_port, api_port, visits))


__all__ = ["up"]
