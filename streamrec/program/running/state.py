"""`state`: what a dataflow has saved of its users, whether it runs or not."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from streamrec.dataflows.job.settings import SettingsError, load_settings
from streamrec.program.shared import CommandError, say

state = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Show or export the users that a dataflow has saved, as of its last snapshot; begin anew.",
)

_Directory = Annotated[
    Path,
    typer.Option(
        "--recovery-directory",
        "-r",
        help="The directory that the dataflow was started with.",
        exists=True,
        file_okay=False,
    ),
]


@state.command()
def show(
    user: Annotated[str, typer.Argument(help="The user's id.")],
    recovery_directory: _Directory,
) -> None:
    """Print what is saved of one user, as JSON. Exit status 1: nothing is."""
    import pyarrow.compute as pc

    for shard, table in _shards(recovery_directory):
        rows = table.filter(pc.equal(table["user_id"], user.encode())).to_pylist()
        if rows:
            typer.echo(json.dumps({"shard": shard, **_readable(rows[0])}, indent=2))
            return
    raise CommandError(f"expected a user that is saved, got {user!r}; idle users are dropped")


@state.command()
def export(
    out: Annotated[Path, typer.Argument(help="The Parquet file to write.", dir_okay=False)],
    recovery_directory: _Directory,
) -> None:
    """Write all saved users to a Parquet file, one row a user."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = []
    for shard, table in _shards(recovery_directory):
        column = pa.array([shard] * len(table), pa.string())
        parts.append(table.add_column(0, "shard", column))
    if not parts:
        raise CommandError(f"expected saved state in {recovery_directory}, got none yet")
    table = pa.concat_tables(parts)
    pq.write_table(table, out)
    say(f"{out}: {len(table)} users of {len(parts)} shards")


@state.command()
def reset(recovery_directory: _Directory) -> None:
    """Begin anew on purpose: put all that is saved aside, in a folder that is named.

    The next start makes the directory anew. It begins where STREAMREC_START_FROM says, by default
    at the group's committed offsets, with empty state. Refused while a dataflow runs there.
    """
    from streamrec.dataflows.engine.holding import Holding
    from streamrec.dataflows.job.saved_state import hold_state
    from streamrec.dataflows.job.starting_elsewhere import put_aside

    with _refusing_settings():
        settings = load_settings()
    holding = Holding()
    hold_state(holding, settings, recovery_directory)
    aside = put_aside(recovery_directory, settings.state_dir or recovery_directory / "state")
    if aside is None:
        raise CommandError(f"expected saved state in {recovery_directory}, got none")
    say(f"remove {aside} when it is needed no more")


def _shards(recovery_directory: Path) -> Iterator[tuple[str, Any]]:
    """Each shard's name and its users, newest of each. Raises StateFileError."""
    from streamrec.connectors.state_files import read_newest
    from streamrec.dataflows.steps.user_tables import newest_of_each

    folder = _state_directory(recovery_directory) / "user-features"
    for shard in sorted(path for path in folder.glob("*") if path.is_dir()):
        tables = read_newest(shard)
        if tables:
            yield shard.name, newest_of_each(tables)


def _state_directory(recovery_directory: Path) -> Path:
    with _refusing_settings():
        given = load_settings().state_dir
    return given or recovery_directory / "state"


@contextmanager
def _refusing_settings() -> Iterator[None]:
    try:
        yield
    except SettingsError as error:
        raise CommandError(f"settings: {error}") from None


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    """Times as ISO 8601 and ids as text, for a person to read."""
    readable: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, bytes):
            readable[name] = value.decode(errors="replace")
        elif name.endswith("_ms") and isinstance(value, int):
            readable[name] = datetime.fromtimestamp(value / 1000, UTC).isoformat()
        else:
            readable[name] = value
    return readable
