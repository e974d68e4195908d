"""Pipelines by their names, for commands that take one instead of a topic."""

from typing import NamedTuple

from streamrec.connectors.log import Log
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.serving.kept import KeptPipeline, KeptPipelines
from streamrec.dataflows.serving.kept_topics import (
    kept_pipelines,
    pipeline_named,
    served_pipelines,
)
from streamrec.dataflows.serving.topic_names import PipelineTopics
from streamrec.program.shared import CommandError, UsageError


class Target(NamedTuple):
    """A topic, or a pipeline: one of both."""

    topic: str
    pipeline: str | None


def one_target(command: str, topic: str | None, pipeline: str | None) -> Target:
    """What the command was given. Raises UsageError where that is neither, or both."""
    if (topic is None) == (pipeline is None):
        got = "neither" if topic is None else "both"
        raise UsageError(f"{command} expected a topic or --pipeline NAME, got {got}")
    return Target(topic or "", pipeline)


def kept_of(log: Log, settings: Settings, name: str) -> tuple[KeptPipeline, KeptPipelines]:
    """The pipeline of a name, and all that are kept. Raises LogError."""
    kept = kept_pipelines(log, settings)
    return pipeline_named(kept, name), kept


def served_topics(log: Log, settings: Settings, name: str) -> PipelineTopics:
    """The topics of a pipeline in the version that is served. Raises LogError."""
    return served_pipelines(log, settings, [name])[0].topics


def sent_to(log: Log, settings: Settings, name: str) -> tuple[str, tuple[str, ...]]:
    """The inputs topic of a pipeline, and the content types of what it takes; none: JSON. Raises
    CommandError where it has none of its own, LogError."""
    (named,) = served_pipelines(log, settings, [name])
    topic = named.topics.own_inputs
    if topic is None:
        raise CommandError(
            f"pipeline {name!r} reads {', '.join(named.topics.inputs)}: expected `streamrec send "
            "TOPIC` to one of them, got --pipeline"
        )
    return topic, named.metadata[0].content_types
