"""`PaperJob`: a job without a log, for pictures and for tests of wiring."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from bytewax.inputs import Source
from bytewax.outputs import Sink
from bytewax.testing import TestingSink, TestingSource

from streamrec.connectors.log import RawBatch
from streamrec.connectors.out import Out
from streamrec.connectors.per_thread import PerThread
from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.kept import Keep, Kept
from streamrec.dataflows.job.once import Once
from streamrec.dataflows.job.settings import Settings, load_settings
from streamrec.dataflows.job.topics import Topic
from streamrec.schemas.wire import WireDecoder, WireEncoder

T = TypeVar("T")

SCHEMA_ID = 1  # of every schema: each topic is read as what was written to it


class PaperJob(Job):
    """Reads batches from memory and writes to lists; connects to nothing and keeps nothing.

    `inputs` are batches by topic (`schema id` 1); `written` holds what the flow wrote, by topic, as
    `(lane, Out)`. What a real job tells at its start (a model that cannot be had, a schema that is
    not registered) is not looked for before it is used.
    """

    def __init__(
        self,
        flow_id: str,
        inputs: Mapping[str, Sequence[RawBatch]] | None = None,
        settings: Settings | None = None,
        partitions: int = 8,
    ) -> None:
        self.flow_id = flow_id
        self.settings = settings or load_settings()
        self.written: dict[str, list[tuple[str, Out]]] = {}
        self.topics_read: list[Topic] = []
        self.topics_written: list[Topic] = []
        self._inputs = inputs or {}
        self._source = None
        self._partition_count = partitions

    def keep(self, make: Callable[[], Kept]) -> Keep:
        return Keep(make, None)

    def table(self, topic: Topic) -> Any:
        self.topics_read.append(topic)
        return {}

    def decoder(self, topic: Topic) -> Callable[[], WireDecoder]:
        return PerThread(lambda: WireDecoder(topic.schema, lambda _: topic.schema))

    def encoder(self, topic: Topic) -> Callable[[], WireEncoder]:
        return PerThread(lambda: WireEncoder(topic.schema, SCHEMA_ID))

    def share(self, make: Callable[[], T]) -> Callable[[], T]:
        return Once(make)

    def _source_of(self, topic: Topic) -> Source[RawBatch]:
        self.topics_read.append(topic)
        return TestingSource(list(self._inputs.get(topic.name, ())))

    def _sink(self, topic: Topic) -> Sink[Any]:
        self.topics_written.append(topic)
        return TestingSink(self.written.setdefault(topic.name, []))

    def _partitions(self, topic: Topic) -> Callable[[], int]:
        return lambda: self._partition_count

    def _largest(self, topic: Topic) -> Callable[[], int]:
        return lambda: self.settings.max_message_bytes


__all__ = ["PaperJob"]
