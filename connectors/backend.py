"""Opens the log that the settings name."""

import logging

from streamrec.connectors.embedded.file import EmbeddedFile
from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.connectors.kafka.log import KafkaLog
from streamrec.connectors.log import Log, SchemaRegistry
from streamrec.connectors.log_settings import LogSettings
from streamrec.connectors.patience import Patience
from streamrec.connectors.registry import ConfluentRegistry

logger = logging.getLogger(__name__)

_PATIENCE = Patience()


def open_log(settings: LogSettings, patience: Patience = _PATIENCE, *, make: bool = True) -> Log:
    """The embedded log, or Kafka when KAFKA_BOOTSTRAP_SERVERS is set. Connects to nothing yet.
    `patience` is how long a broker that is away is waited for; without `make` an embedded log that
    is missing is refused, and not made.

    Raises LogError when an option is not one of librdkafka's.
    """
    if settings.backend == "kafka":
        return KafkaLog(
            settings.librdkafka(),
            lambda: _registry(settings),
            patience,
            settings.leases_topic,
        )
    registry = None if settings.schema_registry_url is None else lambda: _registry(settings)
    return EmbeddedLog(
        settings.embedded_log_path, settings.embedded_log_synchronous, registry, patience, make
    )


def require_log(settings: LogSettings) -> None:
    """Look for the embedded log if the settings name one, before anything else is done. Raises
    LogError."""
    if settings.backend == "embedded":
        EmbeddedFile(settings.embedded_log_path).require()


def _registry(settings: LogSettings) -> SchemaRegistry:
    url = settings.schema_registry_url
    if url is None:
        embedded = EmbeddedLog(settings.embedded_log_path, settings.embedded_log_synchronous)
        # Enough for a look at Kafka; others cannot resolve ids that stand in a local file.
        logger.warning(
            "SCHEMA_REGISTRY_URL is unset: schemas live in %s, which readers elsewhere cannot see",
            embedded.describe_target(),
        )
        return embedded.registry()
    user_info = settings.schema_registry_user_info
    return ConfluentRegistry(
        url,
        None if user_info is None else user_info.get_secret_value(),
        settings.schema_registry_ca_location,
    )
