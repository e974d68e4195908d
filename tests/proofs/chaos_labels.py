"""The proof of labels: every example and every error against those of a plain program."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.place import PARTITIONS, Place
from streamrec.dataflows.job.paper import PaperJob
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.job.topics import ERRORS, TICKS, TRAINING_EXAMPLES, Topic, make_all
from streamrec.dataflows.labels import FLOW_ID
from streamrec.dataflows.learning.labelling import labelling
from tests.proofs.chaos_check import ChaosVerdict, compare, decoder, read_topic
from tests.proofs.join_plain import Decode, ticks_of
from tests.proofs.labels_feed import (
    HORIZON_S,
    INPUTS,
    OUTPUTS,
    PIPELINE,
    ROWS,
    WINDOW_S,
    Placed,
    fact_of,
)
from tests.proofs.labels_plain import Fact, Rules, plain_labels

MODULE = "dataflows.labels"
LATE_MS = 2_000
SHARDS = 8
WEIGHTS = {"click": 1.0, "cart": 3.0, "purchase": 10.0}
_TICK_S, _TICK_MESSAGES = 0.2, 2_000
_FIELDS = ("request_id", "label", "outcome", "weight", "delay_ms", "served_at", "labelled_at")
_LIST = """
prefix = "{prefix}"
[[models]]
model = "tests.dataflows.serving.served_models:Twice"
"""
_PLAN = """
[[models]]
pipeline = "{pipeline}"
[models.labels]
window_s = {window_s}
horizon_s = {horizon_s}
late_ms = {late_ms}
default = 0
"""


@dataclass(frozen=True)
class LabelTopics:
    """What one run reads and writes, and its files."""

    models: Path
    learning: Path
    names: Mapping[int, str]  # of inputs, by number
    examples: str
    errors: str
    ticks: str

    @classmethod
    def make(cls, place: Place) -> "LabelTopics":
        models, learning = place.folder / "models.toml", place.folder / "learning.toml"
        models.write_text(_LIST.format(prefix=place.prefix))
        given = {"window_s": WINDOW_S, "horizon_s": HORIZON_S, "late_ms": LATE_MS}
        pipelines = (PIPELINE, "recommender")
        learning.write_text("".join(_PLAN.format(pipeline=each, **given) for each in pipelines))
        settings = load_settings(models=str(models), learning=str(learning))
        rows = [topic for topic, _ in labelling(PaperJob(FLOW_ID, settings=settings)).topics]
        own, shared = rows[: OUTPUTS + 1], rows[OUTPUTS + 1 :]
        make_all(place.log, {row.name: row for row in own})
        assert [row.name for row in shared] == [*ROWS[OUTPUTS + 1 :]]

        def made(row: Topic) -> str:
            return place.make_topic(row.name, partitions=row.partitions, schema=row.schema)

        names = [*(row.name for row in own), *map(made, shared)]
        return cls(
            models,
            learning,
            dict(enumerate(names, INPUTS)),
            *map(made, (TRAINING_EXAMPLES, ERRORS, TICKS)),
        )

    def settings(self) -> dict[str, str]:
        rows = {
            **{f"{ROWS[n].replace('-', '_')}_topic": self.names[n] for n in range(2, len(ROWS))},
            "training_examples_topic": self.examples,
            "errors_topic": self.errors,
            "ticks_topic": self.ticks,
        }
        return {
            **rows,
            "models": str(self.models),
            "learning": str(self.learning),
            "tick_s": str(_TICK_S),
            "tick_messages": str(_TICK_MESSAGES),
        }


class LabelVerdict(NamedTuple):
    """What came of the inputs, and how many outputs and errors of each kind there had to be."""

    verdict: ChaosVerdict
    kinds: Counter[str]


def judge_labels(
    place: Place, topics: LabelTopics, records: list[Placed], committed_only: bool
) -> LabelVerdict:
    """Everything that came out, against what must."""
    facts = _facts(place, topics, records)
    with ExitStack() as stack:

        def reads(topic: str, row: Topic) -> Decode:
            return stack.enter_context(decoder(place, topic, row.schema))

        ticks = read_topic(place, topics.ticks, committed_only=False)
        made = list(ticks_of(ticks, reads(topics.ticks, TICKS)))
        window_ms, horizon_ms = WINDOW_S * 1_000, HORIZON_S * 1_000
        rules = Rules(window_ms, horizon_ms, LATE_MS, at_once=True, default=0.0, weights=WEIGHTS)
        wanted = plain_labels(facts, made, SHARDS, rules, rules)
        verdict = ChaosVerdict(len(records), 0, 0)
        examples = _examples(
            place, topics, reads(topics.examples, TRAINING_EXAMPLES), committed_only
        )
        verdict.outputs = compare(verdict, wanted.examples, examples)
        errors = _errors(place, topics, reads(topics.errors, ERRORS), committed_only)
        verdict.errors = compare(verdict, wanted.errors, errors)
    return LabelVerdict(verdict, wanted.kinds)


def _facts(
    place: Place, topics: LabelTopics, records: list[Placed]
) -> dict[tuple[int, int], list[Fact]]:
    """What the topics hold, which must be what was fed."""
    held = {
        (topic, message.partition, message.offset): (message.key, message.timestamp_ms)
        for topic in topics.names.values()
        for message in read_topic(place, topic, committed_only=False)
    }
    assert len(held) == len(records), f"{len(held)} records of {len(records)}"
    facts: dict[tuple[int, int], list[Fact]] = {
        (number, p): [] for number in topics.names for p in range(PARTITIONS)
    }
    for record in records:
        key, time_ms = held[record.topic, record.partition, record.offset]
        assert (key, time_ms) == (record.fed.key.encode(), record.fed.time_ms), record
        facts[record.fed.topic, record.partition].append(fact_of(record))
    return facts


def _examples(
    place: Place, topics: LabelTopics, decode: Decode, committed_only: bool
) -> Iterator[tuple[Any, Any]]:
    """What each record of training-examples is, and what it holds."""
    for message in read_topic(place, topics.examples, committed_only):
        assert message.value is not None
        found = decode(message.value)
        source = (found[f"source_{name}"] for name in ("topic", "partition", "offset"))
        fields = {name: found[name] for name in _FIELDS}
        for name in ("served_at", "labelled_at"):
            fields[name] = round(fields[name].timestamp() * 1_000)
        names = ("features", "items") if found["answer"] is None else ("inputs", "answer")
        fields |= {name: found[name] for name in names}
        assert message.key == found["request_id"].encode()
        yield (*source, found["number"]), fields


def _errors(
    place: Place, topics: LabelTopics, decode: Decode, committed_only: bool
) -> Iterator[tuple[Any, Any]]:
    for message in read_topic(place, topics.errors, committed_only):
        assert message.value is not None
        found = decode(message.value)
        assert found["value"] is not None
        yield (found["topic"], found["partition"], found["offset"]), found["reason"]
