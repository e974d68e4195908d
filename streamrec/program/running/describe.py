"""`describe`: the topology of a dataflow."""

from typing import Annotated

import typer

from streamrec.program.shared import UsageError


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
    from streamrec.dataflows.job.modules import FlowError, on_paper
    from streamrec.dataflows.job.topology import describe as describe_flow

    try:
        job, flow = on_paper(dataflow)
        topology = describe_flow(flow, [*job.topics_read, *job.topics_written])
    except FlowError as error:
        raise UsageError(f"describe: {error}") from None
    typer.echo(topology.mermaid() if mermaid else topology.text())
