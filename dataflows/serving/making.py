"""The topics of a pipeline as they are made, and the schemas that are registered for them."""

from collections.abc import Mapping

from streamrec.connectors.log import TopicSpec
from streamrec.dataflows.errors.redrive import redrives_topic
from streamrec.dataflows.job.topics import ERRORS, REDRIVES, Topic
from streamrec.dataflows.serving.topic_names import NamedPipeline
from streamrec.models.serving.avro import NoAvroError, avro_schema_of, made_avro_schema
from streamrec.schemas.served import with_served


class NoAvroSchema(ValueError):
    """Outputs cannot be Avro; the message says why."""


def specs_of(named: NamedPipeline) -> list[TopicSpec]:
    """The topics that are made for a pipeline, that of its redrives last."""
    topics, pipeline = named.topics, named.pipeline
    own = [topic for topic in topics.made if topic != topics.errors]
    return [
        *(
            TopicSpec(topic, pipeline.partitions, pipeline.replication, dict(pipeline.configs))
            for topic in own
        ),
        TopicSpec(
            topics.errors,
            pipeline.partitions,
            pipeline.replication,
            _beside(ERRORS, pipeline.configs),
        ),
        TopicSpec(
            redrives_topic(topics.errors),
            REDRIVES.partitions,
            pipeline.replication,
            _beside(REDRIVES, pipeline.configs),
        ),
    ]


def schemas_of(named: NamedPipeline) -> dict[str, str]:
    """Avro schemas by topic: of errors, of inputs where the model's can be said in Avro, and of
    outputs where they are Avro. Raises NoAvroSchema."""
    topics, metadata = named.topics, named.metadata[0]
    found = {}
    if topics.own_inputs is not None and not metadata.content_types:
        schema = avro_schema_of(metadata.input_schema, f"{named.name}Input")
        if schema is not None:
            found[topics.own_inputs] = schema
    if named.pipeline.format == "avro":
        found[topics.outputs] = _outputs(named)
    found[topics.errors] = ERRORS.schema
    found[redrives_topic(topics.errors)] = REDRIVES.schema
    return found


def _outputs(named: NamedPipeline) -> str:
    try:
        made = made_avro_schema(named.metadata[0].output_schema, f"{named.name}Output")
        return with_served(made)
    except (NoAvroError, ValueError) as error:
        raise NoAvroSchema(
            f"pipeline {named.name!r}: format avro expected an output schema that Avro can say: "
            f"{error}; take format json"
        ) from error


def _beside(ours: Topic, given: Mapping[str, str]) -> dict[str, str]:
    """Errors and redrives keep what is theirs: how long, how large, and that nothing is compacted
    away."""
    kept = {name: value for name, value in given.items() if name != "cleanup.policy"}
    return {**kept, **ours.configs}


__all__ = ["NoAvroSchema", "schemas_of", "specs_of"]
