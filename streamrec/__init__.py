"""Live recommendations from a clickstream, and the language in which its dataflows are written.

These names are the public face; everything else may change from one version to the next. Each is
imported when it is used first, so that `import streamrec` costs nothing.

*A dataflow of one's own* (docs/your-own-dataflow.md): `open_job`, `Job`, `PaperJob`, `batch_of`,
`Topic`, `each_batch`, `by_shard`, `split`, `Parts`, `Kept`, `ByKey`, `Records`, `Reason`, `Failed`;
the topics `CLICKS`, `RECOMMENDATIONS`, `SCORES`, `SESSIONS`, `ERRORS`, and others like the last
(`errors_topic`); the steps `decode_clicks`, `count_once` and `user_features` with `declared`, what
they emit (`Click`, `Clicks`, `ShardClicks`), and columns (`Numbers`, `Bytes`, `Lists`, `strings`,
`constant`); for records of any topic `decode_records`, what it emits (`RecordBatch`,
`ShardRecords`), and what is valid, as data (`Rule`, `TextLength`, `Between`, `OneOf`,
`EventTime`); over several inputs with timers (docs/timed-dataflow.md) `InEventTime`, `TimedRows`,
what they are given (`TimedRecord`, `Timer`) and say (`Output`, `outputs_of`), the options of a
topic that is a table (`TABLE_CONFIGS`), and for tests `Tick`; for what answers slowly
(docs/answering-later.md) `answer_later` and `Allowance`; state in arrays: `KeyedRows`,
`KeyedTable`, `KeyedLists`, `Seen`, by `hash128` of a key.

*A model of one's own* (docs/your-own-model.md): `Recommender`, `Sessions`, `Ranking`, `ModelInfo`,
`check_recommender`.

*Any model on a stream*: `model` makes a function one, `load_predictor` loads what a name stands for
and `check_predictor` checks it; `Metadata`, `Raw`, `Fault`.

*What the environment says*: `Settings`, `load_settings`, `SettingsError`, `StartError`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamrec.connectors.allowance import Allowance
    from streamrec.connectors.ticks.tick import Tick
    from streamrec.dataflows.errors.failed import Failed
    from streamrec.dataflows.job.by_key import ByKey
    from streamrec.dataflows.job.encoding import Records
    from streamrec.dataflows.job.job import Job
    from streamrec.dataflows.job.kept import Kept
    from streamrec.dataflows.job.opening import open_job
    from streamrec.dataflows.job.paper import PaperJob, batch_of
    from streamrec.dataflows.job.parts import Parts, answer_later, by_shard, each_batch, split
    from streamrec.dataflows.job.settings import Settings, SettingsError, load_settings
    from streamrec.dataflows.job.start_error import StartError
    from streamrec.dataflows.job.topics import (
        CLICKS,
        ERRORS,
        RECOMMENDATIONS,
        SCORES,
        SESSIONS,
        TABLE_CONFIGS,
        Topic,
        errors_topic,
    )
    from streamrec.dataflows.steps.batches import Click, Clicks, ShardClicks
    from streamrec.dataflows.steps.count_once import count_once
    from streamrec.dataflows.steps.decode import decode_clicks
    from streamrec.dataflows.steps.decode_records import decode_records
    from streamrec.dataflows.steps.held import Output, TimedRecord, Timer
    from streamrec.dataflows.steps.in_time import InEventTime
    from streamrec.dataflows.steps.outputs import outputs_of
    from streamrec.dataflows.steps.records import RecordBatch, ShardRecords
    from streamrec.dataflows.steps.rules import Between, EventTime, OneOf, Rule, TextLength
    from streamrec.dataflows.steps.timed_rows import TimedRows
    from streamrec.dataflows.steps.user_features import user_features
    from streamrec.models.checks import check_recommender
    from streamrec.models.contract import ModelInfo, Ranking, Recommender, Sessions
    from streamrec.models.keyed.lists import KeyedLists
    from streamrec.models.keyed.rows import KeyedRows
    from streamrec.models.keyed.seen import Seen
    from streamrec.models.keyed.table import KeyedTable
    from streamrec.models.serving.checks import check_predictor
    from streamrec.models.serving.contract import Fault, Metadata, Raw
    from streamrec.models.serving.functions import model
    from streamrec.models.serving.loading import load_predictor
    from streamrec.models.users.features import declared
    from streamrec.schemas.columns import Bytes, Lists, Numbers, constant, strings
    from streamrec.schemas.hashing import hash128
    from streamrec.schemas.reasons import Reason

_MODULE_OF = {
    name: module
    for module, names in {
        "connectors.allowance": "Allowance",
        "connectors.ticks.tick": "Tick",
        "dataflows.errors.failed": "Failed",
        "dataflows.job.by_key": "ByKey",
        "dataflows.job.encoding": "Records",
        "dataflows.job.job": "Job",
        "dataflows.job.kept": "Kept",
        "dataflows.job.opening": "open_job",
        "dataflows.job.paper": "PaperJob batch_of",
        "dataflows.job.parts": "Parts answer_later by_shard each_batch split",
        "dataflows.job.settings": "Settings SettingsError load_settings",
        "dataflows.job.start_error": "StartError",
        "dataflows.job.topics": "CLICKS ERRORS RECOMMENDATIONS SCORES SESSIONS TABLE_CONFIGS Topic "
        "errors_topic",
        "dataflows.steps.batches": "Click Clicks ShardClicks",
        "dataflows.steps.count_once": "count_once",
        "dataflows.steps.decode": "decode_clicks",
        "dataflows.steps.decode_records": "decode_records",
        "dataflows.steps.held": "Output TimedRecord Timer",
        "dataflows.steps.in_time": "InEventTime",
        "dataflows.steps.outputs": "outputs_of",
        "dataflows.steps.records": "RecordBatch ShardRecords",
        "dataflows.steps.rules": "Between EventTime OneOf Rule TextLength",
        "dataflows.steps.timed_rows": "TimedRows",
        "dataflows.steps.user_features": "user_features",
        "models.checks": "check_recommender",
        "models.contract": "ModelInfo Ranking Recommender Sessions",
        "models.keyed.lists": "KeyedLists",
        "models.keyed.rows": "KeyedRows",
        "models.keyed.seen": "Seen",
        "models.keyed.table": "KeyedTable",
        "models.serving.checks": "check_predictor",
        "models.serving.contract": "Fault Metadata Raw",
        "models.serving.functions": "model",
        "models.serving.loading": "load_predictor",
        "models.users.features": "declared",
        "schemas.hashing": "hash128",
        "schemas.columns": "Bytes Lists Numbers constant strings",
        "schemas.reasons": "Reason",
    }.items()
    for name in names.split()
}

__all__ = [
    "CLICKS",
    "ERRORS",
    "RECOMMENDATIONS",
    "SCORES",
    "SESSIONS",
    "TABLE_CONFIGS",
    "Allowance",
    "Between",
    "ByKey",
    "Bytes",
    "Click",
    "Clicks",
    "EventTime",
    "Failed",
    "Fault",
    "InEventTime",
    "Job",
    "Kept",
    "KeyedLists",
    "KeyedRows",
    "KeyedTable",
    "Lists",
    "Metadata",
    "ModelInfo",
    "Numbers",
    "OneOf",
    "Output",
    "PaperJob",
    "Parts",
    "Ranking",
    "Raw",
    "Reason",
    "Recommender",
    "RecordBatch",
    "Records",
    "Rule",
    "Seen",
    "Sessions",
    "Settings",
    "SettingsError",
    "ShardClicks",
    "ShardRecords",
    "StartError",
    "TextLength",
    "Tick",
    "TimedRecord",
    "TimedRows",
    "Timer",
    "Topic",
    "answer_later",
    "batch_of",
    "by_shard",
    "check_predictor",
    "check_recommender",
    "constant",
    "count_once",
    "declared",
    "decode_clicks",
    "decode_records",
    "each_batch",
    "errors_topic",
    "hash128",
    "load_predictor",
    "load_settings",
    "model",
    "open_job",
    "outputs_of",
    "split",
    "strings",
    "user_features",
]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'streamrec' has no attribute {name!r}")
    found = getattr(import_module(f"streamrec.{module}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
