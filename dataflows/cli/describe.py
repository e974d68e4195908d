"""`describe`: the topology of a dataflow."""

from typing import Annotated

import typer

from dataflows.cli.program import CommandError


def describe(
    dataflow: Annotated[
        str, typer.Argument(help="Module of the dataflow.")
    ] = "dataflows.recommender",
    mermaid: Annotated[
        bool, typer.Option("--mermaid", help="As a Mermaid diagram instead of text.")
    ] = False,
) -> None:
    """Print a dataflow's topology: sources, steps, state, sinks. Connects to nothing."""
    raise CommandError(f"describe {dataflow}: {mermaid}")
