"""Which input a record of our own topics answers: what a resumed sink reads back."""

import json
from collections.abc import Callable
from functools import partial

from streamrec.connectors.log import RawBatch, SchemaRegistry
from streamrec.connectors.patience import Patience
from streamrec.connectors.sink import Source, SourcesOf
from streamrec.dataflows.job.codecs import schema_of
from streamrec.dataflows.job.topics import Topic
from streamrec.schemas.columns import Bytes, Numbers
from streamrec.schemas.wire import WireDecoder


def sources_reader(
    topic: Topic, ours: tuple[str, str], registry: SchemaRegistry, patience: Patience
) -> Callable[[], SourcesOf]:
    """Makes functions that list the inputs which the records of a batch answer.

    `ours` are topic of the input and dataflow. Reads with a schema of the topic's fields `answers`
    only. Records that are not of this kind, or are another dataflow's or topic's, are passed over.
    """
    fields = topic.answers
    assert fields is not None, topic.name
    schema = json.loads(topic.schema)
    schema["fields"] = [field for field in schema["fields"] if field["name"] in fields]
    projection = json.dumps(schema)
    partition_field, offset_field, *names = fields

    def make() -> SourcesOf:
        # What is there already must be known before anything is written: wait for the registry.
        decoder = WireDecoder(projection, partial(schema_of, registry, patience))

        def sources_of(batch: RawBatch) -> list[tuple[Source, int]]:
            decoded = decoder.decode(batch.values)
            columns = decoded.columns
            partitions, offsets = columns[partition_field], columns[offset_field]
            assert isinstance(partitions, Numbers) and isinstance(offsets, Numbers)
            inputs = zip(partitions.values.tolist(), offsets.values.tolist(), strict=True)
            sources = list(zip(inputs, batch.offsets[decoded.rows].tolist(), strict=True))
            is_ours = [True] * len(sources)
            for name, wanted in zip(names, ours, strict=False):
                texts = columns[name]
                assert isinstance(texts, Bytes)
                for row in range(len(sources)):
                    is_ours[row] &= texts.bytes_at(row) == wanted.encode()
            return [source for source, mine in zip(sources, is_ours, strict=True) if mine]

        return sources_of

    return make
