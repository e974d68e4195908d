"""Which input a record of our own topics answers: what a resumed sink reads back."""

import json
from collections.abc import Callable
from functools import partial

from connectors.log import RawBatch, SchemaRegistry
from connectors.sink import Source, SourcesOf
from dataflows.registered import schema_by_id
from schemas import load
from schemas.columns import Bytes, Numbers
from schemas.wire import WireDecoder

# Names of the fields that say partition, offset and, if there, topic of the input, by schema.
ANSWER_FIELDS = ("source_partition", "source_offset", "source_topic")
ERROR_FIELDS = ("partition", "offset", "topic")
SCORE_FIELDS = ("source_partition", "source_offset")  # scores answer one topic only


def sources_reader(
    schema_name: str, fields: tuple[str, ...], topic: str, registry: SchemaRegistry
) -> Callable[[], SourcesOf]:
    """Makes functions that list the inputs, from one topic, which the records of a batch answer.

    Reads with a schema of these fields only. Records that are not of this kind, or answer
    inputs of another topic, are not ours and are passed over.
    """
    schema = json.loads(load(schema_name))
    schema["fields"] = [field for field in schema["fields"] if field["name"] in fields]
    projection = json.dumps(schema)
    partition_field, offset_field, *topic_field = fields

    def make() -> SourcesOf:
        # What is there already must be known before anything is written: wait for the registry.
        decoder = WireDecoder(projection, partial(schema_by_id, registry, True))

        def sources_of(batch: RawBatch) -> list[Source]:
            columns = decoder.decode(batch.values).columns
            partitions, offsets = columns[partition_field], columns[offset_field]
            assert isinstance(partitions, Numbers) and isinstance(offsets, Numbers)
            sources = list(zip(partitions.values.tolist(), offsets.values.tolist(), strict=True))
            for name in topic_field:
                topics = columns[name]
                assert isinstance(topics, Bytes)
                wanted = topic.encode()
                sources = [s for row, s in enumerate(sources) if topics.bytes_at(row) == wanted]
            return sources

        return sources_of

    return make
