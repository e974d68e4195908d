"""`topics`: make, list, describe and delete topics."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from streamrec.connectors.log import Log, TopicSpec, UnknownSchemaError
from streamrec.connectors.making_topics import Difference, ensure_topics, subject_of
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import ERRORS, Topic, redrives_of, schemas_of
from streamrec.program.shared import CommandError, UsageError, opened, say

topics = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make, list, describe and delete topics, and register their schemas.",
)


@topics.command()
def create(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Topics to make.  [default: all of ours]", show_default=False),
    ] = None,
    partitions: Annotated[
        int | None, typer.Option(min=1, help="How many partitions; an existing topic may grow.")
    ] = None,
    replication: Annotated[
        int | None, typer.Option(min=1, help="How many brokers hold each partition.")
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(
            "--config", "-c", help="A topic option of the broker's: retention.ms=86400000."
        ),
    ] = None,
    dataflow: Annotated[
        str | None,
        typer.Option(help="A dataflow's module: make the topics that it reads and writes."),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(
            help="An Avro schema (.avsc) for the values of a topic that is not one of ours.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
) -> None:
    """Make topics and register their schemas; what exists stays, and what differs is said.

    Doing it again changes nothing. An incompatible schema is refused by the registry.
    """
    options = dict(parse_config(option) for option in config or ())
    with opened(make=True) as (log, settings):
        ours = settings.topics() if dataflow is None else _of_dataflow(dataflow, settings)
        chosen = names or list(ours)
        if schema is not None and len(chosen) != 1:
            raise UsageError(f"--schema expected one topic, got {', '.join(chosen)}")
        specs = [_spec(name, ours, partitions, replication, options) for name in chosen]
        schemas = schemas_of({name: ours[name] for name in chosen if name in ours})
        if schema is not None:
            schemas[chosen[0]] = schema.read_text(encoding="utf-8")
        report = ensure_topics(log, specs, schemas)
        for name in report.created:
            typer.echo(f"topic {name}: made")
        for difference in report.differences:
            typer.echo(settle(log, difference, grow_to=partitions))
        for found in report.schemas:
            typer.echo(f"schema {found.subject}: version {found.version}, id {found.id}")


def _of_dataflow(module: str, settings: Settings) -> dict[str, Topic]:
    # Here and not above: the other commands need not wait for the engine.
    from streamrec.dataflows.job.modules import FlowError, topics_of

    try:
        read, written = topics_of(module)
    except FlowError as error:
        raise UsageError(f"--dataflow: {error}") from None
    redrives = [redrives_of(topic) for topic in written if topic.is_errors and topic is not ERRORS]
    return {settings.topic(topic): topic for topic in (*read, *written, *redrives)}


def _spec(
    name: str,
    ours: Mapping[str, Topic],
    partitions: int | None,
    replication: int | None,
    options: Mapping[str, str],
) -> TopicSpec:
    spec = ours[name].spec(name) if name in ours else TopicSpec(name)
    return replace(
        spec,
        partitions=partitions or spec.partitions,
        replication=replication or spec.replication,
        configs={**spec.configs, **options},
    )


def settle(log: Log, difference: Difference, grow_to: int | None) -> str:
    """Let a topic grow when that was asked for; otherwise only say what differs: the rest may lose
    records, or is not ours to decide."""
    topic, what, expected, got = difference
    if what == "partitions" and grow_to is not None and grow_to > int(got):
        with closing(log.admin()) as admin:
            admin.add_partitions(topic, grow_to)
        return f"topic {topic}: grew from {got} to {grow_to} partitions"
    return f"topic {topic}: exists; {what} expected {expected}, got {got}"


def parse_config(option: str) -> tuple[str, str]:
    """An option of the broker's and its value. Raises UsageError."""
    name, equals, value = option.partition("=")
    if not equals:
        raise UsageError(f"--config expected NAME=VALUE, got {option!r}")
    return name, value


@topics.command("list")
def list_topics() -> None:
    """Print the names of all topics, one a line."""
    with opened() as (log, _), closing(log.admin()) as admin:
        for name in admin.topics():
            typer.echo(name)


@topics.command()
def describe(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Topics to describe.  [default: all]", show_default=False),
    ] = None,
) -> None:
    """Print partitions with their offsets, options, key and schema of topics."""
    with opened() as (log, settings), closing(log.admin()) as admin:
        ours = settings.topics()
        for name in names or admin.topics():
            info = admin.describe(name)
            total = sum(high - low for low, high in info.bounds.values())
            typer.echo(
                f"{name}: {len(info.bounds)} partitions, replication {info.replication}, "
                f"{total} records"
            )
            if name in ours:
                typer.echo(f"  key: {ours[name].key_doc}")
            typer.echo(f"  schema: {_describe_schema(log, name)}")
            for option, value in sorted(info.configs.items()):
                typer.echo(f"  {option}={value}")
            for partition, (low, high) in sorted(info.bounds.items()):
                typer.echo(f"  partition {partition}: offsets {low} to {high}")


def _describe_schema(log: Log, name: str) -> str:
    with closing(log.registry()) as registry:
        try:
            registered = registry.latest(subject_of(name))
        except UnknownSchemaError:
            return "none registered"
    return f"{registered.subject}, version {registered.version}, id {registered.id}"


@topics.command()
def delete(
    names: Annotated[list[str], typer.Argument(help="Topics to delete.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete topics with all their records. Their schemas stay registered."""
    if not yes:
        typer.confirm(f"delete {', '.join(names)} with all records?", abort=True)
    with opened() as (log, _), closing(log.admin()) as admin:
        _refuse_unknown(names, admin.topics())
        for name in names:
            admin.delete(name)
            say(f"deleted {name!r}")


def _refuse_unknown(names: Iterable[str], known: Iterable[str]) -> None:
    """Before the first is deleted, so that a slip of the pen deletes nothing."""
    if unknown := sorted(set(names) - set(known)):
        raise CommandError(f"expected topics that exist, got {', '.join(unknown)}; none deleted")
