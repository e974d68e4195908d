"""`train-propensity`: the artifact of `dataflows.scoring` anew."""

from pathlib import Path
from typing import Annotated

import typer


def train_propensity(
    clicks: Annotated[int, typer.Option(min=1, help="Of the simulated shop.")] = 300_000,
    seed: Annotated[int, typer.Option(help="Of the shop.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The JSON file to write.  [default: the one that is shipped]",
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Fit the coefficients of `dataflows.scoring` on the simulated shop and write its artifact.

    Equal arguments give an equal file.
    """
    # Here and not above: the other commands need not wait for the kernels.
    from streamrec.models.propensity import PROPENSITY_FILE
    from streamrec.program.learning import train_propensity_run

    typer.echo(train_propensity_run.train_propensity(clicks, seed, out or PROPENSITY_FILE))
