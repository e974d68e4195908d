"""Which pipelines of a list gather their inputs from several topics, and how."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import Topic
from streamrec.dataflows.serving.gathering import GatherByKey
from streamrec.dataflows.serving.pipelines import Gather
from streamrec.dataflows.serving.rows import PipelineRows
from streamrec.dataflows.serving.serve import listed
from streamrec.dataflows.serving.topic_names import NamedPipeline


@dataclass(frozen=True, slots=True)
class Gathering:
    """One pipeline that gathers."""

    step: str
    job: Job
    names: Mapping[str, str]  # what the values of each topic are called
    gather: Gather
    target: Topic
    errors: Topic
    tells_of: Sequence[str]  # topics whose bad records go to its errors

    def made(self) -> GatherByKey:
        return GatherByKey(self.job, self.names, self.gather, self.target)


@dataclass(frozen=True, slots=True)
class Gatherings:
    """All of a list."""

    topics: Sequence[Topic]
    of_models: Sequence[Gathering]


def gatherings(job: Job) -> Gatherings:
    """Those that the settings list; loads their models, for their names. Raises StartError."""
    pipelines = listed(job)
    outputs = {rows.outputs.name: rows for _, rows in pipelines}
    topics: dict[str, Topic] = {}
    found: list[Gathering] = []
    for named, rows in pipelines:
        gather = named.pipeline.gather
        if gather is None or rows.own_inputs is None:
            continue
        if any(each.kind == "features" for each in named.pipeline.inputs):
            raise StartError(
                f"model {named.name!r}: gather expected topics and outputs of models, got "
                "features; a model of its own that takes features can be gathered"
            )
        sources = [_row(name, outputs) for name in named.topics.gathered]
        new = [row.name for row in sources if row.name not in topics]
        topics |= {row.name: row for row in sources}
        called = [each.name or each.kind for each in named.pipeline.inputs]
        found.append(
            Gathering(
                named.step,
                job,
                dict(zip(named.topics.gathered, called, strict=True)),
                gather,
                _target(named, rows.own_inputs),
                rows.errors,
                new,
            )
        )
    if not found:
        raise StartError(
            "dataflow 'gather' expected a model with a gather in STREAMREC_MODELS, got none"
        )
    return Gatherings(list(topics.values()), found)


def _row(name: str, outputs: Mapping[str, PipelineRows]) -> Topic:
    """A topic as it is gathered: JSON, or what Avro another pipeline writes."""
    rows = outputs.get(name)
    schema = None if rows is None else rows.output_schema
    if schema is None:
        return Topic(name, format="json", key_beside=True, named_by_setting=False)
    return Topic(name, schema_text=schema, key_beside=True, named_by_setting=False)


def _target(named: NamedPipeline, inputs: Topic) -> Topic:
    """A pipeline's own inputs, as they are written here."""
    return replace(
        inputs, format="json", schema_text=None, column_schema_text=None, answers="headers"
    )


__all__ = ["Gathering", "Gatherings", "gatherings"]
