"""Where the log and the registry are, from the environment, checked before anything connects."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from streamrec.connectors.registry_urls import registry_urls

_OPTION_PREFIX = "KAFKA_OPTION_"


def kafka_options_from(environ: Mapping[str, str]) -> dict[str, SecretStr]:
    """Every `KAFKA_OPTION_X_Y` variable as librdkafka's option `x.y`; values are secrets.

    >>> options = kafka_options_from({"KAFKA_OPTION_SASL_MECHANISM": "PLAIN", "HOME": "/"})
    >>> {name: value.get_secret_value() for name, value in options.items()}
    {'sasl.mechanism': 'PLAIN'}
    """
    return {
        name.removeprefix(_OPTION_PREFIX).lower().replace("_", "."): SecretStr(value)
        for name, value in environ.items()
        if name.startswith(_OPTION_PREFIX)
    }


def without_passwords(text: str) -> str:
    """Users put credentials into URLs, and messages show what they got.

    >>> without_passwords("expected a URL, got 'http://me:secret@host'")
    "expected a URL, got 'http://***@host'"
    """
    return re.sub(r"//[^/\s]*@", "//***@", text)


class LogSettings(BaseSettings):
    """Which log and which registry. Unset `KAFKA_BOOTSTRAP_SERVERS` means the embedded log."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, populate_by_name=True
    )

    kafka_bootstrap_servers: str | None = Field(
        None,
        validation_alias="KAFKA_BOOTSTRAP_SERVERS",
        description="Kafka's `host:port,...`; unset: the embedded log in EMBEDDED_LOG_PATH",
    )
    kafka_options: dict[str, SecretStr] = Field(
        default_factory=lambda: kafka_options_from(os.environ),
        validation_alias="KAFKA_OPTIONS",
        description="any librdkafka option: KAFKA_OPTION_SASL_MECHANISM=PLAIN sets sasl.mechanism",
    )
    leases_topic: str = Field(
        "streamrec-leases",
        validation_alias="STREAMREC_LEASES_TOPIC",
        description="Kafka: where running dataflows say that they are there; made by the "
        "first start",
    )
    embedded_log_path: Path = Field(
        Path("data/log.sqlite"),
        validation_alias="EMBEDDED_LOG_PATH",
        description="the embedded log: one SQLite file",
    )
    embedded_log_synchronous: Literal["normal", "full"] = Field(
        "normal",
        description="what flushed records survive: normal: a killed process; full: a power cut too",
    )
    schema_registry_url: str | None = Field(
        None,
        validation_alias="SCHEMA_REGISTRY_URL",
        description="a registry with the Confluent API; several, with commas, are tried in "
        "turn; unset: schemas live in the embedded log",
    )
    schema_registry_user_info: SecretStr | None = Field(
        None,
        validation_alias="SCHEMA_REGISTRY_USER_INFO",
        description="`user:password` for the registry, sent as HTTP basic authentication",
    )
    schema_registry_ca_location: Path | None = Field(
        None,
        validation_alias="SCHEMA_REGISTRY_CA_LOCATION",
        description="a PEM file of certificate authorities to trust for the registry",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kafka_options and self.kafka_bootstrap_servers is None:
            raise ValueError(
                "KAFKA_OPTION_* expected KAFKA_BOOTSTRAP_SERVERS beside it, got none; "
                "set KAFKA_BOOTSTRAP_SERVERS or unset the options"
            )
        for name in (
            "bootstrap.servers",
            "group.id",
            "enable.auto.commit",
            "enable.auto.offset.store",
            "auto.offset.reset",
            "enable.idempotence",
            "acks",
            "request.required.acks",
            "isolation.level",
            "allow.auto.create.topics",
            "transactional.id",
        ):
            if name in self.kafka_options:
                variable = _OPTION_PREFIX + name.upper().replace(".", "_")
                raise ValueError(
                    f"{variable} is set by streamrec itself and cannot be passed through"
                )
        if self.schema_registry_url is not None:
            try:
                registry_urls(self.schema_registry_url)
            except ValueError as error:
                raise ValueError(f"SCHEMA_REGISTRY_URL {error}") from None
        return self

    @property
    def backend(self) -> Literal["embedded", "kafka"]:
        return "embedded" if self.kafka_bootstrap_servers is None else "kafka"

    def librdkafka(self) -> dict[str, Any]:
        """The options in the clear, for the client only: never log or print the result."""
        assert self.kafka_bootstrap_servers is not None
        passed = {name: secret.get_secret_value() for name, secret in self.kafka_options.items()}
        return {"bootstrap.servers": self.kafka_bootstrap_servers, **passed}
