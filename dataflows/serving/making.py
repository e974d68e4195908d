"""The topics that are made for a pipeline, and which schemas are registered for them."""

from dataclasses import replace

from streamrec.dataflows.job.topics import Topic, redrives_of
from streamrec.dataflows.serving.rows import rows_of
from streamrec.dataflows.serving.topic_names import NamedPipeline


def made_topics(named: NamedPipeline) -> dict[str, Topic]:
    """The rows of a pipeline's own topics by name, that of its redrives last. Raises StartError
    where Avro is asked for that cannot be made."""
    rows = rows_of(named, lambda _: None)
    redrives = replace(redrives_of(rows.errors), replication=named.pipeline.replication)
    own = (rows.own_inputs, rows.outputs, rows.shadows, rows.errors, redrives)
    return {row.name: row for row in own if row is not None}


__all__ = ["made_topics"]
