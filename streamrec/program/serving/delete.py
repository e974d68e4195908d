"""`pipeline delete`: a pipeline's topics with their records, and the line by which it is found."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated

import typer

from streamrec.connectors.leases.holder import Claim
from streamrec.connectors.leases.lease import InUseError
from streamrec.connectors.log import Log, LogAdmin, UnknownTopicError
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.serving.kept import PIPELINES, KeptPipeline, forget
from streamrec.dataflows.serving.kept_topics import (
    group_of_pipeline,
    kept_pipelines,
    pipeline_named,
    readers_of,
)
from streamrec.program.serving.status import FLOW_ID
from streamrec.program.shared import CommandError, UsageError, opened, say

_LEASE_S = 3.0  # how long one that is about to end is waited for


def delete(
    name: Annotated[str, typer.Argument(help="The pipeline.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    keep_topics: Annotated[
        bool, typer.Option("--keep-topics", help="Leave its topics with their records.")
    ] = False,
) -> None:
    """Delete a pipeline: the topics of all its versions with all records, and its name.

    Asks before records are deleted. Schemas stay registered, and topics that it only reads stay.
    """
    with opened() as (log, settings):
        kept = kept_pipelines(log, settings)
        if name in kept.bad:  # nobody can say which topics are its own
            say(f"note: {kept.bad[name]}; its topics stay")
            topics: dict[str, int] = {}
        else:
            found = pipeline_named(kept, name)
            for reader in readers_of(name, kept):
                say(f"note: pipeline {reader!r} reads its outputs")
            topics = {} if keep_topics else _records(log, found)
        _ask(name, topics, yes)
        with _held(log, settings, name):
            _delete(log, settings, name, topics)


@contextmanager
def _held(log: Log, settings: Settings, name: str) -> Iterator[None]:
    """Hold what `pipeline run` holds: it must not serve what is deleted under it. Raises
    CommandError where it runs."""
    lease = log.lease(
        f"{group_of_pipeline(settings, name)}.{FLOW_ID}",
        Claim(0, "pipeline delete", _LEASE_S),
        None,
        lambda told: say(f"note: {told}"),
    )
    try:
        lease.claim()
    except InUseError as error:
        raise CommandError(
            f"pipeline {name!r} is being served, nothing was deleted: {error}"
        ) from (error)
    try:
        yield
    finally:
        lease.leave()


def _records(log: Log, kept: KeptPipeline) -> dict[str, int]:
    """The topics of all versions that are there, and how many records they hold."""
    found: dict[str, int] = {}
    with closing(log.admin()) as admin:
        for version in kept.versions:
            for topic in version.topics:
                if (count := _count(admin, topic)) is not None:
                    found[topic] = count
    return found


def _count(admin: LogAdmin, topic: str) -> int | None:
    try:
        return sum(high - low for low, high in admin.bounds(topic).values())
    except UnknownTopicError:
        return None


def _ask(name: str, topics: dict[str, int], yes: bool) -> None:
    """Raises UsageError where nobody can be asked, and Abort where the answer is no."""
    total = sum(topics.values())
    if yes or not total:
        return
    held = ", ".join(f"{topic} ({count})" for topic, count in topics.items() if count)
    records = f"{total} record{'s' if total != 1 else ''}"
    if not sys.stdin.isatty():
        raise UsageError(
            f"pipeline delete expected --yes where there is no terminal to ask at, since {records} "
            f"would be deleted: {held}; nothing was deleted"
        )
    typer.confirm(f"delete pipeline {name} with {records}: {held}?", abort=True, err=True)


def _delete(log: Log, settings: Settings, name: str, topics: dict[str, int]) -> None:
    with closing(log.admin()) as admin:
        for topic, count in topics.items():
            try:
                admin.delete(topic)
            except UnknownTopicError:  # somebody else was faster
                continue
            typer.echo(f"topic {topic}: deleted, {count} record{'s' if count != 1 else ''}")
    # Last of all: what is killed half-way can be deleted again by its name.
    forget(log, name, settings.topic(PIPELINES))
    typer.echo(f"pipeline {name}: deleted")
