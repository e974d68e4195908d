"""Where a benchmark runs: a log, the variables that lead a dataflow to it, and topics in it."""

import itertools
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Log, TopicSpec
from streamrec.connectors.making_topics import ensure_topics
from streamrec.dataflows.job.settings import load_settings
from streamrec.schemas import load

PARTITIONS = 8

_numbers = itertools.count()


@dataclass(frozen=True)
class Place:
    """A log of either back end. Topics that are made here share a prefix of this run."""

    log: Log
    environment: Mapping[str, str]
    folder: Path  # for logs of processes
    say: Callable[[str], None]
    prefix: str = field(default_factory=lambda: f"bench-{secrets.token_hex(3)}")

    @property
    def backend(self) -> str:
        return "kafka" if self.environment["KAFKA_BOOTSTRAP_SERVERS"] else "embedded"

    def make_topic(
        self,
        schema_name: str,
        configs: Mapping[str, str] | None = None,
        partitions: int = PARTITIONS,
        schema: str | None = None,
    ) -> str:
        """A new topic for records of a schema, which is registered for it; None: the one of that
        name in schemas/."""
        name = f"{self.prefix}-{schema_name}-{next(_numbers)}"
        spec = TopicSpec(name, partitions, configs=configs or {})
        ensure_topics(self.log, [spec], {name: schema or load(schema_name)})
        return name

    def delete_topics(self, *names: str) -> None:
        with closing(self.log.admin()) as admin:
            for name in names:
                admin.delete(name)

    def schema_id(self, topic: str) -> int:
        with closing(self.log.registry()) as registry:
            return registry.latest(f"{topic}-value").id

    def process_environment(self, **settings: object) -> dict[str, str]:
        """Variables for a dataflow's process: this place, then settings by their field names."""
        ours = {f"STREAMREC_{name.upper()}": str(value) for name, value in settings.items()}
        return {**os.environ, **self.environment, **ours}


def embedded_place(folder: Path, say: Callable[[str], None]) -> Place:
    path = folder / "log.sqlite"
    log = open_log(
        load_settings(
            kafka_bootstrap_servers=None, schema_registry_url=None, embedded_log_path=path
        )
    )
    # An empty variable counts as unset, whatever the caller has set.
    environment = {
        "EMBEDDED_LOG_PATH": str(path),
        "KAFKA_BOOTSTRAP_SERVERS": "",
        "SCHEMA_REGISTRY_URL": "",
    }
    return Place(log, environment, folder, say)


def kafka_place(
    bootstrap_servers: str, registry_url: str, folder: Path, say: Callable[[str], None]
) -> Place:
    settings = load_settings(
        kafka_bootstrap_servers=bootstrap_servers, schema_registry_url=registry_url
    )
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "SCHEMA_REGISTRY_URL": registry_url,
    }
    return Place(open_log(settings), environment, folder, say)
