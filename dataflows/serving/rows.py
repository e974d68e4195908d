"""The topics of a pipeline, as rows of what a dataflow reads and writes."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from streamrec.dataflows.job.answers import Answers
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import Format, Topic, errors_topic
from streamrec.dataflows.serving.topic_names import NamedPipeline
from streamrec.models.serving.avro import avro_schema_of, why_no_avro
from streamrec.models.serving.contract import Metadata
from streamrec.schemas.served import encoding_of, with_served

_ANSWERS = ("served.source_partition", "served.source_offset", "served.source_topic")


@dataclass(frozen=True, slots=True)
class PipelineRows:
    """The rows of one pipeline."""

    inputs: tuple[Topic, ...]
    outputs: Topic
    errors: Topic
    shadows: Topic | None
    own_inputs: Topic | None  # the one of `inputs` that is made for it
    input_schema: str | None  # Avro that is made of the model's; None: none can be
    output_schema: str | None  # the same, without `served`; None: outputs are JSON


def rows_of(named: NamedPipeline, other: Callable[[str], Topic | None]) -> PipelineRows:
    """`other` is the row of a topic that another pipeline, or the main job, has. Raises StartError
    where Avro is asked for that cannot be made."""
    pipeline, topics, metadata = named.pipeline, named.topics, named.metadata[0]
    made = _schema(metadata, named.name, is_input=True)
    output_schema = None
    if pipeline.format == "avro":
        output_schema = _schema(metadata, named.name, is_input=False)
        if output_schema is None:
            why = why_no_avro(metadata.output_schema, named.name)
            raise StartError(
                f"model {named.name!r}: format 'avro' expected an output schema that Avro can say: "
                f"{why}; or set format = 'json'"
            )
        for variant, other_metadata in zip(pipeline.variants, named.metadata, strict=True):
            if _schema(other_metadata, named.name, is_input=False) != output_schema:
                raise StartError(
                    f"model {named.name!r}: format 'avro' expected variants with one output "
                    f"schema, got another of {variant.name!r}; or set format = 'json'"
                )
    own = None if topics.own_inputs is None else _inputs(topics.own_inputs, made, named)
    inputs = tuple(
        own if own is not None and name == own.name else (other(name) or _foreign(name))
        for name in topics.inputs
    )
    return PipelineRows(
        inputs=inputs,
        outputs=_outputs(topics.outputs, output_schema, named),
        errors=replace(
            errors_topic(topics.errors),
            partitions=pipeline.partitions,
            replication=pipeline.replication,
        ),
        shadows=None if topics.shadows is None else _shadows(topics.shadows, output_schema, named),
        own_inputs=own,
        input_schema=made,
        output_schema=output_schema,
    )


def _schema(metadata: Metadata, name: str, *, is_input: bool) -> str | None:
    kind = "Input" if is_input else "Output"
    schema = metadata.input_schema if is_input else metadata.output_schema
    return avro_schema_of(schema, f"{name}{kind}")


def _inputs(name: str, made: str | None, named: NamedPipeline) -> Topic:
    if named.metadata[0].content_types:
        return _row(name, named, "bytes")
    return _row(name, named, "json") if made is None else _row(name, named, "avro", made)


def _outputs(name: str, schema: str | None, named: NamedPipeline) -> Topic:
    if schema is None:
        return _row(name, named, "json", answers="headers")
    whole = with_served(schema)
    return _row(name, named, "avro", whole, encoding_of(whole), _ANSWERS)


def _shadows(name: str, schema: str | None, named: NamedPipeline) -> Topic:
    """As outputs are; they may repeat, and be left out."""
    if schema is None:
        return _row(name, named, "json")
    whole = with_served(schema)
    return _row(name, named, "avro", whole, encoding_of(whole))


def _row(
    name: str,
    named: NamedPipeline,
    form: Format,
    schema: str | None = None,
    column_schema: str | None = None,
    answers: Answers | None = None,
) -> Topic:
    pipeline = named.pipeline
    return Topic(
        name,
        key_doc="of the input",
        schema_text=schema,
        column_schema_text=column_schema,
        answers=answers,
        partitions=pipeline.partitions,
        replication=pipeline.replication,
        configs=pipeline.configs,
        format=form,
        key_beside=True,
        named_by_setting=False,
    )


def _foreign(name: str) -> Topic:
    """A topic of somebody else's, whatever is on it."""
    return Topic(name, key_doc="any", format="bytes", key_beside=True, named_by_setting=False)


__all__ = ["PipelineRows", "rows_of"]
