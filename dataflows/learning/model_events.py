"""What became of published models, as records of the topic `model-events`."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from streamrec.connectors.log import Log, Outgoing, SchemaRegistry, schema_named
from streamrec.connectors.reading import read_all
from streamrec.dataflows.job.codecs import schema_registered
from streamrec.dataflows.job.topics import MODEL_EVENTS
from streamrec.schemas.json_codec import JsonDecoder, JsonEncoder

_FLUSH_S = 60.0


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """One event; fields as in schemas/model_events.avsc."""

    model: str
    version: str  # empty: none
    kind: str
    who: str
    at_ms: int  # Unix milliseconds
    reason: str | None = None
    message: str = ""
    dataflow: str | None = None
    pipeline: str | None = None
    topic: str | None = None
    partition: int | None = None
    first_offset: int | None = None
    previous: str | None = None

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> "ModelEvent":
        """What a record says."""
        names = cls.__dataclass_fields__.keys() - {"at_ms"}
        return cls(at_ms=value["at"], **{name: value[name] for name in names})

    def as_value(self) -> dict[str, Any]:
        """The record."""
        names = self.__dataclass_fields__.keys() - {"at_ms"}
        return {"at": self.at_ms, **{name: getattr(self, name) for name in names}}


class EventCodec:
    """Events to messages and back."""

    def __init__(self, log: Log, registry: SchemaRegistry, topic: str) -> None:
        """Raises StartError where the schema is not registered."""
        registered = schema_registered(registry, MODEL_EVENTS, topic, log.patience)
        self._encoder = JsonEncoder(MODEL_EVENTS.schema, registered.id)
        self._decoder = JsonDecoder(partial(schema_named, registry))

    def message(self, event: ModelEvent) -> Outgoing:
        """As it is written."""
        return Outgoing(event.model.encode(), self._encoder.encode(event.as_value()), partition=0)

    def event(self, value: bytes) -> ModelEvent:
        """As it was written. Raises UnreadableError."""
        return ModelEvent.of(self._decoder.decode(value))


class EventLog:
    """Writes events and reads them all. Not safe for use by several threads at once."""

    def __init__(self, log: Log, registry: SchemaRegistry, topic: str) -> None:
        """Raises StartError where the schema is not registered."""
        self._log, self.topic = log, topic
        self._codec = EventCodec(log, registry, topic)

    def write(self, events: Iterable[ModelEvent]) -> None:
        """Durable when this returns. Raises WriteError."""
        with closing(self._log.writer()) as writer:
            writer.write(self.topic, [self._codec.message(each) for each in events])
            writer.flush(_FLUSH_S)

    def read(self, model: str | None = None) -> list[ModelEvent]:
        """All that were written, in the topic's order; of one model. Raises UnreadableError,
        UnknownTopicError."""
        found = []
        for record in read_all(self._log, self.topic):
            if record.value is None or model not in (None, (record.key or b"").decode()):
                continue
            found.append(self._codec.event(record.value))
        return found


def champions(events: Iterable[ModelEvent], model: str) -> list[str]:
    """The champions of a model as they would be gone back through: the last is the present one.

    >>> made = [("promoted", "a"), ("promoted", "b"), ("rolled_back", "a"), ("promoted", "c")]
    >>> champions([ModelEvent("m", version, kind, "me", 0) for kind, version in made], "m")
    ['a', 'c']
    """
    found: list[str] = []
    for event in events:
        if event.model != model or event.kind not in ("promoted", "rolled_back"):
            continue
        if event.kind == "rolled_back" and event.version in found:
            del found[found.index(event.version) + 1 :]
        elif found[-1:] != [event.version]:
            found.append(event.version)
    return found


__all__ = ["EventCodec", "EventLog", "ModelEvent", "champions"]
