"""A publisher that remembers what it has read: of a model that is published every few seconds, the
topics are not read from their beginnings each time."""

from contextlib import closing

from typing_extensions import override

from streamrec.connectors.log import Log, LogReader
from streamrec.connectors.reading import read_range
from streamrec.dataflows.job.codecs import schema_of
from streamrec.dataflows.learning.model_events import EventLog, ModelEvent
from streamrec.dataflows.learning.published import ModelTopics, PublishedModels
from streamrec.dataflows.learning.publishing import Publisher


class _SteadyEvents(EventLog):
    """Keeps what it has read."""

    _read: list[ModelEvent]
    _position = 0

    @override
    def read(self, model: str | None = None) -> list[ModelEvent]:
        if self._position == 0:
            self._read = []
        with closing(self._log.admin()) as admin:
            ends = admin.ends(self.topic, committed=True)
            low = admin.bounds(self.topic)[0].low
        start = max(self._position, low)
        for record in read_range(self._log, self.topic, {0: start}, ends):
            if record.value is not None:
                self._read.append(self._codec.event(record.value))
        self._position = max(start, ends[0])
        return [each for each in self._read if model in (None, each.model)]


class SteadyPublisher(Publisher):
    """As `Publisher`, for one thread."""

    def __init__(self, log: Log, topics: ModelTopics | None = None) -> None:
        super().__init__(log, topics)
        self.events = _SteadyEvents(log, self._registry, self._topics.events)
        self._models: PublishedModels | None = None
        self._reader: LogReader | None = None

    @override
    def known(self) -> PublishedModels:
        if self._models is None or self._reader is None:
            log, registry = self._log, self._registry
            models = PublishedModels(
                log, self._topics.models, lambda key: schema_of(registry, log.patience, key)
            )
            self._reader = models.load()
            self._models = models
        else:
            self._models.catch_up(self._reader)
        return self._models

    @override
    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        super().close()


__all__ = ["SteadyPublisher"]
