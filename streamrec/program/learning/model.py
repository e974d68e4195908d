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
    from streamrec.dataflows.job.settings import SettingsError, load_settings
    from streamrec.models.checks import Check, checks_of
    from streamrec.models.loading import BadArtifact, BadModel, load_model
    from streamrec.models.users.features import declared

    try:
        known = declared(load_settings().windows).names
        reads = load_model(name).for_shard().info.user_features
        unknown = [feature for feature in reads if feature not in known]
        complaint = f"expected some of {', '.join(known)}, got {', '.join(unknown)}"
        first = Check("user features are declared", complaint if unknown else None)
        failed = 0
        told: set[str] = set()
        for found in (first, *checks_of(lambda: load_model(name).for_shard())):
            typer.echo(f"{'ok    ' if found.complaint is None else 'BROKEN'}  {found.name}")
            if found.complaint is not None:
                failed += 1
                is_new = found.complaint not in told
                typer.echo(f"        {found.complaint if is_new else 'the same'}")
                told.add(found.complaint)
    except (BadArtifact, BadModel) as error:
        raise UsageError(str(error)) from None
    except SettingsError as error:
        raise UsageError(f"settings: {error}") from None
    if failed:
        raise CommandError(f"model {name!r}: {failed} checks failed")
