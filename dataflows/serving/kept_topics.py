"""Pipelines kept on the log by their names, with the topics that they have there."""

from collections.abc import Iterable, Mapping
from typing import Any

from streamrec.connectors.log import Log, LogError
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import RECOMMENDATIONS
from streamrec.dataflows.serving.kept import (
    PIPELINES,
    KeptPipeline,
    KeptPipelines,
    pipeline_of,
    read_kept,
)
from streamrec.dataflows.serving.pipelines import Input
from streamrec.dataflows.serving.schema_changes import first_change
from streamrec.dataflows.serving.topic_names import (
    NamedPipeline,
    topics_of,
)
from streamrec.models.serving.contract import Metadata


class UnknownPipeline(LogError):
    """No pipeline of that name is kept; the message names those that are."""


class ChangedModel(Exception):
    """A model is not as its pipeline was created with; the message says what differs, and what to
    do."""


def kept_pipelines(log: Log, settings: Settings) -> KeptPipelines:
    """All that are kept on the log. Raises LogError."""
    return read_kept(log, settings.topic(PIPELINES))


def group_of_pipeline(settings: Settings, name: str) -> str:
    """The setting of the consumer group with which `pipeline run` serves it."""
    return f"{settings.consumer_group}-{name}"


def served_pipelines(
    log: Log, settings: Settings, names: Iterable[str]
) -> tuple[NamedPipeline, ...]:
    """The pipelines of these names in the version that is served, as a list of models has them.
    Raises UnknownPipeline, BadKeptPipeline, and what the log raises."""
    kept = kept_pipelines(log, settings)
    features = settings.topic(RECOMMENDATIONS)
    return tuple(with_topics(pipeline_named(kept, name), kept.good, features) for name in names)


def pipeline_named(kept: KeptPipelines, name: str) -> KeptPipeline:
    """Raises UnknownPipeline, BadKeptPipeline."""
    if name in kept.bad:
        raise kept.bad[name]
    if name not in kept.good:
        there = f"one of {', '.join(kept.good)}" if kept.good else "one that was created"
        none = "" if kept.good else ", and there is none yet"
        raise UnknownPipeline(
            f"pipeline expected {there}, got {name!r}{none}; `streamrec pipeline create {name} "
            "--model module:Thing` makes it"
        )
    return kept.good[name]


def with_topics(
    kept: KeptPipeline, others: Mapping[str, KeptPipeline], features_topic: str
) -> NamedPipeline:
    """A pipeline and its topics, in the version that is served. `others` are those whose outputs
    it may read. Raises UnknownPipeline, BadKeptPipeline."""
    metadata = kept.current.metadata
    return named_pipeline(kept.name, kept.prefix, kept.entry, metadata, others, features_topic)


def named_pipeline(
    name: str,
    prefix: str,
    entry: Mapping[str, Any],
    metadata: Metadata,
    others: Mapping[str, KeptPipeline],
    features_topic: str,
) -> NamedPipeline:
    """The same of one that is not kept yet."""
    pipeline = pipeline_of(name, prefix, entry)
    inputs = [_topic(name, each, others, features_topic) for each in pipeline.inputs]
    return NamedPipeline(
        name,
        (metadata.major_version, metadata.minor_version),
        pipeline,
        (metadata,),
        topics_of(pipeline, metadata, prefix, inputs),
    )


def _topic(name: str, each: Input, others: Mapping[str, KeptPipeline], features_topic: str) -> str:
    if each.kind == "features":
        return features_topic
    if each.kind == "topic":
        return each.name
    other = others.get(each.name)
    if other is None:
        raise UnknownPipeline(
            f"pipeline {name!r}: input 'model:{each.name}' expected a pipeline of "
            f"{', '.join(others) or 'this log, which has none'}, got {each.name!r}"
        )
    return topics_of(other.pipeline(), other.current.metadata, other.prefix).outputs


def readers_of(name: str, kept: KeptPipelines) -> list[str]:
    """The pipelines that read the outputs of this one."""
    return [
        other.name
        for other in kept.good.values()
        if Input("model", name) in other.pipeline().inputs
    ]


def check_unchanged(name: str, kept: Metadata, now: Metadata) -> None:
    """That a model is still what a version was created with. Raises ChangedModel."""
    if now.version != kept.version:
        raise ChangedModel(
            f"pipeline {name!r} expected its model in version {kept.version}, got {now.version}; "
            f"`streamrec pipeline create {name} --model ...` makes the topics of {now.version}, "
            "beside those that there are"
        )
    if (changed := change_told(kept, now)) is not None:
        raise ChangedModel(
            f"pipeline {name!r}, version {now.version}: {changed}; a model that takes or answers "
            "something else needs a new minor version, and `streamrec pipeline create` then makes "
            "its topics beside those that there are"
        )


def change_told(before: Metadata, now: Metadata) -> str | None:
    """Where what a model takes or answers differs; None: nowhere."""
    for what, old, new in (
        ("input schema", before.input_schema, now.input_schema),
        ("output schema", before.output_schema, now.output_schema),
        ("content types", list(before.content_types), list(now.content_types)),
    ):
        if (change := first_change(old, new)) is not None:
            where = f" at {change.path}" if change.path else ""
            return f"{what}{where} expected {change.before}, got {change.after}"
    return None


__all__ = [
    "ChangedModel",
    "UnknownPipeline",
    "change_told",
    "check_unchanged",
    "group_of_pipeline",
    "kept_pipelines",
    "named_pipeline",
    "pipeline_named",
    "readers_of",
    "served_pipelines",
    "with_topics",
]
