"""Which output a record of our own topics is: what a resumed sink reads back."""

import json
from collections.abc import Callable, Sequence
from functools import partial

from streamrec.connectors.log import RawBatch, SchemaRegistry
from streamrec.connectors.out import OutputId
from streamrec.connectors.patience import Patience
from streamrec.connectors.sink import IdsOf
from streamrec.dataflows.job.codecs import schema_of
from streamrec.dataflows.job.topics import Topic
from streamrec.schemas.columns import Bytes, Numbers
from streamrec.schemas.wire import WireDecoder


def ids_reader(
    topic: Topic,
    inputs: Callable[[], Sequence[str]],
    dataflow: str,
    registry: SchemaRegistry,
    patience: Patience,
) -> Callable[[], IdsOf]:
    """Makes functions that list which outputs the records of a batch are.

    `inputs` are the topics that the dataflow reads; where records do not tell theirs it is the
    first. Reads with a schema of the topic's fields `answers` only. Records that are not of this
    kind, or are another dataflow's or topic's, are passed over.
    """
    fields = topic.answers
    assert fields is not None, topic.name
    schema = json.loads(topic.schema)
    schema["fields"] = [field for field in schema["fields"] if field["name"] in fields]
    projection = json.dumps(schema)
    partition_field, offset_field, *others = fields
    topic_field, dataflow_field, kind_field, number_field = (*others, *[None] * 4)[:4]

    def make() -> IdsOf:
        # What is there already must be known before anything is written: wait for the registry.
        decoder = WireDecoder(projection, partial(schema_of, registry, patience))
        topics = list(inputs())
        ours = set(topics)

        def ids_of(batch: RawBatch) -> list[OutputId]:
            columns = decoder.decode(batch.values).columns

            def numbers(name: str) -> list[int]:
                column = columns[name]
                assert isinstance(column, Numbers)
                found: list[int] = column.values.tolist()
                return found

            def texts(name: str | None, default: str) -> list[str]:
                if name is None:
                    return [default] * len(offsets)
                column = columns[name]
                assert isinstance(column, Bytes)
                return [column.bytes_at(row).decode() for row in range(len(offsets))]

            offsets = numbers(offset_field)
            found = zip(
                texts(topic_field, topics[0]),
                numbers(partition_field),
                offsets,
                texts(kind_field, ""),
                [0] * len(offsets) if number_field is None else numbers(number_field),
                strict=True,
            )
            return [
                OutputId(*each)
                for each, by in zip(found, texts(dataflow_field, dataflow), strict=True)
                if each[0] in ours and by == dataflow
            ]

        return ids_of

    return make
