"""The trainer on paper: what counts, when a model is to be made, and what is learned online."""

import json
import random
from typing import Any

from streamrec.dataflows.job.topics import ERRORS, TRAINING_EXAMPLES, TRAINING_RUNS
from streamrec.dataflows.learning.runs import TrainingRun
from streamrec.models.learning.online import OnlineLearner
from streamrec.models.learning.recipe import Recipe
from tests.dataflows.learning.examples import (
    START_MS,
    example,
    people_examples,
    tick,
    trained_on_paper,
)
from tests.models.learning.people import recipe

RETRAIN = {"kind": "retrain", "every": 10, "min_examples": 2}
ONLINE = {"kind": "online", "every": 20, "min_examples": 2}


def runs_of(records: list[dict[str, Any]], **keys: Any) -> list[dict[str, Any]]:
    job, _ = trained_on_paper(records, RETRAIN | keys, recipe())
    found = [r for r in job.records(TRAINING_RUNS) if r["trainer"] == "retrain"]
    return sorted(found, key=lambda run: run["count"])


def test_a_model_is_to_be_made_at_every_nth_example_with_its_label() -> None:
    runs = runs_of([example(n) for n in range(35)])
    assert [(r["count"], r["source_offset"], r["kind"]) for r in runs] == [
        (10, 9, "every"),
        (20, 19, "every"),
        (30, 29, "every"),
    ]


def test_corrections_shadows_other_pipelines_and_what_has_no_label_do_not_count() -> None:
    others = [
        example(1, number=1),
        example(2, mode="shadow"),
        example(3, label=None),
        example(4, pipeline="another"),
    ]
    runs = runs_of([*others, *(example(n) for n in range(10, 20)), *others])
    assert [r["source_offset"] for r in runs] == [13]


def test_examples_are_counted_in_the_order_in_which_labels_were_known() -> None:
    records = [example(n) for n in range(30)]
    random.Random(1).shuffle(records)
    runs = runs_of(records)
    counted = [records[r["source_offset"]]["request_id"] for r in runs]
    assert counted == ["r9", "r19", "r29"]


def test_an_example_that_comes_late_counts_when_it_comes() -> None:
    records = [example(n) for n in range(1, 30)]
    keys = RETRAIN | {"every": 15}
    late = example(0)
    from bytewax.testing import run_main

    from streamrec.dataflows.job.paper import PaperJob, batch_of
    from streamrec.dataflows.learning.plan import TrainerKeys
    from streamrec.dataflows.trainer import build_flow

    job = PaperJob(
        "trainer",
        {
            TRAINING_EXAMPLES.name: [
                batch_of(TRAINING_EXAMPLES, records),
                tick(1, 40),
                batch_of(TRAINING_EXAMPLES, [late], first_offset=29),
                tick(2, 50),
            ]
        },
    )
    trainers = {"people": (TrainerKeys(recipe="r", **keys), recipe())}
    run_main(build_flow(job, trainers))  # type: ignore[no-untyped-call]
    assert job.records(ERRORS) == []
    runs = map(TrainingRun.of, job.records(TRAINING_RUNS))
    first, second = sorted(runs, key=lambda run: run.count)
    assert (first.count, first.source) == (15, (0, 14))
    assert (second.count, second.source) == (30, (0, 28))  # which waited for the tick
    everything = [*records, late]
    times_ms = [each["labelled_at"] for each in everything]
    assert [n for n in range(30) if second.covers(times_ms[n], 0, n)] == list(range(30))


def test_a_run_says_which_examples_its_model_is_made_of() -> None:
    records = [example(n) for n in range(100)]
    run = TrainingRun.of(runs_of(records, every=50, max_examples=16)[-1])
    covered = [n for n, each in enumerate(records) if run.covers(each["labelled_at"], 0, n)]
    assert covered[-1] == 99
    assert 16 <= len(covered) <= 20  # the newest 16, and some more
    first = TrainingRun.of(runs_of(records, every=50, max_examples=16)[0])
    assert max(n for n in range(100) if first.covers(records[n]["labelled_at"], 0, n)) == 49


def test_after_so_much_event_time_a_model_is_to_be_made_where_there_are_examples() -> None:
    ticks = [tick(n, 10 * n) for n in range(1, 10)]
    records = [example(n) for n in range(5)] + [example(n) for n in range(50, 53)]
    job, _ = trained_on_paper(records, RETRAIN | {"every": None, "every_s": 10}, recipe(), ticks)
    found = [(r["kind"], r["count"], r["at"]) for r in job.records(TRAINING_RUNS)]
    assert found == [
        ("time", 5, START_MS + 10_000),
        ("time", 8, START_MS + 60_000),
    ]


def test_no_model_is_made_of_fewer_examples_than_were_asked_for() -> None:
    runs = runs_of([example(n) for n in range(35)], min_examples=25)
    assert [r["count"] for r in runs] == [30]


def test_a_rise_of_the_error_makes_a_model_where_that_is_asked_for() -> None:
    rng = random.Random(2)

    def records() -> list[dict[str, Any]]:
        return [
            example(n, score=0.9 if n < 300 else 0.1, label=float(rng.random() < 0.9))
            for n in range(500)
        ]

    asked = runs_of(records(), every=None, on_drift=True)
    assert [r["kind"] for r in asked][:1] == ["drift"]
    assert 300 < asked[0]["count"] < 400
    job, _ = trained_on_paper(records(), RETRAIN | {"every": 10_000}, recipe())
    told = [(r["kind"], r["trainer"], r["version"]) for r in job.records(TRAINING_RUNS)]
    assert told[:1] == [("drift", "none", None)]


def test_online_versions_are_what_a_plain_loop_learns() -> None:
    records = people_examples(60)
    job, desk = trained_on_paper(records, ONLINE, recipe())
    learner = OnlineLearner(recipe())
    expected = []
    for number, each in enumerate(records, 1):
        learner.learn(json.loads(each["inputs"]), each["label"])
        if number % 20 == 0:
            expected.append(learner.weights())
    assert [json.loads(v.files["people.linear"]) for v, _ in desk.handed] == expected
    about = desk.handed[-1][0].about
    assert about["trained"] == {
        "examples": 60,
        "from_ms": START_MS,
        "until_ms": START_MS + 59_000,
    }
    assert about["metrics"]["auc"] > 0.5
    assert len({r["version"] for r in job.records(TRAINING_RUNS)}) == 3


def test_inputs_that_do_not_fit_are_told_and_not_counted() -> None:
    records = people_examples(21)
    records[5]["inputs"] = json.dumps({"age": "old"})
    job, desk = trained_on_paper(records, ONLINE, recipe())
    assert [(r["reason"], r["offset"]) for r in job.records(ERRORS)] == [("invalid_value", 5)]
    assert [run.source for _, run in desk.handed] == [(0, 20)]


def test_an_apprentice_learns_what_the_baseline_chose() -> None:
    records = people_examples(60)
    for each in records:
        rich = json.loads(each["inputs"])["town"] == "a"
        each |= {"label": None, "answer": json.dumps({"rich": "yes" if rich else "no"})}
    _, desk = trained_on_paper(records, ONLINE | {"learn_from": "answer"}, recipe())
    weights = json.loads(desk.handed[-1][0].files["people.linear"])["texts"]["town"]["weights"]
    assert weights["a"] > 0 > weights["b"]


def test_a_recipe_that_changed_keeps_the_counts_and_learns_anew() -> None:
    from streamrec.dataflows.job.paper import PaperJob
    from streamrec.dataflows.learning.desk import PaperDesk
    from streamrec.dataflows.learning.learn import Learn
    from streamrec.dataflows.learning.plan import TrainerKeys

    def step(said: Recipe) -> Learn:
        keys = TrainerKeys(recipe="r", **ONLINE)
        return Learn(PaperJob("trainer"), {"people": (keys, said)}, PaperDesk())

    before = step(recipe())
    found = before._of("people")
    assert found is not None
    found.take(people_examples(1)[0] | {"labelled_ms": 0}, {}, 1.0)
    before._touched.add("people")
    table, facts = before.changed(True)
    for said, is_kept in ((recipe(), True), (recipe(seed=2), False)):
        after = step(said)
        after.restore([table], facts)
        restored = after._of("people")
        assert restored is not None
        assert restored.progress.count == 1
        assert (restored.state() == found.state()) == is_kept
