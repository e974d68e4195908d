"""Schemas at the start and in the flow: what is asked of the registry, and what if it is away."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from streamrec.connectors.log import (
    Headers,
    RegisteredSchema,
    RegistryUnavailableError,
    SchemaRegistry,
    UnknownSchemaError,
    schema_named,
)
from streamrec.connectors.making_topics import subject_of
from streamrec.connectors.patience import Patience, is_time_to_tell
from streamrec.connectors.per_thread import PerThread
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import Topic
from streamrec.schemas.header_ids import SchemaKey, name_of
from streamrec.schemas.json_codec import decode_json
from streamrec.schemas.plain import (
    BytesDecoder,
    BytesEncoder,
    JsonTextDecoder,
    JsonTextEncoder,
    ValueDecoder,
    ValueEncoder,
)
from streamrec.schemas.wire import WireDecoder, WireEncoder

_logger = logging.getLogger(__name__)

_RETRY_S = 2.0

_Answer = TypeVar("_Answer")


def decoder_of(
    registry: SchemaRegistry, topic: Topic, patience: Patience | None
) -> Callable[[], ValueDecoder]:
    """Decoders that read as the topic's schema what was written with any compatible one."""
    if topic.format != "avro":
        return plain_decoder_of(topic)
    return PerThread(lambda: WireDecoder(topic.schema, partial(schema_of, registry, patience)))


def plain_decoder_of(topic: Topic) -> Callable[[], ValueDecoder]:
    """Decoders of a topic without a schema. They hold nothing, so threads share one."""
    decoder = JsonTextDecoder() if topic.format == "json" else BytesDecoder()
    return lambda: decoder


def plain_encoder_of(topic: Topic) -> Callable[[], ValueEncoder]:
    """The same for encoders."""
    encoder = JsonTextEncoder() if topic.format == "json" else BytesEncoder()
    return lambda: encoder


def plain_value_of(topic: Topic) -> Callable[[bytes, Headers], Any] | None:
    """What reads one value of a topic without a schema; None: it has one."""
    if topic.format == "avro":
        return None
    return decode_json if topic.format == "json" else lambda value, _: value


def schema_of(registry: SchemaRegistry, patience: Patience | None, key: SchemaKey) -> str:
    """A writer's schema, by id or by GUID. While the registry is away: wait, or, without patience,
    let the record go to errors. Raises UnknownSchemaError, RegistryUnavailableError."""

    def ask() -> str:
        return schema_named(registry, key)

    what = name_of(key)
    if patience is not None:
        return _when_there(what, patience, ask)
    try:
        return ask()
    except RegistryUnavailableError as error:
        if is_time_to_tell(f"{what} goes to errors"):
            _logger.warning("%s: %s; its records go to errors", what, error)
        raise UnknownSchemaError(f"{what} cannot be looked up: {error}") from error


def encoder_of(
    registry: SchemaRegistry, topic: Topic, name: str, patience: Patience
) -> Callable[[], ValueEncoder]:
    """The encoder of a topic that is called `name` here, under the id that `topics create`
    registered for its schema, if it has one.

    Waits for a registry that is away. Raises StartError when the schema is not registered.
    """
    if topic.format != "avro":
        return plain_encoder_of(topic)
    registered = schema_registered(registry, topic, name, patience)
    return PerThread(lambda: WireEncoder(topic.column_schema, registered.id))


def schema_registered(
    registry: SchemaRegistry, topic: Topic, name: str, patience: Patience
) -> RegisteredSchema:
    """The schema of a topic as it is registered. Waits, and raises, as `encoder_of` does."""
    # In whatever version it stands: a newer one of others does not stop this run.
    subject = subject_of(name)
    try:
        return _when_there(
            f"subject {subject!r}", patience, lambda: registry.find(subject, topic.schema)
        )
    except UnknownSchemaError as error:
        raise StartError(
            f"subject {subject!r} expected the schema of {topic.schema_place} among its "
            "versions, got none that is equal; run `streamrec topics create` to register it, "
            "with --dataflow MODULE for another dataflow than the main job (dataflows.scorer, or "
            "one of your own)"
        ) from error


def _when_there(what: str, patience: Patience, ask: Callable[[], _Answer]) -> _Answer:
    """What the registry says, once it is there to say it. Raises RegistryUnavailableError when
    patience is at its end, or the process is to stop."""
    wait = patience.wait()
    while True:
        try:
            return ask()
        except RegistryUnavailableError as error:
            if is_time_to_tell(f"{what} waits"):
                _logger.warning("%s: %s; waiting, trying again in %.0f s", what, error, _RETRY_S)
            if not wait.again(_RETRY_S):
                raise
