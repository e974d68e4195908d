"""Schemas at the start and in the flow: what is asked of the registry, and what if it is away."""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from streamrec.connectors.log import (
    RegistryUnavailableError,
    SchemaRegistry,
    UnknownSchemaError,
)
from streamrec.connectors.making_topics import subject_of
from streamrec.connectors.per_thread import PerThread
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import Topic
from streamrec.schemas.wire import WireDecoder, WireEncoder

_logger = logging.getLogger(__name__)

_RETRY_S = 2.0

_Answer = TypeVar("_Answer")


def decoder_of(registry: SchemaRegistry, topic: Topic, wait: bool) -> Callable[[], WireDecoder]:
    """Decoders that read as the topic's schema what was written with any compatible one."""
    return PerThread(lambda: WireDecoder(topic.schema, partial(schema_by_id, registry, wait)))


def schema_by_id(registry: SchemaRegistry, wait: bool, schema_id: int) -> str:
    """A writer's schema. While the registry is away: wait, or let the record go to errors."""
    if wait:
        return _when_there(f"schema id {schema_id}", lambda: registry.by_id(schema_id))
    try:
        return registry.by_id(schema_id)
    except RegistryUnavailableError as error:
        _logger.warning("schema id %d: %s; its records go to errors", schema_id, error)
        raise UnknownSchemaError(f"schema id {schema_id} cannot be looked up: {error}") from error


def encoder_of(registry: SchemaRegistry, topic: Topic, name: str) -> Callable[[], WireEncoder]:
    """The encoder of a topic that is called `name` here, under the id that `topics create`
    registered for its schema.

    Waits for a registry that is away. Raises StartError when the schema is not registered.
    """
    # In whatever version it stands: a newer one of others does not stop this run.
    subject = subject_of(name)
    try:
        registered = _when_there(
            f"subject {subject!r}", lambda: registry.find(subject, topic.schema)
        )
    except UnknownSchemaError as error:
        raise StartError(
            f"subject {subject!r} expected the schema of {topic.schema_place} among its "
            "versions, got none that is equal; run `streamrec topics create` to register it, "
            "with --dataflow MODULE for a dataflow of your own"
        ) from error
    return PerThread(lambda: WireEncoder(topic.schema, registered.id))


def _when_there(what: str, ask: Callable[[], _Answer]) -> _Answer:
    """What the registry says, once it is there to say it."""
    while True:
        try:
            return ask()
        except RegistryUnavailableError as error:
            _logger.warning("%s: %s; waiting, trying again in %.0f s", what, error, _RETRY_S)
            time.sleep(_RETRY_S)
