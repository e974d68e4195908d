"""The evaluation: what is judged by what, and that it says the same whatever stops it."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from bytewax.testing import run_main

from streamrec import CLICKS, RECOMMENDATIONS, PaperJob, StartError, Tick, Topic, batch_of
from streamrec.connectors.log import RawBatch
from streamrec.connectors.ticks.tick import LaneTick
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.evaluation import FLOW_ID, build_flow, decode_judged
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.job.topics import ERRORS, METRICS, TRAINING_EXAMPLES
from streamrec.dataflows.learning.judge import JudgeAnswers
from streamrec.dataflows.learning.judged_windows import JudgedWindows
from streamrec.dataflows.learning.plan import read_plan
from streamrec.dataflows.steps.held import Output
from streamrec.dataflows.steps.shards import shard_name

START_MS = 1_767_225_600_000
MINUTE_MS = 60_000
PLAN = """
[[models]]
pipeline = "adult"
[models.labels]
window_s = 60
[[models]]
pipeline = "recommender"
[models.evaluation]
k = [1, 3]
"""


@pytest.fixture
def plan(tmp_path: Path) -> str:
    path = tmp_path / "learning.toml"
    path.write_text(PLAN)
    return str(path)


def example(
    request: str, served_ms: int, score: float | None, label: float | None, **given: Any
) -> dict[str, Any]:
    said: dict[str, Any] = {
        "request_id": request,
        "source_topic": "models.adult.1.0.outputs",
        "source_partition": 0,
        "source_offset": 0,
        "dataflow": "labels",
        "kind": "label",
        "number": 0,
        "pipeline": "adult",
        "model": "adult",
        "version": "v1",
        "experiment": None,
        "variant": None,
        "propensity": None,
        "mode": "served",
        "key": None,
        "served_at": served_ms,
        "labelled_at": served_ms + 1_000,
        "inputs": None,
        "features": None,
        "input_names": None,
        "answer": None,
        "score": score,
        "label": label,
        "outcome": None,
        "weight": 1.0,
        "delay_ms": None,
        "items": [],
    }
    return said | given


def click(user: str, item: str, at_ms: int, event_type: str = "view") -> dict[str, Any]:
    return {"user_id": user, "item_id": item, "event_type": event_type, "timestamp": at_ms}


def recommendation(
    user: str, items: str, at_ms: int, version: str = "m1", **given: Any
) -> dict[str, Any]:
    said: dict[str, Any] = {
        "user_id": user,
        "source_topic": "clicks",
        "source_partition": 0,
        "source_offset": 0,
        "requested_at": at_ms,
        "item_id": "i0",
        "items": [{"item_id": item, "score": 1.0, "methods": 0} for item in items.split()],
        "model_name": "shop",
        "model_version": version,
        "method_names": "",
        "feature_set": "",
        "features": [],
    }
    return said | given


class Evaluated:
    """What a run on paper said of some records, which all come before one tick each."""

    def __init__(
        self,
        plan: str,
        examples: Sequence[Any] = (),
        clicks: Sequence[Any] = (),
        recommendations: Sequence[Any] = (),
        ticks: Sequence[int] = (60 * MINUTE_MS,),
    ) -> None:
        ends = [
            Tick(1, START_MS, {}),
            *(Tick(2 + n, START_MS + t, {}) for n, t in enumerate(ticks)),
        ]
        job = PaperJob(
            FLOW_ID,
            {
                "training-examples": [batch_of(TRAINING_EXAMPLES, examples), *ends],
                "clicks": [batch_of(CLICKS, clicks), *ends],
                "recommendations": [batch_of(RECOMMENDATIONS, recommendations), *ends],
            },
            settings=load_settings(learning=plan),
        )
        run_main(build_flow(job))  # type: ignore[no-untyped-call]
        self.metrics = job.records(METRICS)
        self.errors = job.records(ERRORS)

    def of(self, metric: str, segment: str = "all") -> dict[tuple[str, str, int], Any]:
        """By version, variant and minute: value and count."""
        return {
            (m["version"], m["variant"], (m["window_start"] - START_MS) // MINUTE_MS): (
                pytest.approx(m["value"]),
                m["count"],
            )
            for m in self.metrics
            if (m["metric"], m["segment"]) == (metric, segment)
        }


def test_each_label_judges_its_score_by_version_in_the_window_in_which_it_was_served(
    plan: str,
) -> None:
    said = Evaluated(
        plan,
        [
            example("a", START_MS, 0.9, 1.0),
            example("b", START_MS + 1, 0.2, 0.0, labelled_at=START_MS + MINUTE_MS + 1),
            example("c", START_MS + 2, 0.6, 0.0, version="v2"),
            example("d", START_MS + MINUTE_MS, 0.1, 1.0, version="v2"),
        ],
    )

    assert said.of("accuracy") == {
        ("v1", "", 0): (1.0, 2),
        ("v2", "", 0): (0.0, 1),
        ("", "", 0): (2 / 3, 3),
        ("v2", "", 1): (0.0, 1),
        ("", "", 1): (0.0, 1),
    }
    assert said.of("auc") == {("v1", "", 0): (1.0, 2), ("", "", 0): (1.0, 3)}
    assert said.errors == []


def test_a_correction_is_counted_and_judges_nothing(plan: str) -> None:
    said = Evaluated(
        plan,
        [
            example("a", START_MS, 0.9, 1.0),
            example("a", START_MS, 0.9, 0.0, number=1, labelled_at=START_MS + 2 * MINUTE_MS),
        ],
    )

    assert said.of("accuracy") == {("v1", "", 0): (1.0, 1), ("", "", 0): (1.0, 1)}
    assert said.of("corrections")["", "", 2] == (1.0, 1)


def test_what_has_no_score_or_no_label_or_stands_in_no_list_is_not_judged(plan: str) -> None:
    said = Evaluated(
        plan,
        [
            example("a", START_MS, None, 1.0),
            example("b", START_MS, 0.5, None),
            example("c", START_MS, 0.5, 1.0, pipeline="another"),
        ],
    )

    assert said.metrics == []
    assert said.errors == []


def test_a_score_that_is_no_number_fails(plan: str) -> None:
    said = Evaluated(plan, [example("a", START_MS, float("nan"), 1.0)])

    assert said.metrics == []
    assert [error["reason"] for error in said.errors] == ["invalid_value"]
    assert "score and label expected finite numbers, got nan" in said.errors[0]["message"]


def test_shadows_are_judged_beside_and_count_in_no_total(plan: str) -> None:
    said = Evaluated(
        plan,
        [
            example("a", START_MS, 0.9, 1.0),
            example("b", START_MS, 0.1, 1.0, version="v2", mode="shadow"),
            example("c", START_MS, 0.9, 1.0, version="v3", variant="b"),
        ],
    )

    assert said.of("accuracy") == {
        ("v1", "", 0): (1.0, 1),
        ("v2", "shadow", 0): (0.0, 1),
        ("v3", "b", 0): (1.0, 1),
        ("", "b", 0): (1.0, 1),
        ("", "", 0): (1.0, 2),
    }


def test_a_click_judges_the_newest_recommendation_before_it_of_its_user(plan: str) -> None:
    said = Evaluated(
        plan,
        clicks=[
            click("u1", "i1", START_MS),  # has none before it
            click("u1", "i2", START_MS + 10),  # first of its list
            click("u1", "i1", START_MS + 20),  # third of the next; not of the one that it asks for
            click("u1", "i9", START_MS + 30),  # in no list
            click("u1", "i2", START_MS + 31, "cart"),  # asks for none, judges none
            click("u2", "i2", START_MS + 30),  # another user
        ],
        recommendations=[
            recommendation("u1", "i2 i3", START_MS),
            recommendation("u1", "i4 i3 i1", START_MS + 10, "m2"),
            recommendation("u1", "i1", START_MS + 20, "m2"),
        ],
    )

    assert said.of("hit_rate@1") == {
        ("m1", "", 0): (1.0, 1),
        ("m2", "", 0): (0.0, 2),
        ("", "", 0): (1 / 3, 3),
    }
    assert said.of("hit_rate@3")["m2", "", 0] == (0.5, 2)
    assert said.of("mrr@3")["m2", "", 0] == (1 / 6, 2)
    assert said.of("hit_rate@3", "position=0")["", "", 0] == (1 / 3, 3)
    assert said.errors == []


def test_a_recommendation_is_old_after_the_window_of_labels(plan: str) -> None:
    said = Evaluated(
        plan,
        clicks=[click("u1", "i2", START_MS + 3_600_001)],
        recommendations=[recommendation("u1", "i2", START_MS)],
    )

    assert said.metrics == []


def test_new_users_and_new_items_are_segments(plan: str) -> None:
    times = range(START_MS, START_MS + 8_000, 1_000)
    said = Evaluated(
        plan,
        clicks=[click("u1", "i1" if n else "i0", at) for n, at in enumerate(times)],
        recommendations=[recommendation("u1", "i1", at) for at in times],
    )

    assert said.of("hit_rate@1")["", "", 0] == (1.0, 7)
    assert said.of("hit_rate@1", "new_users")["", "", 0] == (1.0, 5)
    assert said.of("hit_rate@1", "new_items")["", "", 0] == (1.0, 1)


def test_a_window_that_is_not_over_is_not_told(plan: str) -> None:
    examples = [example("a", START_MS, 0.9, 1.0)]
    # A minute of the window, one of the labels, and what records are waited for.
    assert Evaluated(plan, examples, ticks=[2 * MINUTE_MS]).metrics == []
    assert Evaluated(plan, examples, ticks=[2 * MINUTE_MS + 10_000]).metrics


def test_a_label_that_comes_long_after_its_time_is_counted_and_no_error(plan: str) -> None:
    hours = [Tick(n, START_MS + n * 60 * MINUTE_MS, {}) for n in range(4)]
    first = batch_of(TRAINING_EXAMPLES, [example("a", START_MS, 0.9, 1.0)])
    second = batch_of(TRAINING_EXAMPLES, [example("b", START_MS, 0.9, 1.0)], first_offset=1)
    job = PaperJob(
        FLOW_ID,
        {
            "training-examples": [first, *hours[:2], second, *hours[2:]],
            "clicks": hours,
            "recommendations": hours,
        },
        settings=load_settings(learning=plan),
    )

    run_main(build_flow(job))  # type: ignore[no-untyped-call]

    told = [(m["metric"], m["value"]) for m in job.records(METRICS) if m["version"] == ""]
    assert ("label_mean", 1.0) in told
    assert ("late", 1.0) in told
    assert job.records(ERRORS) == []


def test_of_a_record_and_a_metric_there_is_one_output(plan: str) -> None:
    rng = random.Random(5)
    examples = [
        example(f"r{n}", START_MS + rng.randrange(10 * MINUTE_MS), rng.random(), n % 2 * 1.0)
        | {"version": rng.choice(("v1", "v2")), "variant": rng.choice((None, "a"))}
        for n in range(300)
    ]
    said = Evaluated(plan, examples)

    names = METRICS.answers
    assert isinstance(names, tuple)
    identities = [tuple(metric[name] for name in names) for metric in said.metrics]
    assert len(identities) > 100
    assert len(set(identities)) == len(identities)
    counted = sum(count for (version, *_), (_, count) in said.of("error").items() if version)
    assert counted == 300


def test_settings_without_a_learning_file_stop_the_start() -> None:
    with pytest.raises(StartError, match="STREAMREC_LEARNING expected the path of a learning file"):
        build_flow(PaperJob(FLOW_ID))


class Load:
    """Records and ticks that follow from a seed, by topic and partition, which is its lane."""

    topics = (CLICKS, RECOMMENDATIONS, TRAINING_EXAMPLES)

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.queues: dict[tuple[Topic, int], list[RawBatch | LaneTick]] = {
            (topic, partition): [] for topic in self.topics for partition in range(8)
        }
        offsets = dict.fromkeys(self.queues, 0)
        for tick in range(40):
            until_ms = START_MS + tick * 20_000
            for topic, partition in self.queues:
                times = [until_ms - rng.randrange(20_000) for _ in range(rng.randrange(4))]
                records = [self.record(rng, topic, at_ms) for at_ms in times]
                place = topic, partition
                self.queues[place] += [
                    batch_of(topic, records, partition, offsets[place]),
                    LaneTick(topic.name, partition, tick, until_ms),
                ]
                offsets[place] += len(records)

    def record(self, rng: random.Random, topic: Topic, at_ms: int) -> dict[str, Any]:
        user, item = f"u{rng.randrange(20)}", f"i{rng.randrange(6)}"
        if topic is CLICKS:
            return click(user, item, at_ms)
        if topic is RECOMMENDATIONS:
            items = " ".join(rng.sample([f"i{n}" for n in range(6)], 3))
            return recommendation(user, items, at_ms, rng.choice(("m1", "m2")))
        served_ms = at_ms - rng.choice((1_000, 60_000, 300_000))
        given = {"labelled_at": at_ms, "number": rng.choice((0, 0, 0, 1))}
        label = float(rng.random() < 0.5)
        return example(f"r{rng.randrange(10**9)}", served_ms, rng.random(), label, **given)

    def read_in_any_way(self, plan: str, rng: random.Random) -> list[Any]:
        """What is said when lanes come as they come, and all stops and goes on now and then."""
        job = PaperJob(FLOW_ID, settings=load_settings(learning=plan))
        build_flow(job)
        decode = {topic: decode_judged(job, topic) for topic in self.topics}
        queues = {place: list(items) for place, items in self.queues.items()}
        made = read_plan(plan)
        kept = {name: JudgeAnswers(job, made) for name in map(shard_name, range(8))}
        windows = JudgedWindows(job, made)
        tables: list[pa.Table] = []
        saved: dict[str, list[pa.Table]] = {name: [] for name in kept}
        out: list[Output] = []
        while queues:
            place = rng.choice(list(queues))
            some, queues[place] = queues[place][:3], queues[place][3:]
            if not queues[place]:
                del queues[place]
            for item in decode[place[0]](some):
                assert not isinstance(item, Failed)
                judged = kept[item.shard].update([item])
                if judged:
                    out += windows.update(judged)
            if rng.random() < 0.05:
                for name, logic in kept.items():
                    table, facts = logic.changed(False)
                    saved[name].append(table)
                    kept[name] = JudgeAnswers(job, made)
                    kept[name].restore(saved[name], json.loads(json.dumps(facts)))
                table, facts = windows.changed(False)
                tables.append(table)
                windows = JudgedWindows(job, made)
                windows.restore(tables, json.loads(json.dumps(facts)))
        return [(o.record[:3], o.kind, dict(o.fields)) for o in out]


def test_metrics_do_not_depend_on_how_records_are_read_nor_on_stops(plan: str) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    load = Load(seed)

    said = [load.read_in_any_way(plan, random.Random(f"{seed}-{turn}")) for turn in range(4)]

    assert {"late", "corrections", "auc", "mrr@3"} <= {each[2]["metric"] for each in said[0]}
    assert all(each == said[0] for each in said), f"seed {seed}"
