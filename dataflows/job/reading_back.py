"""Which output a record of our own topics is: what a resumed sink reads back."""

import json
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from streamrec.connectors.log import RawBatch, SchemaRegistry
from streamrec.connectors.out import OutputId
from streamrec.connectors.patience import Patience
from streamrec.connectors.sink import IdsOf
from streamrec.dataflows.job.answers import HEADERS, id_in, projection
from streamrec.dataflows.job.codecs import schema_of
from streamrec.dataflows.job.topics import Topic
from streamrec.schemas.columns import Bytes, Columns, Numbers
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
    first. Reads headers, or with a schema of the topic's fields `answers` only. Records that are
    not of this kind, or are another dataflow's or topic's, are passed over.
    """
    if topic.answers == HEADERS:
        return lambda: _by_headers(frozenset(inputs()), dataflow)
    fields = topic.answers
    assert isinstance(fields, tuple), topic.name
    projected = json.dumps(projection(json.loads(topic.schema), fields))
    partition_field, offset_field, *others = fields
    topic_field, dataflow_field, kind_field, number_field = (*others, *[None] * 4)[:4]

    def make() -> IdsOf:
        # What is there already must be known before anything is written: wait for the registry.
        decoder = WireDecoder(projected, partial(schema_of, registry, patience))
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
                for each, by, is_told in zip(
                    found, texts(dataflow_field, dataflow), _told(columns, fields), strict=True
                )
                if is_told and each[0] in ours and by == dataflow
            ]

        return ids_of

    return make


def _by_headers(ours: frozenset[str], dataflow: str) -> IdsOf:
    def ids_of(batch: RawBatch) -> list[OutputId]:
        found = (id_in(batch.detail(index).headers, dataflow) for index in range(len(batch)))
        return [each for each in found if each is not None and each.topic in ours]

    return ids_of


def _told(columns: Columns, fields: Sequence[str]) -> list[bool]:
    """By row, whether none of these is null."""
    told = np.ones(len(columns[fields[0]]), np.bool_)
    for name in fields:
        valid = columns[name].valid
        if valid is not None:
            told &= valid
    found: list[bool] = told.tolist()
    return found
