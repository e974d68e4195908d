"""`describe`: the topology of a dataflow."""

from typing import Annotated

import typer

from dataflows.cli.program import UsageError


def describe(
    dataflow: Annotated[
        str, typer.Argument(help="Module of the dataflow.")
    ] = "dataflows.recommender",
    mermaid: Annotated[
        bool, typer.Option("--mermaid", help="As a Mermaid diagram instead of text.")
    ] = False,
) -> None:
    """Print a dataflow's topology: sources, steps, state, sinks. Connects to nothing."""
    # Here and not above: the other commands need not wait for the engine.
    from dataflows.topology import TopologyError, placeholder_flow
    from dataflows.topology import describe as describe_flow

    try:
        topology = describe_flow(placeholder_flow(dataflow))
    except TopologyError as error:
        raise UsageError(f"describe: {error}") from None
    typer.echo(topology.mermaid() if mermaid else topology.text())
