"""What all commands share: settings, the opened log, and errors as one line without a traceback.

Exit status: 0 all done; 1 something could not be done (it was named); 2 the command or a setting is
wrong, and nothing was connected to.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Log, LogError, RegistryUnavailableError, SchemaError
from streamrec.connectors.log_settings import without_passwords
from streamrec.connectors.patience import Patience
from streamrec.dataflows.job.settings import Settings, SettingsError, load_settings

_PATIENCE = Patience(8.0)  # so that a command says within 10 s that a broker is away


class CommandError(Exception):
    """A command could not do what was asked; the message is for the user."""


class UsageError(CommandError):
    """The command or a setting is wrong. Nothing was connected to."""


class _Program(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError as error:
            # Whoever read, as `head`, has enough: no fault of ours, and nothing more can be said.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from error
        except UsageError as error:
            say(f"streamrec: {without_passwords(str(error))}")
            raise typer.Exit(2) from error
        except (CommandError, LogError, SchemaError, RegistryUnavailableError) as error:
            say(f"streamrec: {without_passwords(str(error))}")
            raise typer.Exit(1) from error


def program() -> typer.Typer:
    app = typer.Typer(
        cls=_Program,
        no_args_is_help=True,
        context_settings={"max_content_width": 110},
        invoke_without_command=True,
        # A traceback with local variables would print the settings, secrets among them.
        pretty_exceptions_show_locals=False,
        rich_markup_mode=None,
        help="Streaming recommendations: clicks in, recommendations out.\n\n"
        "The log is the embedded one, a file (EMBEDDED_LOG_PATH, data/log.sqlite by default), or "
        "Kafka when KAFKA_BOOTSTRAP_SERVERS is set; the registry is the one at "
        "SCHEMA_REGISTRY_URL when that is set.",
    )
    app.callback()(_all_commands)
    return app


def _all_commands(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True)
    ] = False,
) -> None:
    """Makes a group of the program even while it has only one command."""
    if version:
        typer.echo(f"streamrec {metadata.version('streamrec')}")
        raise typer.Exit


def say(text: str) -> None:
    """Tell the user something that is not the command's output."""
    typer.echo(text, err=True)


@contextmanager
def opened() -> Iterator[tuple[Log, Settings]]:
    """The log that the environment names, and the settings."""
    try:
        settings = load_settings()
    except SettingsError as error:
        raise UsageError(f"settings: {error}") from None
    yield open_log(settings, _PATIENCE), settings
