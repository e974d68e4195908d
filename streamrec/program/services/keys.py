"""`keys`: API keys of the HTTP services: make, list, revoke."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from streamrec.dataflows.job.settings import SettingsError
from streamrec.program.shared import CommandError, UsageError, say
from streamrec.services.http.keys_file import KeysFileError, create_key, read_keys, revoke_key
from streamrec.services.http.settings import HttpSettings, load_service

keys = typer.Typer(
    no_args_is_help=True,
    help="API keys of the HTTP services, in the file that STREAMREC_HTTP_KEYS_FILE names. Running "
    "services follow it within a second.",
)

_DAYS_MAX = 36_500.0
# What routes of ingress and API ask for; behind a `/` stands a name.
_SCOPES = {"clicks", "impressions", "outcomes", "topics", "pipelines", "recommendations", "users"}

_File = Annotated[
    Path | None, typer.Option("--file", help="The file.  [default: STREAMREC_HTTP_KEYS_FILE]")
]


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is: letters, digits, '.', '-', '_'.")],
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope",
            help="What it may do (repeatable): clicks, impressions, outcomes, topics/NAME, "
            "pipelines/NAME, recommendations, users; topics/* for all, * for everything.",
        ),
    ],
    days: Annotated[
        float | None,
        typer.Option(min=0.0, max=_DAYS_MAX, help="For how many days.  [default: for good]"),
    ] = None,
    file: _File = None,
) -> None:
    """Make a key and print it: this once, as only its hash is kept."""
    for each in scope:
        if each.split("/")[0] not in {"*", *_SCOPES}:
            say(f"note: no route asks for the scope {each!r}; see `streamrec keys create --help`")
    expires_s = None if days is None else int(time.time() + days * 86_400)
    try:
        key = create_key(_path(file), name, scope, expires_s)
    except KeysFileError as error:
        raise CommandError(str(error)) from None
    typer.echo(key)


@keys.command("list")
def list_keys(file: _File = None) -> None:
    """Print the keys, one a line: name, scopes, made, until when."""
    try:
        found = read_keys(_path(file))
    except KeysFileError as error:
        raise CommandError(str(error)) from None
    for key in found:
        until = "for good" if key.expires_s is None else _time(key.expires_s)
        typer.echo("\t".join([key.name, ",".join(key.scopes), _time(key.created_s), until]))


@keys.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Whose key.")],
    file: _File = None,
) -> None:
    """Take a key back: running services refuse it within a second."""
    try:
        revoke_key(_path(file), name)
    except KeysFileError as error:
        raise CommandError(str(error)) from None
    say(f"revoked {name}")


def _path(file: Path | None) -> Path:
    if file is not None:
        return file
    try:
        found = load_service(HttpSettings).keys_file
    except SettingsError as error:
        raise UsageError(f"settings: {error}") from None
    if found is None:
        raise UsageError("keys expected a file: --file PATH, or STREAMREC_HTTP_KEYS_FILE")
    return found


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
