"""`model`: what somebody's own model gets wrong, and what a name stands for."""

from typing import Annotated

import typer

from streamrec.program.shared import CommandError, UsageError

model = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look at a model of one's own before it is served.",
)


@model.command()
def check(
    name: Annotated[str, typer.Argument(help="module:Class, or a kind (artifact, river, none).")],
) -> None:
    """Check a recommender against the contract, a line for each check. Connects to nothing.

    Exit status 0: STREAMREC_MODEL=NAME can serve it; 1: a check failed; 2: it cannot be made.
    """
    # Here and not above: the other commands need not wait for the kernels.
    from streamrec.models.checks import checks_of
    from streamrec.models.loading import BadArtifact, BadModel, load_model

    try:
        load_model(name)
        failed = 0
        for found in checks_of(lambda: load_model(name).for_shard()):
            typer.echo(f"{'ok    ' if found.complaint is None else 'BROKEN'}  {found.name}")
            if found.complaint is not None:
                failed += 1
                typer.echo(f"        {found.complaint}")
    except (BadArtifact, BadModel) as error:
        raise UsageError(str(error)) from None
    if failed:
        raise CommandError(f"model {name!r}: {failed} checks failed")
