"""The topics of pipelines whose dataflow is run once more beside itself (`replay --into`)."""

from collections.abc import Sequence
from dataclasses import replace

from streamrec.dataflows.serving.topic_names import NamedPipeline


def written_into(pipelines: Sequence[NamedPipeline], suffix: str) -> tuple[NamedPipeline, ...]:
    """The same, with `-SUFFIX` behind the name of each topic that pipelines write: outputs, errors,
    shadows, and inputs that are gathered. Who reads one of these reads it under that name, so that
    a chain goes by what its first model says in this replay."""
    renamed: dict[str, str] = {}
    for each in pipelines:
        topics = each.topics
        gathered = topics.own_inputs if topics.gathered else None
        for name in (topics.outputs, topics.errors, topics.shadows, gathered):
            if name is not None:
                renamed[name] = f"{name}-{suffix}"
    return tuple(_renamed(each, renamed) for each in pipelines)


def _renamed(each: NamedPipeline, renamed: dict[str, str]) -> NamedPipeline:
    topics = each.topics
    own, shadows = topics.own_inputs, topics.shadows
    return replace(
        each,
        topics=replace(
            topics,
            inputs=tuple(renamed.get(name, name) for name in topics.inputs),
            gathered=tuple(renamed.get(name, name) for name in topics.gathered),
            own_inputs=None if own is None else renamed.get(own, own),
            outputs=renamed[topics.outputs],
            errors=renamed[topics.errors],
            shadows=None if shadows is None else renamed[shadows],
        ),
    )


__all__ = ["written_into"]
