"""A topic of the embedded log as its writer needs it: partitions and the options it honours."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from streamrec.connectors.embedded.file import unknown_topic
from streamrec.connectors.log import LogError, TooLargeError, WriteError

# Kafka's default for max.message.bytes.
_MAX_MESSAGE_BYTES = 1_048_588

_HONOURED = (
    "cleanup.policy",
    "max.message.bytes",
    "min.compaction.lag.ms",
    "retention.bytes",
    "retention.ms",
)

# Options of a Kafka topic that change nothing here: one spec serves both back ends. Others are
# refused, since a misspelt `retention.ms` would otherwise keep everything for ever.
_WITHOUT_EFFECT = (
    "compression.type",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "index.interval.bytes",
    "max.compaction.lag.ms",
    "message.timestamp.type",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "min.cleanable.dirty.ratio",
    "min.insync.replicas",
    "preallocate",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
)


@dataclass(frozen=True, slots=True)
class TopicRules:
    where: str
    name: str
    ids: Mapping[int, int]  # by partition
    retention_ms: int | None  # None: kept for ever
    retention_bytes: int | None  # a partition; None: no bound
    max_message_bytes: int
    compact: bool
    compaction_lag_ms: int

    def check(self, partition: int, size: int) -> None:
        """Raises WriteError for a partition that does not exist and for a message too large."""
        if partition not in self.ids:
            raise WriteError(
                f"{self.where}: expected partition 0 to {len(self.ids) - 1} of topic "
                f"{self.name!r}, got {partition}"
            )
        if size > self.max_message_bytes:
            raise TooLargeError(
                f"{self.where}: topic {self.name!r}, partition {partition}: expected a message of "
                f"at most {self.max_message_bytes} bytes, got {size}; raise the topic's "
                "max.message.bytes, or send less"
            )


def load_topic(db: sqlite3.Connection, where: str, topic: str) -> TopicRules:
    """Raises UnknownTopicError."""
    found = db.execute("SELECT id, configs FROM topics WHERE name = ?", (topic,)).fetchone()
    if found is None:
        raise unknown_topic(where, topic)
    topic_id, text = found
    ids = dict(
        db.execute(
            "SELECT partition, id FROM partitions WHERE topic_id = ? ORDER BY partition",
            (topic_id,),
        ).fetchall()
    )
    configs: dict[str, str] = json.loads(text)
    return TopicRules(
        where,
        topic,
        ids,
        # A compacted topic keeps the newest record of each key whatever its age.
        _limit(configs, "retention.ms") if _has_policy(configs, "delete") else None,
        _limit(configs, "retention.bytes") if _has_policy(configs, "delete") else None,
        int(configs.get("max.message.bytes", _MAX_MESSAGE_BYTES)),
        _has_policy(configs, "compact"),
        max(0, int(configs.get("min.compaction.lag.ms", "0"))),
    )


def check_configs(where: str, topic: str, configs: Mapping[str, str]) -> None:
    """Raises LogError for an option that no Kafka topic has, or a value that makes no sense."""
    at = f"{where}: topic {topic!r}"
    for name, value in configs.items():
        if name not in _HONOURED and name not in _WITHOUT_EFFECT:
            raise LogError(
                f"{at}: expected an option of a Kafka topic, got {name!r}; the embedded log "
                f"honours {', '.join(_HONOURED)}"
            )
        if name == "cleanup.policy":
            policies = set(value.replace(" ", "").split(","))
            if not policies or policies - {"delete", "compact"}:
                raise LogError(
                    f"{at}: cleanup.policy expected delete, compact or both, got {value!r}"
                )
        elif name in _HONOURED:
            try:
                number = int(value)
            except ValueError as error:
                raise LogError(f"{at}: {name} expected an integer, got {value!r}") from error
            if number < (0 if name == "max.message.bytes" else -1):
                raise LogError(f"{at}: {name} expected -1 (no bound) or more, got {value!r}")


def _limit(configs: Mapping[str, str], name: str) -> int | None:
    limit = int(configs.get(name, "-1"))
    return None if limit < 0 else limit


def _has_policy(configs: Mapping[str, str], policy: str) -> bool:
    return policy in configs.get("cleanup.policy", "delete").replace(" ", "").split(",")
