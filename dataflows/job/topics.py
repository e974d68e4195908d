"""The topics: one table of names, keys, value schemas and options. Everything else looks here:
settings (`STREAMREC_CLICKS_TOPIC`), `topics create`, replay, the demo, and the printed topology.

Values are Avro in Confluent wire format under the subject `<topic>-value`; those of a topic whose
`format` says so are JSON or bytes, for which nothing is registered. Partition counts are a
choice for good where a key's order matters: 8 lets up to 8 workers read. A dataflow of one's own
declares its topics in the same way, in its own module.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Literal

from streamrec.connectors.log import Log, TopicSpec
from streamrec.connectors.making_topics import TopicsReport, ensure_topics
from streamrec.dataflows.job.start_error import StartError
from streamrec.schemas.columns import VALUE

_DAY_MS = 24 * 60 * 60 * 1000

# Of a table that is read with `job.table(..., timed=True)`: for a day, a tick that is read again
# finds the versions that it had.
TABLE_CONFIGS = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(_DAY_MS)}

Format = Literal["avro", "json", "bytes"]
_FORMATS = ("avro", "json", "bytes")


@dataclass(frozen=True, eq=False)  # a row is itself, whatever it holds
class Topic:
    """A topic: what its records mean, how they are keyed, and whether a restart reads them back.

    Raises StartError for an Avro topic without a schema, and for another with one.
    """

    name: str  # by default; a setting may name it otherwise
    # A name in schemas/, or the path of an .avsc file; None: the format has no schema.
    schema_file: str | Path | None = None
    # Field of the value that is the key (UTF-8); of bytes, the column that is; None: keyed so:
    key_field: str | None = None
    key_doc: str = ""
    doc: str = ""  # what the setting of its name says
    # Fields of the value that say partition and offset of the input that a record answers and, if
    # there, its topic, the dataflow that answers, and of an input that has several outputs the kind
    # and the number of this one: what a resumed sink reads back. None: records may repeat after a
    # crash.
    answers: tuple[str, ...] | None = None
    partitions: int = 8
    configs: Mapping[str, str] = field(default_factory=dict)
    beside: "Topic | None" = None  # named after this one, which its own name begins with
    format: Format = "avro"

    def __post_init__(self) -> None:
        where = f"topic {self.name!r}"
        if self.format not in _FORMATS:
            raise StartError(
                f"{where}: format expected {', '.join(_FORMATS[:-1])} or {_FORMATS[-1]}, "
                f"got {self.format!r}"
            )
        if self.format == "avro" and self.schema_file is None:
            raise StartError(f"{where} expected a schema_file, or format json or bytes, got none")
        if self.format != "avro" and self.schema_file is not None:
            raise StartError(
                f"{where} expected no schema_file beside format {self.format}, "
                f"got {str(self.schema_file)!r}"
            )

    @cached_property
    def setting(self) -> str | None:
        """The setting that names it; None: it is named after another."""
        return None if self.beside else f"{re.sub('[^a-z0-9]', '_', self.name.lower())}_topic"

    @property
    def schema_place(self) -> str:
        """Where the schema stands, or what stands in for one, for a reader."""
        if self.schema_file is None:
            return {"json": "JSON", "bytes": "bytes"}[self.format]
        return (
            f"schemas/{self.schema_file}"
            if isinstance(self.schema_file, str)
            else (self.schema_file.name)
        )

    @cached_property
    def schema(self) -> str:
        """The value schema as JSON text. Raises StartError."""
        path = self.schema_file
        if path is None:
            raise StartError(f"topic {self.name!r} expected a schema, got format {self.format}")
        try:
            if isinstance(path, str):
                return files("streamrec.schemas").joinpath(path).read_text(encoding="utf-8")
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StartError(
                f"topic {self.name!r} expected its schema in {path}, got {error}"
            ) from error

    def checked(self) -> "Topic":
        """This row, as one that is written by key. Raises StartError where it cannot be: the key
        is no string of the schema, or `answers` are not its fields."""
        where = f"topic {self.name!r}"
        if self.format != "avro":
            return self._checked_without_schema()
        if self.key_field is None:
            raise StartError(f"{where} expected a key_field to be written by, got none")
        try:
            schema = json.loads(self.schema)
            types = {each["name"]: each["type"] for each in schema["fields"]}
        except (ValueError, KeyError, TypeError) as error:
            raise StartError(
                f"{where} expected an Avro record in {self.schema_place}, got {error!r}"
            ) from error
        expected: list[tuple[str, str, tuple[str, ...]]] = [
            ("key_field", self.key_field, ("string",))
        ]
        answers = self.answers
        if answers is not None:
            kinds = [("int", "long")] * 2 + [("string",)] * 3 + [("int", "long")]
            if not 2 <= len(answers) <= len(kinds):
                raise StartError(
                    f"{where} expected two to six answers (partition and offset, then topic of the "
                    f"input, dataflow, kind and number), got {answers!r}"
                )
            expected += [("answers", *each) for each in zip(answers, kinds, strict=False)]
        for what, name, kinds_of in expected:
            kind = types.get(name)
            kind = kind.get("type") if isinstance(kind, dict) else kind
            if kind not in kinds_of:
                raise StartError(
                    f"{where}: {what} {name!r} expected a field of type {' or '.join(kinds_of)} in "
                    f"{self.schema_place}, got {'no such field' if kind is None else repr(kind)}"
                )
        return self

    def _checked_without_schema(self) -> "Topic":
        where = f"topic {self.name!r}"
        if self.answers is not None:
            raise StartError(
                f"{where} expected no answers, which are fields of a schema, beside format "
                f"{self.format}, got {self.answers!r}"
            )
        if self.key_field == VALUE:
            raise StartError(f"{where}: key_field expected another name than the column {VALUE!r}")
        return self

    @property
    def key_column(self) -> str:
        """The column that is the key of what is written. Of a topic without a schema it stands
        beside the value, and is called `key` where the row does not name it."""
        return self.key_field or "key"

    def spec(self, name: str | None = None) -> TopicSpec:
        """As the broker makes it, under the name that the settings give."""
        return TopicSpec(name or self.name, partitions=self.partitions, configs=dict(self.configs))


CLICKS = Topic(
    "clicks",
    "clicks.avsc",
    "user_id",
    key_doc="user_id, so that a user's clicks keep their order",
    doc="where clicks are read",
)
RECOMMENDATIONS = Topic(
    "recommendations",
    "recommendations.avsc",
    "user_id",
    doc="where recommendations go",
    answers=("source_partition", "source_offset", "source_topic"),
)
ERRORS = Topic(
    "errors",
    "errors.avsc",
    key_doc="the key of the record that failed",
    doc="where records that failed go",
    answers=("partition", "offset", "topic", "dataflow", "output_kind", "output_number"),
    # Two weeks: long enough to notice, mend and redrive; what it holds may be personal data.
    # Larger than a topic's usual limit, since it holds originals that filled theirs.
    configs={"retention.ms": str(14 * _DAY_MS), "max.message.bytes": str(16 * 1024 * 1024)},
)
SESSIONS = Topic(
    "sessions",
    "sessions.avsc",
    "writer",
    key_doc="the process that wrote it",
    doc="what processes tell each other for their session indexes",
    configs={"retention.ms": str(30 * _DAY_MS)},
)
SCORES = Topic(
    "scores",
    "scores.avsc",
    "user_id",
    doc="where dataflows.scoring writes",
    answers=("source_partition", "source_offset"),  # scores answer one topic only
)
TICKS = Topic(
    # One partition, since their order is what they are for; kept as long as what they cut.
    "ticks",
    "ticks.avsc",
    key_doc="none",
    doc="where dataflows with timers write how far their inputs had come",
    partitions=1,
    configs={"retention.ms": str(30 * _DAY_MS)},
)
REDRIVES = Topic(
    # One partition, because the order of claims decides who redrives; kept longer than errors, so
    # that an error which can still be listed can still be told from one that was redriven.
    "errors-redrives",
    "redrives.avsc",
    key_doc="topic/partition/offset of the record that failed",
    partitions=1,
    configs={"retention.ms": str(60 * _DAY_MS)},
    beside=ERRORS,
)

TOPICS = (CLICKS, RECOMMENDATIONS, ERRORS, SESSIONS, SCORES, TICKS, REDRIVES)


def topic_named(name: str) -> Topic | None:
    """The row of a topic by its own name; None: it is none of ours."""
    return next((topic for topic in TOPICS if topic.name == name), None)


def make_all(log: Log, topics: Mapping[str, Topic]) -> TopicsReport:
    """Make topics under these names and register their schemas; what exists stays."""
    specs = [topic.spec(name) for name, topic in topics.items()]
    return ensure_topics(log, specs, schemas_of(topics))


def schemas_of(topics: Mapping[str, Topic]) -> dict[str, str]:
    """The schemas of topics by name, of those that have one."""
    return {name: topic.schema for name, topic in topics.items() if topic.format == "avro"}
