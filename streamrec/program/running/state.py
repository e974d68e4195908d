"""`state`: what a dataflow has saved by key, whether it runs or not."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from streamrec.dataflows.job.settings import SettingsError, load_settings
from streamrec.program.shared import CommandError, say

state = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Show or export what a dataflow has saved by key, as of its last snapshot; begin anew.",
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


_Step = Annotated[
    str | None,
    typer.Option(help="The step, where several of the dataflow keep state."),
]


@state.command()
def show(
    key: Annotated[str, typer.Argument(help="The key: a user's id, or what a step goes by.")],
    recovery_directory: _Directory,
    step: _Step = None,
) -> None:
    """Print what is saved of one key, as JSON. Exit status 1: nothing is."""
    from streamrec.program.running.state_tables import is_of_users, of_key, shards_of, step_of

    folder = step_of(_state_directory(recovery_directory), step)
    of_users = False
    for shard in shards_of(folder):
        found = of_key(shard, key)
        if found:
            typer.echo(json.dumps({"shard": shard.name, **found}, indent=2))
            return
        of_users = is_of_users(shard)
    if of_users:
        raise CommandError(f"expected a user that is saved, got {key!r}; idle users are dropped")
    raise CommandError(f"step {folder.name!r}: expected a key that is saved, got {key!r}")


@state.command()
def export(
    out: Annotated[
        Path,
        typer.Argument(help="The Parquet file to write; of a step with several parts, a folder."),
    ],
    recovery_directory: _Directory,
    step: _Step = None,
) -> None:
    """Write all that is saved to a Parquet file, one row for whatever has a key, or to one file for
    each part of a step."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from streamrec.program.running.state_tables import ALL, is_of_users, shards_of, step_of

    folder = step_of(_state_directory(recovery_directory), step)
    found: dict[str, list[pa.Table]] = {}
    shards, what = 0, "rows"
    for shard in shards_of(folder):
        shards += 1
        what = "users" if is_of_users(shard) else "rows"
        for part, table in shard.parts.items():
            column = pa.array([shard.name] * len(table), pa.string())
            found.setdefault(part, []).append(table.add_column(0, "shard", column))
    if not found:
        raise CommandError(f"expected saved state in {recovery_directory}, got none yet")
    if ALL in found and out.is_dir():
        raise CommandError(f"step {folder.name!r}: expected a file to write, got the folder {out}")
    if ALL not in found and (out.is_file() or out.suffix == ".parquet"):
        raise CommandError(
            f"step {folder.name!r}: expected a folder for its parts {', '.join(found)}, got the "
            f"file {out}"
        )
    for part, tables in found.items():
        path = out if part == ALL else out / f"{part}.parquet"
        table = pa.concat_tables(tables)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, path)
        except OSError as error:
            raise CommandError(f"{path}: expected to be writable, got {error}") from None
        say(f"{path}: {len(table)} {what} of {shards} shards")


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
