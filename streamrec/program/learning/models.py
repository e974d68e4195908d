"""`models`: the versions that are published, and which of them answers."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamrec.program.shared import CommandError, UsageError, opened, say

if TYPE_CHECKING:
    from streamrec.dataflows.learning.model_events import ModelEvent
    from streamrec.dataflows.learning.published import ModelRecords, PublishedVersion
    from streamrec.dataflows.learning.publishing import By, Publisher

models = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Published models: the topic `models`, which processes that answer follow. Each change is "
    "a record with who, when and why.",
)

_Name = Annotated[str, typer.Argument(help="The model's name.")]
_Version = Annotated[
    str, typer.Argument(help="A version: itself, how it begins, its number, champion, challenger.")
]
_Json = Annotated[bool, typer.Option("--json", help="As JSON, an object a line.")]
_Why = Annotated[str, typer.Option("--why", help="Why; it stands in the record.")]
_Who = Annotated[str | None, typer.Option("--who", help="Who.  [default: user@host]")]


@models.command("list")
def list_models(
    name: Annotated[str | None, typer.Argument(help="One model's.")] = None, as_json: _Json = False
) -> None:
    """Print the versions, newest last: model, number, version, in use as what, when, who, why."""
    with _publisher() as publisher:
        known = publisher.known()
        names = [name] if name is not None else sorted(known.models)
        for each in names:
            records = known.of(each)
            for version in sorted(records.versions.values(), key=lambda one: one.number):
                typer.echo(_line(version, records, as_json))


@models.command()
def show(name: _Name, version: _Version = "champion", as_json: _Json = False) -> None:
    """Print what is known of a version, and what became of it."""
    with _publisher() as publisher:
        records = publisher.known().of(name)
        found = records.version(name, version)
        events = [each for each in publisher.events.read(name) if each.version == found.version]
    if as_json:
        facts = {**_facts(found, records), "about": found.about}
        facts["events"] = [each.as_value() for each in events]
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    for key, value in _facts(found, records).items():
        typer.echo(f"{key}: {', '.join(value) if isinstance(value, list) else value}")
    for key, about in found.about.items():
        typer.echo(f"about {key}: {_cut(json.dumps(about, ensure_ascii=False))}")
    for each in events:
        typer.echo(_event_line(each))


@models.command()
def publish(
    name: _Name,
    path: Annotated[
        Path,
        typer.Argument(help="A trained file, its description (.toml), or a folder: an artifact's."),
    ],
    challenger: Annotated[
        bool, typer.Option("--challenger", help="Next in line; it does not answer yet.")
    ] = False,
    aside: Annotated[
        bool, typer.Option("--aside", help="Neither champion nor challenger.")
    ] = False,
    about: Annotated[
        Path | None, typer.Option(help="A JSON file: metrics, self_test and what else is known.")
    ] = None,
    place: Annotated[
        str | None,
        typer.Option(
            help="Leave the archive at this absolute path or URL, and not on the topic. A path is "
            "written to; what is at a URL must be there."
        ),
    ] = None,
    why: _Why = "",
    who: _Who = None,
) -> None:
    """Publish a version and print it. It is tried here first; it is the champion at once, unless
    an option says otherwise."""
    # Here and not above: the other commands need not wait for the kernels.
    from streamrec.models.learning.archives import ABOUT, BadArchive, about_in, about_json, pack
    from streamrec.models.learning.in_folder import model_files, model_in
    from streamrec.models.loading import BadModel
    from streamrec.models.serving.loading import load_predictor

    if challenger and aside:
        raise UsageError("models publish expected --challenger or --aside, got both")
    try:
        files = model_files(path)
        metadata = load_predictor(
            str((model_in(path) if path.is_dir() else path).absolute())
        ).metadata
        facts = {
            "format": "folder" if path.is_dir() else path.suffix.removeprefix("."),
            "input_schema": metadata.input_schema,
            "output_schema": metadata.output_schema,
        }
        files[ABOUT] = about_json({**facts, **about_in(files), **_about(about)})
        archive = pack(files)
    except (BadArchive, BadModel) as error:
        raise CommandError(str(error)) from error
    if place is not None and Path(place).is_absolute():
        Path(place).write_bytes(archive.content)
    promote = None if aside else ("challenger" if challenger else "champion")
    with _publisher() as publisher:
        version = publisher.publish(name, archive, promote=promote, by=_by(who, why), place=place)
    typer.echo(version)


@models.command()
def promote(
    name: _Name, version: _Version = "challenger", why: _Why = "", who: _Who = None
) -> None:
    """Make a version the champion: what answers, where none is pinned."""
    with _publisher() as publisher:
        chosen = publisher.promote(name, version, _by(who, why))
        _say_pinned(publisher, name)
    typer.echo(chosen)


@models.command()
def rollback(name: _Name, why: _Why = "", who: _Who = None) -> None:
    """Make the champion before this one champion again."""
    with _publisher() as publisher:
        chosen = publisher.rollback(name, _by(who, why))
        _say_pinned(publisher, name)
    typer.echo(chosen)


@models.command()
def pin(name: _Name, version: _Version = "champion", why: _Why = "", who: _Who = None) -> None:
    """Let a version answer, whatever becomes champion."""
    with _publisher() as publisher:
        typer.echo(publisher.pin(name, version, _by(who, why)))


@models.command()
def unpin(name: _Name, why: _Why = "", who: _Who = None) -> None:
    """Let the champion answer again."""
    with _publisher() as publisher:
        typer.echo(publisher.unpin(name, _by(who, why)) or "")


@contextmanager
def _publisher() -> Iterator["Publisher"]:
    from streamrec.dataflows.job.start_error import StartError
    from streamrec.dataflows.learning.published import BadPublished, ModelTopics
    from streamrec.dataflows.learning.publishing import Publisher
    from streamrec.models.learning.archives import BadArchive

    with opened() as (log, settings):
        try:
            with Publisher(log, ModelTopics.of(settings)) as publisher:
                yield publisher
        except (BadPublished, BadArchive, StartError) as error:
            raise CommandError(str(error)) from error


def _by(who: str | None, why: str) -> "By":
    from streamrec.dataflows.learning.publishing import By

    return By(who or "", why)


def _say_pinned(publisher: "Publisher", name: str) -> None:
    pinned = publisher.known().of(name).alias("pinned")
    if pinned is not None:
        say(
            f"note: version {pinned} is pinned, and goes on answering until "
            f"`streamrec models unpin {name}`"
        )


def _about(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--about expected a file of JSON, got {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"--about expected an object, got {type(found).__name__}")
    return found


def _facts(version: "PublishedVersion", records: "ModelRecords") -> dict[str, Any]:
    from streamrec.program.times import show_time_ms

    return {
        "name": version.name,
        "version": version.version,
        "number": version.number,
        "use": [alias for alias in records.aliases if records.alias(alias) == version.version],
        "answers": records.wanted == version.version,
        "at": show_time_ms(version.at_ms),
        "who": version.who,
        "why": version.why,
        "digest": version.digest,
        "parts": version.parts,
        "place": version.place,
    }


def _line(version: "PublishedVersion", records: "ModelRecords", as_json: bool) -> str:
    facts = _facts(version, records)
    if as_json:
        return json.dumps(facts, ensure_ascii=False)
    columns = [facts["name"], str(facts["number"]), facts["version"], ",".join(facts["use"])]
    return "\t".join([*columns, facts["at"], facts["who"], _cut(facts["why"])])


def _event_line(event: "ModelEvent") -> str:
    from streamrec.program.times import show_time_ms

    where = ""
    if event.topic is not None:
        where = f" {event.topic} {event.partition}:{event.first_offset}"
    elif event.pipeline is not None:
        where = f" {event.pipeline}"
    why = ": ".join(each for each in (event.reason or "", event.message) if each)
    return f"{show_time_ms(event.at_ms)} {event.kind}{where} by {event.who} {_cut(why)}".rstrip()


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 200 else f"{text[:200]}..."
