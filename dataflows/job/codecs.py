"""Schemas at the start and in the flow: what is asked of the registry, and what if it is away."""

import logging
import time
from collections.abc import Callable
from functools import partial

from streamrec.connectors.log import (
    RegisteredSchema,
    RegistryUnavailableError,
    SchemaRegistry,
    UnknownSchemaError,
)
from streamrec.connectors.per_thread import PerThread
from streamrec.connectors.topics import subject_of
from streamrec.dataflows.job.topics import Topic
from streamrec.schemas.wire import WireDecoder, WireEncoder

_logger = logging.getLogger(__name__)

_RETRY_S = 2.0


class StartError(Exception):
    """The dataflow cannot start; the message says what is missing and what to do."""


def decoder_of(registry: SchemaRegistry, topic: Topic, wait: bool) -> Callable[[], WireDecoder]:
    """Decoders that read as the topic's schema what was written with any compatible one."""
    return PerThread(lambda: WireDecoder(topic.schema, partial(schema_by_id, registry, wait)))


def schema_by_id(registry: SchemaRegistry, wait: bool, schema_id: int) -> str:
    """A writer's schema. While the registry is away: wait, or let the record go to errors."""
    while True:
        try:
            return registry.by_id(schema_id)
        except RegistryUnavailableError as error:
            if not wait:
                _logger.warning("schema id %d: %s; its records go to errors", schema_id, error)
                raise UnknownSchemaError(
                    f"schema id {schema_id} cannot be looked up: {error}"
                ) from error
            _logger.warning("schema id %d: %s; waiting", schema_id, error)
            time.sleep(_RETRY_S)


def encoder_of(registry: SchemaRegistry, topic: Topic, name: str) -> Callable[[], WireEncoder]:
    """The encoder of a topic that is called `name` here, under the id that `topics create`
    registered for its schema.

    Waits for a registry that is away. Raises StartError when the schema is not registered.
    """
    registered = _await(registry, topic, name)
    return PerThread(lambda: WireEncoder(topic.schema, registered.id))


def _await(registry: SchemaRegistry, topic: Topic, name: str) -> RegisteredSchema:
    """Our schema in whatever version it stands: a newer one of others does not stop this run."""
    subject = subject_of(name)
    while True:
        try:
            return registry.find(subject, topic.schema)
        except UnknownSchemaError as error:
            raise StartError(
                f"subject {subject!r} expected the schema of {topic.schema_place} among its "
                "versions, got none that is equal; run `streamrec topics create` to register it"
            ) from error
        except RegistryUnavailableError as error:
            _logger.warning("%s; trying again in %.0f s", error, _RETRY_S)
            time.sleep(_RETRY_S)
