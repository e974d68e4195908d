"""The topics: one table of names, keys, value schemas and options. Everything else looks here:
settings (`STREAMREC_CLICKS_TOPIC`), `topics create`, replay, the demo, and the printed topology.

Values are Avro in Confluent wire format under the subject `<topic>-value`; those of a topic whose
`format` says so are JSON or bytes, for which nothing is registered. Partition counts are a
choice for good where a key's order matters: 8 lets up to 8 workers read. A dataflow of one's own
declares its topics in the same way, in its own module.
"""

from collections.abc import Mapping
from typing import Any

from streamrec.connectors.log import Log
from streamrec.connectors.making_topics import TopicsReport, ensure_topics
from streamrec.dataflows.errors.redrive import redrives_topic
from streamrec.dataflows.job.topic import ERRORS_SCHEMA
from streamrec.dataflows.job.topic import Format as Format
from streamrec.dataflows.job.topic import Topic as Topic

_DAY_MS = 24 * 60 * 60 * 1000
_PLACE = ("source_partition", "source_offset", "source_topic")

# Of a table that is read with `job.table(..., timed=True)`: for a day, a tick that is read again
# finds the versions that it had.
TABLE_CONFIGS = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(_DAY_MS)}

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
    answers=_PLACE,
)
ERRORS = Topic(
    "errors",
    ERRORS_SCHEMA,
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
IMPRESSIONS = Topic(
    "impressions",
    "impressions.avsc",
    "recommendation_id",
    key_doc="recommendation_id, by which they are joined with outcomes",
    doc="where is told what of a recommendation was shown",
)
OUTCOMES = Topic(
    "outcomes",
    "outcomes.avsc",
    "recommendation_id",
    key_doc="recommendation_id, by which they are joined with impressions",
    doc="where is told what came of a recommendation",
)
RANKER_INPUTS = Topic(
    "ranker-inputs",
    "ranker_inputs.avsc",
    "user_id",
    doc="where the main job logs what its ranker saw, for a share of answers",
    answers=_PLACE,
)
TRAINING_EXAMPLES = Topic(
    "training-examples",
    "training_examples.avsc",
    "request_id",
    key_doc="request_id: the recommendation, or the request that a model answered",
    doc="where dataflows.labels writes what models saw, said, and what came of it",
    answers=(*_PLACE, "dataflow", "kind", "number"),
)
TRAINING_RUNS = Topic(
    # One partition: they are done in their order.
    "training-runs",
    "training_runs.avsc",
    "pipeline",
    key_doc="pipeline: whose model it is",
    doc="where dataflows.trainer writes when a model is to be made, and from what",
    partitions=1,
    answers=(*_PLACE, "dataflow", "kind", "number"),
    configs={"retention.ms": str(90 * _DAY_MS)},
)
MODELS = Topic(
    # One partition: what is said of a model has an order.
    "models",
    "published_models.avsc",
    "id",
    key_doc="id: NAME/VERSION, NAME/VERSION/PART or NAME@ALIAS",
    doc="where models are published",
    partitions=1,
    configs={**TABLE_CONFIGS, "max.message.bytes": str(2 * 1024 * 1024)},
)
MODEL_EVENTS = Topic(
    # Never cut: it says which version answers from which offset on.
    "model-events",
    "model_events.avsc",
    "model",
    key_doc="model: its name",
    doc="where is told what became of models that were published",
    partitions=1,
    configs={"retention.ms": "-1"},
)
METRICS = Topic(
    "metrics",
    "metrics.avsc",
    "model",
    key_doc="model: its name",
    doc="where dataflows.evaluation writes how well models do",
    partitions=1,
    answers=(*_PLACE, "dataflow", "kind", "number"),
    configs={"retention.ms": str(90 * _DAY_MS)},
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

TOPICS = (
    CLICKS,
    RECOMMENDATIONS,
    ERRORS,
    SESSIONS,
    SCORES,
    IMPRESSIONS,
    OUTCOMES,
    RANKER_INPUTS,
    TRAINING_EXAMPLES,
    TRAINING_RUNS,
    MODELS,
    MODEL_EVENTS,
    METRICS,
    TICKS,
    REDRIVES,
)


def errors_topic(name: str, **options: Any) -> Topic:
    """A topic for records that failed, beside `errors`: for `Job.write_errors(topic=...)`.

    It is as `errors` is but for `options` of `Topic`, and is called `name`, whatever the settings
    say. Which of its errors were redriven is written to the topic `redrives_of(it)`.
    """
    given = {
        "key_doc": ERRORS.key_doc,
        "answers": ERRORS.answers,
        "configs": ERRORS.configs,
        "named_by_setting": False,
        **options,
    }
    return Topic(name, ERRORS_SCHEMA, **given)


def redrives_of(errors: Topic) -> Topic:
    """The topic of redrives that goes with a topic of errors."""
    if errors is ERRORS:
        return REDRIVES
    return Topic(
        redrives_topic(errors.name),
        REDRIVES.schema_file,
        key_doc=REDRIVES.key_doc,
        partitions=1,
        configs=REDRIVES.configs,
        beside=errors,
    )


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
