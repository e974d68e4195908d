"""What `pipeline create` comes to, and doing it: topics, schemas, and a line on the log."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from streamrec.connectors.log import IncompatibleSchemaError, Log, UnknownTopicError
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import RECOMMENDATIONS, Topic, make_all
from streamrec.dataflows.serving.kept import (
    PIPELINES,
    BadKeptPipeline,
    KeptPipeline,
    KeptVersion,
    keep,
)
from streamrec.dataflows.serving.kept_topics import change_told, kept_pipelines, named_pipeline
from streamrec.dataflows.serving.making import made_topics
from streamrec.dataflows.serving.pipelines import DEFAULT_PREFIX
from streamrec.dataflows.serving.topic_names import NamedPipeline
from streamrec.models.serving.contract import Metadata
from streamrec.program.records.topics import settle
from streamrec.program.shared import CommandError, UsageError


@dataclass(frozen=True, slots=True)
class CreatePlan:
    """What a create comes to: nothing is made yet."""

    before: KeptPipeline | None
    after: KeptPipeline
    rows: dict[str, Topic]  # that are its own in this version, by name


def plan_create(
    log: Log,
    settings: Settings,
    name: str,
    prefix: str | None,
    given: dict[str, Any],
    metadata: Metadata,
    adopt: bool = False,
) -> CreatePlan:
    """`adopt`: topics of a new pipeline may hold records. Raises CommandError where what is there
    already stands against it, LogError."""
    kept = kept_pipelines(log, settings)
    before = kept.good.get(name)
    entry = without_zeros(_merged(before, given))
    if before is not None:
        _check_unchanged(before, prefix, entry, metadata)
    where = before.prefix if before is not None else prefix or DEFAULT_PREFIX
    try:
        features = settings.topic(RECOMMENDATIONS)
        named = named_pipeline(name, where, entry, metadata, kept.good, features)
        rows = made_topics(named)
    except (BadKeptPipeline, StartError) as error:
        raise UsageError(str(error)) from None
    _check_inputs(log, named)
    if before is None and not adopt:
        _check_new(log, name, rows)
    versions = _with_version(() if before is None else before.versions, metadata, [*rows])
    after = KeptPipeline(name, where, entry, metadata.version, versions)
    return CreatePlan(before, after, rows)


def _with_version(
    versions: tuple[KeptVersion, ...], metadata: Metadata, topics: list[str]
) -> tuple[KeptVersion, ...]:
    """The versions with this one, which may be among them."""
    by_number = {each.version: each for each in versions}
    known = by_number.get(metadata.version, KeptVersion(metadata, ()))
    # What it was created with stays: only what describes it can differ.
    by_number[metadata.version] = replace(
        known, topics=tuple(dict.fromkeys([*known.topics, *topics]))
    )
    return tuple(by_number.values())


def _merged(before: KeptPipeline | None, given: dict[str, Any]) -> dict[str, Any]:
    """The keys of the entry: what is given anew, and of the rest what was kept."""
    old = {} if before is None else dict(before.entry)
    merged = {**old, **given}
    if "configs" in old and "configs" in given:
        merged["configs"] = {**old["configs"], **given["configs"]}
    return merged


def without_zeros(entry: dict[str, Any]) -> dict[str, Any]:
    """A limit of 0 is none."""
    limits = ("timeout_s", "memory_mb")
    return {key: value for key, value in entry.items() if value or key not in limits}


def _check_unchanged(
    before: KeptPipeline, prefix: str | None, entry: dict[str, Any], metadata: Metadata
) -> None:
    """Raises CommandError."""
    where = f"pipeline {before.name!r}"
    if prefix is not None and prefix != before.prefix:
        raise CommandError(
            f"{where} has topics with the prefix {before.prefix!r}, got {prefix!r}; take another "
            "name for it"
        )
    for known in before.versions:
        if known.version != metadata.version:
            continue
        if (changed := change_told(known.metadata, metadata)) is not None:
            raise CommandError(
                f"{where}, version {known.version}: {changed}; a model that takes or answers "
                "something else needs a new minor version"
            )
        formats = [each.get("format", "json") for each in (before.entry, entry)]
        if formats[0] != formats[1]:
            raise CommandError(
                f"{where}, version {known.version}: outputs are {formats[0]}, got --format "
                f"{formats[1]}; another format needs a new minor version of the model"
            )


def _check_new(log: Log, name: str, rows: Mapping[str, Topic]) -> None:
    """That topics of a new pipeline hold nobody else's records: those of a create that was broken
    off are empty. Raises CommandError."""
    with closing(log.admin()) as admin:
        for topic in rows:
            try:
                held = sum(high - low for low, high in admin.bounds(topic).values())
            except UnknownTopicError:
                continue
            if held:
                raise CommandError(
                    f"pipeline {name!r} expected topics of its own, got {topic!r} with {held} "
                    "records, which a list of models may serve; take another name or --prefix, or "
                    "--adopt them"
                )


def _check_inputs(log: Log, named: NamedPipeline) -> None:
    """That the topics of others are there. Raises UnknownTopicError."""
    if named.topics.own_inputs is None:
        with closing(log.admin()) as admin:
            for topic in named.topics.inputs:
                admin.bounds(topic)


def carried_out(
    log: Log, settings: Settings, plan: CreatePlan, grow_to: int | None
) -> Iterator[str]:
    """Do it, and say what was done. Raises CommandError, LogError."""
    try:
        report = make_all(log, plan.rows)
    except IncompatibleSchemaError as error:
        raise CommandError(
            f"{error}; schemas stay registered when a pipeline is deleted: a model that takes or "
            "answers something else needs a new minor version"
        ) from error
    for name, row in plan.rows.items():
        does = f"made, {_parts(row.partitions)}" if name in report.created else "exists"
        yield f"topic {name}: {does}"
    for difference in report.differences:
        yield settle(log, difference, grow_to=grow_to)
    for found in report.schemas:
        yield f"schema {found.subject}: version {found.version}, id {found.id}"
    # Last of all: a pipeline that can be found by its name has its topics.
    if plan.after != plan.before:
        replication = int(plan.after.entry.get("replication", 1))
        keep(log, plan.after, settings.topic(PIPELINES), replication)
    yield from _told(plan)


def _told(plan: CreatePlan) -> Iterator[str]:
    before, after = plan.before, plan.after
    where = f"pipeline {after.name}"
    of = f"version {after.version} of {after.model}"
    if before is None:
        yield f"{where}: made, {of}"
        return
    if before.version != after.version:
        yield f"{where}: {of} is served, no longer {before.version}"
    else:
        yield f"{where}: exists, {of}"
    for key in dict.fromkeys([*before.entry, *after.entry]):
        old, new = before.entry.get(key), after.entry.get(key)
        if old != new:
            yield f"{where}: {key} is {_shown(new)}, was {_shown(old)}"


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def _parts(count: int) -> str:
    return f"{count} partition{'s' if count != 1 else ''}"


__all__ = ["CreatePlan", "carried_out", "plan_create", "without_zeros"]
