"""What all commands share: settings, the opened log, and errors as one line without a traceback.

Exit status: 0 all done; 1 something could not be done (it was named); 2 the command or a setting is
wrong, and nothing was connected to.
"""

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from traceback import format_exception
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
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`--debug` may stand before the command or behind it."""
        ours = args[: args.index("--")] if "--" in args else args
        if "--debug" in ours:
            args = ["--debug", *(a for a in ours if a != "--debug"), *args[len(ours) :]]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        _escape_what_the_terminal_lacks()
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except (typer.Abort, typer.Exit):
            raise
        except BrokenPipeError as error:
            # Whoever read, as `head`, has enough: no fault of ours, and nothing more can be said.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from error
        except UsageError as error:
            raise _told(error, 2, ctx) from error
        except (CommandError, LogError, SchemaError, RegistryUnavailableError) as error:
            raise _told(error, 1, ctx) from error
        # The edge of the program: nothing that a user can do may end in a traceback.
        except Exception as error:
            if hasattr(error, "exit_code"):  # of the parser, which says by itself what is wrong
                raise
            raise _told(CommandError(_unexpected(error)), 1, ctx, error) from error


def _told(error: Exception, status: int, ctx: Any, cause: Exception | None = None) -> typer.Exit:
    """Say one line, and before it where the error came from if that was asked for."""
    if ctx.params.get("debug"):
        say(without_passwords("".join(format_exception(cause or error)).rstrip()))
    say(f"streamrec: {without_passwords(str(error))}")
    return typer.Exit(status)


def _unexpected(error: Exception) -> str:
    """An error that no command expected, in one line."""
    if isinstance(error, OSError) and error.strerror:
        said = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    else:
        said = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{said}; --debug shows where"


def _escape_what_the_terminal_lacks() -> None:
    """Characters that the terminal's encoding has not are written as JSON would escape them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="streamrec-escaped")


def _escaped(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    missing = error.object[error.start : error.end]
    units = missing.encode("utf-16-be", "surrogatepass")
    return "".join(
        f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)
    ), error.end


codecs.register_error("streamrec-escaped", _escaped)


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
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from, before or behind.")
    ] = False,
) -> None:
    """Makes a group of the program; `_Program` looks at the options."""
    if version:
        typer.echo(f"streamrec {metadata.version('streamrec')}")
        raise typer.Exit


def hand_on_debug(context: typer.Context) -> None:
    """Let processes that this one starts, or becomes, show tracebacks too if that was asked for."""
    if context.find_root().params.get("debug"):
        os.environ["STREAMREC_LOG_LEVEL"] = "DEBUG"


def say(text: str) -> None:
    """Tell the user something that is not the command's output."""
    typer.echo(text, err=True)


@contextmanager
def opened(*, make: bool = False, patience: Patience = _PATIENCE) -> Iterator[tuple[Log, Settings]]:
    """The log that the environment names, and the settings. Only with `make` an embedded log that
    is missing is made."""
    try:
        settings = load_settings()
    except SettingsError as error:
        raise UsageError(f"settings: {error}") from None
    yield open_log(settings, patience, make=make), settings
