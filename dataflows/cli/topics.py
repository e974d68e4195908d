"""`topics`: make, list, describe and delete topics."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from connectors.log import Log, LogAdmin, TopicSpec, UnknownSchemaError, UnknownTopicError
from dataflows.cli.program import CommandError, UsageError, opened, say
from dataflows.topics import TOPICS, subject_of

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
    chosen = names or list(TOPICS)
    if schema is not None and len(chosen) != 1:
        raise UsageError("--schema expected one topic, got " + (", ".join(chosen)))
    options = dict(_parse_config(option) for option in config or ())
    specs = [_spec(name, partitions, replication, options) for name in chosen]
    schemas = {}
    for name in chosen:
        if schema is not None:
            schemas[name] = schema.read_text(encoding="utf-8")
        elif name in TOPICS:
            schemas[name] = TOPICS[name].schema()
    with opened() as log:
        with closing(log.admin()) as admin:
            for spec in specs:
                for line in _ensure(admin, spec):
                    typer.echo(line)
        _register(log, schemas)


def _spec(
    name: str, partitions: int | None, replication: int | None, options: dict[str, str]
) -> TopicSpec:
    spec = TOPICS[name].spec if name in TOPICS else TopicSpec(name)
    return replace(
        spec,
        partitions=partitions or spec.partitions,
        replication=replication or spec.replication,
        configs={**spec.configs, **options},
    )


def _ensure(admin: LogAdmin, spec: TopicSpec) -> Iterator[str]:
    """Make a topic, or say how the one that exists differs. Partitions are added, for that is safe
    to do; nothing else is changed, for it may lose records or is not ours to decide."""
    try:
        info = admin.describe(spec.name)
    except UnknownTopicError:
        admin.create(spec)
        yield f"topic {spec.name}: made with {spec.partitions} partitions"
        return
    have = len(info.bounds)
    if have < spec.partitions:
        admin.add_partitions(spec.name, spec.partitions)
        yield f"topic {spec.name}: grew from {have} to {spec.partitions} partitions"
    elif have > spec.partitions:
        yield f"topic {spec.name}: exists; partitions expected {spec.partitions}, got {have}"
    if info.replication != spec.replication:
        yield (
            f"topic {spec.name}: exists; replication expected {spec.replication}, "
            f"got {info.replication}"
        )
    for option, value in spec.configs.items():
        got = info.configs.get(option)
        if got != value:
            shown = "the broker's default" if got is None else got
            yield f"topic {spec.name}: exists; {option} expected {value}, got {shown}"


def _parse_config(option: str) -> tuple[str, str]:
    name, equals, value = option.partition("=")
    if not equals:
        raise UsageError(f"--config expected NAME=VALUE, got {option!r}")
    return name, value


def _register(log: Log, schemas: dict[str, str]) -> None:
    with closing(log.registry()) as registry:
        for name, text in schemas.items():
            registered = registry.register(subject_of(name), text)
            typer.echo(
                f"schema {registered.subject}: id {registered.id}, version {registered.version}"
            )


@topics.command("list")
def list_topics() -> None:
    """Print the names of all topics, one a line."""
    with opened() as log, closing(log.admin()) as admin:
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
    with opened() as log, closing(log.admin()) as admin:
        for name in names or admin.topics():
            info = admin.describe(name)
            total = sum(high - low for low, high in info.bounds.values())
            typer.echo(
                f"{name}: {len(info.bounds)} partitions, replication {info.replication}, "
                f"{total} records"
            )
            if name in TOPICS:
                typer.echo(f"  key: {TOPICS[name].key_doc}")
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
    with opened() as log, closing(log.admin()) as admin:
        _refuse_unknown(names, admin.topics())
        for name in names:
            admin.delete(name)
            say(f"deleted {name!r}")


def _refuse_unknown(names: Iterable[str], known: Iterable[str]) -> None:
    """Before the first is deleted, so that a slip of the pen deletes nothing."""
    if unknown := sorted(set(names) - set(known)):
        raise CommandError(f"expected topics that exist, got {', '.join(unknown)}; none deleted")
