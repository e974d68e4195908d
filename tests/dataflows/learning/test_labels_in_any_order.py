"""Labels are what a plain program says that sees everything, however records and ticks are read."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from streamrec import PaperJob, batch_of
from streamrec.connectors.batch_part import part
from streamrec.connectors.log import RawBatch
from streamrec.connectors.ticks.tick import LaneTick
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.job.topics import Topic
from streamrec.dataflows.labels import FLOW_ID, build_flow
from streamrec.dataflows.learning.examples import Example
from streamrec.dataflows.learning.labelling import Labelling, labelling
from streamrec.dataflows.steps.records import ShardRecords, ShardTicks
from tests.proofs.join_plain import PlainTick
from tests.proofs.labels_feed import HORIZON_S, ROWS, WINDOW_S, Placed, fact_of, placed
from tests.proofs.labels_plain import Fact, Rules, Said, plain_labels

SHARDS = 2
EVENTS = 120
TURNS = 4
LATE_MS = 2_000
CLICK_BYTES = 250  # as it counts while it is looked at
WEIGHTS = {"click": 1.0, "cart": 3.0, "purchase": 10.0}
KINDS = {
    *("answer bought ", "answer returned ", "answer bought late"),
    *("recommendation None ", "recommendation click ", "recommendation purchase late"),
    *("too_late", "repeated"),
}
MODELS = '[[models]]\nmodel = "tests.dataflows.serving.served_models:Twice"\n'
PLANS = {
    "at once, of what was shown": {
        "default": "0.0",
        "positive": '"at_once"',
        "shown": '"impressions"',
        "credit": '"last"',
    },
    "at the end, of what was shown first": {
        "positive": '"window"',
        "shown": '"impressions"',
        "credit": '"first"',
    },
    "at once, of what was served": {
        "default": "0.5",
        "positive": '"at_once"',
        "shown": '"served"',
        "credit": '"last"',
    },
}


def write_plan(folder: Path, keys: dict[str, str]) -> dict[str, str]:
    """The learning file and the list of models; returns the settings."""
    text = ""
    keys = {"window_s": str(WINDOW_S), "horizon_s": str(HORIZON_S), **keys}
    for pipeline in ("twice", "recommender"):
        text += f'[[models]]\npipeline = "{pipeline}"\n[models.labels]\nlate_ms = {LATE_MS}\n'
        text += "".join(f"{name} = {value}\n" for name, value in keys.items())
    (folder / "learning.toml").write_text(text)
    (folder / "models.toml").write_text(MODELS)
    return {"learning": str(folder / "learning.toml"), "models": str(folder / "models.toml")}


def rules_of(keys: dict[str, str]) -> Rules:
    """The same for the plain program."""
    return Rules(
        WINDOW_S * 1_000,
        HORIZON_S * 1_000,
        LATE_MS,
        at_once=keys["positive"] == '"at_once"',
        default=float(keys["default"]) if "default" in keys else None,
        by_impressions=keys["shown"] == '"impressions"',
        weights=WEIGHTS,
        last=keys["credit"] == '"last"',
    )


@pytest.mark.parametrize("name", PLANS)
def test_labels_do_not_depend_on_how_records_are_read_nor_on_stops(
    name: str, tmp_path: Path
) -> None:
    keys = PLANS[name]
    seed = random.SystemRandom().randrange(1_000_000)
    settings = load_settings(
        **write_plan(tmp_path, keys),
        lanes=SHARDS,
        shards=SHARDS,
    )
    job = PaperJob(FLOW_ID, settings=settings)
    build_flow(job)
    load = Load(job, seed)
    rules = rules_of(keys)
    wanted = plain_labels(load.facts, load.ticks, SHARDS, rules, rules)
    assert set(wanted.kinds) >= KINDS, f"seed {seed}: {KINDS - set(wanted.kinds)}"
    for turn in range(TURNS):
        said = load.read_in_any_way(random.Random(f"{seed}-{turn}"))
        told = f"seed {seed}, turn {turn}"
        assert said.errors == wanted.errors, told
        assert said.examples.keys() == wanted.examples.keys(), told
        for each, fields in wanted.examples.items():
            assert said.examples[each] == fields, f"{told}, {each}"


class Load:
    """Records and ticks that follow from a seed."""

    def __init__(self, job: PaperJob, seed: int) -> None:
        self._job = job
        self._labelling: Labelling = labelling(job)
        read = self._labelling.topics
        self._rows = {ROWS.index(topic.name): topic for topic, _ in read}
        self._decode = {ROWS.index(topic.name): decode for topic, decode in read}
        self._records: dict[tuple[int, int], list[Placed]] = {
            (number, p): [] for number in self._rows for p in range(SHARDS)
        }
        names = {number: topic.name for number, topic in self._rows.items()}
        for record in placed(seed, EVENTS, names, SHARDS):
            self._records[record.fed.topic, record.partition].append(record)
        self.facts: dict[tuple[int, int], list[Fact]] = {
            place: list(map(fact_of, own)) for place, own in self._records.items()
        }
        self.ticks = list(self._make_ticks(random.Random(f"ticks-{seed}")))

    def _make_ticks(self, rng: random.Random) -> Iterator[PlainTick]:
        """Every few seconds, not quite abreast."""
        last_ms = max(own[-1].fed.written_ms for own in self._records.values() if own)
        first_ms = min(own[0].fed.written_ms for own in self._records.values() if own)
        ends = dict.fromkeys(self._records, 0)
        now_ms = first_ms
        while now_ms < last_ms + 30_000:
            now_ms += rng.randrange(1_000, 20_000)
            for place, own in self._records.items():
                reached_ms = now_ms + rng.randrange(-3_000, 1)
                come = sum(each.fed.written_ms < reached_ms for each in own)
                ends[place] = max(ends[place], come)
            yield PlainTick(
                now_ms,
                {
                    row.name: [ends[number, p] for p in range(SHARDS)]
                    for number, row in self._rows.items()
                },
            )

    def read_in_any_way(self, rng: random.Random) -> Said:
        """What is said where lanes and topics come in any order and in pieces of any size, and
        shards are saved and restored at any moment."""
        lanes = {
            number: [self._lane(rng, number, p) for p in range(SHARDS)] for number in self._rows
        }
        shards: dict[str, SavedShard] = {}
        failed: list[Failed] = []
        while any(lane for of_topic in lanes.values() for lane in of_topic):
            number = rng.choice(list(lanes))
            items: list[RawBatch | LaneTick] = []
            for lane in rng.sample(lanes[number], rng.randrange(1, SHARDS + 1)):
                items += [lane.pop(0) for _ in range(min(len(lane), rng.randrange(12)))]
            come: dict[str, list[ShardRecords | ShardTicks]] = {}
            for each in self._decode[number](items):
                if isinstance(each, Failed):
                    failed.append(each)
                else:
                    come.setdefault(each.shard, []).append(each)
            for shard, of_shard in come.items():
                shards.setdefault(shard, SavedShard(self._labelling)).update(of_shard)
                if rng.random() < 0.02:
                    shards[shard].stop_and_go_on(whole=rng.random() < 0.3)
        said = Said()
        for saved in shards.values():
            saved.check_that_all_is_let_go()
            for each in saved.said:
                if isinstance(each, Failed):
                    failed.append(each)
                else:
                    assert (*each.source, each.number) not in said.examples
                    said.examples[(*each.source, each.number)] = fields_of(each)
        for each in failed:
            assert (each.topic, each.partition, each.offset) not in said.errors
            said.errors[each.topic, each.partition, each.offset] = each.reason
        return said

    def _lane(self, rng: random.Random, number: int, p: int) -> list[RawBatch | LaneTick]:
        """Records up to a tick in pieces, the tick, and so on."""
        row, records = self._rows[number], self._records[number, p]
        whole = _batch(row, records, p)
        found: list[RawBatch | LaneTick] = []
        done = 0
        for tick_number, tick in enumerate(self.ticks):
            end = tick.ends[row.name][p]
            while done < end:
                stop = rng.randrange(done + 1, end + 1)
                found.append(part(whole, done, stop))
                done = stop
            found.append(LaneTick(row.name, p, tick_number, tick.time_ms))
        return found


def _with_text(value: Any) -> Any:
    """Bytes as `receive` shows them."""
    if not isinstance(value, dict):
        return value
    return {k: v.decode("latin-1") if isinstance(v, bytes) else v for k, v in value.items()}


def _batch(row: Topic, records: list[Placed], partition: int) -> RawBatch:
    is_json = "." in row.name  # of the pipeline
    values = [
        json.dumps(each.value).encode() if is_json else _with_text(each.value) for each in records
    ]
    return batch_of(
        row,
        values,
        partition,
        keys=[each.fed.key.encode() for each in records],
        headers=[list(each.headers) for each in records],
        times_ms=[each.fed.time_ms for each in records],
    )


def fields_of(example: Example) -> dict[str, Any]:
    """What the plain program says of it, too."""
    names = ("label", "outcome", "weight", "delay_ms", "served_at", "labelled_at", "request_id")
    found: dict[str, Any] = {name: getattr(example, name) for name in names}
    if example.answer is not None:
        return {**found, "inputs": example.inputs, "answer": example.answer}
    columns = ("item_id", "position", "shown", "label", "outcome", "delay_ms")
    found["items"] = [
        dict(zip(columns, row, strict=True)) for row in zip(*example.items, strict=True)
    ]
    features = example.features
    found["features"] = None if features is None else features.tolist()
    return found


class SavedShard:
    """A shard that can be stopped, and goes on from what it had saved."""

    def __init__(self, wired: Labelling) -> None:
        self._wired = wired
        self._logic = wired.made()
        self._tables: list[pa.Table] = []
        self.said: list[Any] = []

    def update(self, items: list[ShardRecords | ShardTicks]) -> None:
        self.said += self._logic.update(items)

    def stop_and_go_on(self, whole: bool) -> None:
        table, facts = self._logic.changed(whole)
        self._tables = [table] if whole else [*self._tables, table]
        self._logic = self._wired.made()
        self._logic.restore(self._tables, json.loads(json.dumps(facts)))

    def check_that_all_is_let_go(self) -> None:
        """But for the last clicks of those who only say what time it is."""
        values = self._logic.values
        left = sum(len(values.get(key)["did"]) for key in values)
        assert all(key.startswith("uend-") for key in values)
        assert self._logic.changed(whole=True)[1]["held_bytes"] == left * CLICK_BYTES
