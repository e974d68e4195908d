"""The topics: one table of names, keys, value schemas and options. Everything else looks here.

Values are Avro in Confluent wire format under the subject `<topic>-value`. Partition counts are a
choice for good where a key's order matters: 8 lets up to 8 workers read.
"""

from dataclasses import dataclass, field, replace
from importlib.resources import files

from streamrec.connectors.log import TopicSpec
from streamrec.dataflows.job.settings import Settings

_DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of ours: its spec for the broker, its schema, and what its key is."""

    spec: TopicSpec
    schema_file: str  # in schemas/
    key_field: str | None  # field of the value that is the key (UTF-8); None: keyed otherwise
    key_doc: str = field(kw_only=True)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def subject(self) -> str:
        return subject_of(self.spec.name)

    def schema(self) -> str:
        """The value schema as JSON text."""
        return files("streamrec.schemas").joinpath(self.schema_file).read_text(encoding="utf-8")


def subject_of(topic: str) -> str:
    """The registry's subject of a topic's values (Confluent's TopicNameStrategy)."""
    return f"{topic}-value"


CLICKS = Topic(
    TopicSpec("clicks", partitions=8),
    "clicks.avsc",
    "user_id",
    key_doc="user_id, so that a user's clicks keep their order",
)
RECOMMENDATIONS = Topic(
    TopicSpec("recommendations", partitions=8),
    "recommendations.avsc",
    "user_id",
    key_doc="user_id",
)
SCORES = Topic(
    TopicSpec("scores", partitions=8),
    "scores.avsc",
    "user_id",
    key_doc="user_id",
)
ERRORS = Topic(
    # Two weeks: long enough to notice, mend and redrive; what it holds may be personal data.
    # Larger than a topic's usual limit, since it holds originals that filled theirs.
    TopicSpec(
        "errors",
        partitions=8,
        configs={"retention.ms": str(14 * _DAY_MS), "max.message.bytes": str(16 * 1024 * 1024)},
    ),
    "errors.avsc",
    None,
    key_doc="the key of the record that failed",
)
SESSIONS = Topic(
    TopicSpec("sessions", partitions=8, configs={"retention.ms": str(30 * _DAY_MS)}),
    "sessions.avsc",
    "writer",
    key_doc="the process that wrote it",
)
REDRIVES = Topic(
    # One partition, because the order of claims decides who redrives; kept longer than errors, so
    # that an error which can still be listed can still be told from one that was redriven.
    TopicSpec("errors-redrives", partitions=1, configs={"retention.ms": str(60 * _DAY_MS)}),
    "redrives.avsc",
    None,
    key_doc="topic/partition/offset of the record that failed",
)

TOPICS: dict[str, Topic] = {
    topic.name: topic for topic in (CLICKS, RECOMMENDATIONS, SCORES, ERRORS, SESSIONS, REDRIVES)
}


def redrives_topic(errors_topic: str) -> str:
    """Where it is written down which errors of a topic were redriven."""
    return f"{errors_topic}-redrives"


def topics_as_named(settings: Settings) -> dict[str, Topic]:
    """The table, with the names that the settings give."""
    named = (
        (CLICKS, settings.clicks_topic),
        (RECOMMENDATIONS, settings.recommendations_topic),
        (SCORES, settings.scores_topic),
        (ERRORS, settings.errors_topic),
        (SESSIONS, settings.sessions_topic),
        (REDRIVES, redrives_topic(settings.errors_topic)),
    )
    return {name: replace(topic, spec=replace(topic.spec, name=name)) for topic, name in named}
