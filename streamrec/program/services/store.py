"""`store`: looks after the store of recommendations."""

import typer

from streamrec.program.shared import CommandError, opened, say

store = typer.Typer(
    no_args_is_help=True,
    help="The store of recommendations (STREAMREC_STORE), which dataflows.store writes.",
)


@store.callback()
def _group() -> None:
    """Makes a group of the one command."""


@store.command()
def rebuild() -> None:
    """Make the store anew from the topic of recommendations, beside the one in use, and swap it in.

    The flow and the API may go on; they use the new one within a second.
    """
    # Here and not above: the other commands need not wait for the codecs.
    from streamrec.services.rebuilding import rebuild as make_anew
    from streamrec.services.store.contract import StoreError

    with opened() as (log, settings):
        try:
            made = make_anew(log, settings, say)
        except StoreError as error:
            raise CommandError(str(error)) from None
    unreadable = f", {made.unreadable:,} could not be read" if made.unreadable else ""
    typer.echo(f"put {made.put:,} recommendations in {made.took_s:.1f} s{unreadable}")
