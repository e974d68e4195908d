"""Labels as somebody uses them: one answer, what comes of it, and the examples that are told."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from bytewax.testing import run_main

from streamrec import ERRORS, PaperJob, StartError, Tick, Topic, batch_of
from streamrec.connectors.log import Headers, RawBatch
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.job.topics import (
    CLICKS,
    IMPRESSIONS,
    OUTCOMES,
    RANKER_INPUTS,
    RECOMMENDATIONS,
    TRAINING_EXAMPLES,
)
from streamrec.dataflows.labels import FLOW_ID, build_flow

START_MS = 1_767_225_600_000
WINDOW_S = 100
STEM = "models.twice.1.0"
INPUT = f"{STEM}.inputs/0/0"


def at_ms(seconds: float) -> int:
    return START_MS + round(seconds * 1_000)


class Labelled:
    """A run over what there is, with a tick each ten seconds."""

    def __init__(
        self, folder: Path, pipeline: str, keys: str, batches: Sequence[RawBatch], **options: Any
    ) -> None:
        (folder / "models.toml").write_text(
            '[[models]]\nmodel = "tests.dataflows.serving.served_models:Twice"\n'
        )
        (folder / "learning.toml").write_text(
            f'[[models]]\npipeline = "{pipeline}"\n[models.labels]\nwindow_s = {WINDOW_S}\n{keys}'
        )
        settings = load_settings(
            models=str(folder / "models.toml"), learning=str(folder / "learning.toml"), **options
        )
        ticks = [Tick(number, at_ms(10 * number), {}) for number in range(60)]
        given: dict[str, list[RawBatch | Tick]] = {}
        names = [f"{STEM}.inputs", f"{STEM}.outputs"]
        shared = (RECOMMENDATIONS, RANKER_INPUTS, IMPRESSIONS, CLICKS, OUTCOMES)
        for name in (*names, *(row.name for row in shared)):
            given[name] = [*(batch for batch in batches if batch.topic == name), *ticks]
        job = PaperJob(FLOW_ID, given, settings)
        run_main(build_flow(job))  # type: ignore[no-untyped-call]
        self.examples = job.records(TRAINING_EXAMPLES)
        self.errors = job.records(ERRORS)

    def told(self, *names: str) -> list[tuple[Any, ...]]:
        found = sorted(self.examples, key=lambda each: (each["request_id"], each["number"]))
        return [tuple(each[name] for name in names) for each in found]


def asked_and_answered() -> list[RawBatch]:
    inputs, outputs = (
        Topic(f"{STEM}.{kind}", format="json", key_beside=True, named_by_setting=False)
        for kind in ("inputs", "outputs")
    )
    headers: Headers = [
        ("streamrec-source", INPUT.encode()),
        ("streamrec-model", b"twice/1.2"),
        ("streamrec-experiment", b"trial"),
        ("streamrec-variant", b"b"),
        ("streamrec-propensity", b"0.25"),
        ("streamrec-mode", b"served"),
    ]
    times_ms, keys = [at_ms(0)], [b"somebody"]
    return [
        batch_of(inputs, [b'{"n": 2.50}'], keys=keys, times_ms=times_ms),
        batch_of(outputs, [{"twice": 5}], keys=keys, headers=[headers], times_ms=times_ms),
    ]


def outcome(seconds: float, id_: str = INPUT, **fields: Any) -> dict[str, Any]:
    nothing = {"user_id": None, "item_id": None, "value": None, "weight": None}
    said = {"recommendation_id": id_, "kind": "bought", "timestamp": at_ms(seconds)}
    return {**nothing, **said, **fields}


def test_an_example_holds_what_the_model_saw_and_said(tmp_path: Path) -> None:
    came = batch_of(OUTCOMES, [outcome(30, value=0.0, weight=4.0)])
    run = Labelled(tmp_path, "twice", 'score = "twice"\n', [*asked_and_answered(), came])

    (example,) = run.examples
    assert example["inputs"] == '{"n": 2.50}'
    assert (example["answer"], example["score"]) == ('{"twice": 5}', 5.0)
    assert (example["model"], example["version"]) == ("twice", "1.2")
    assert (example["experiment"], example["variant"]) == ("trial", "b")
    assert (example["propensity"], example["mode"], example["key"]) == (0.25, "served", "somebody")
    assert (example["label"], example["weight"], example["delay_ms"]) == (0.0, 4.0, 30_000)
    assert (example["served_at"], example["labelled_at"]) == (at_ms(0), at_ms(30))
    assert not run.errors


@pytest.mark.parametrize(
    ("keys", "seconds", "told"),
    [
        ("", [], []),
        ("default = 0.0\n", [], [(0, 0.0, at_ms(WINDOW_S))]),
        ("default = 0.0\n", [40], [(0, 1.0, at_ms(40))]),
        ('positive = "window"\n', [40], [(0, 1.0, at_ms(WINDOW_S))]),
        ("default = 0.0\n", [150], [(0, 0.0, at_ms(WINDOW_S)), (1, 1.0, at_ms(150))]),
        ("", [150], [(0, 1.0, at_ms(150))]),
        ("", [-20, -20], [(0, 1.0, at_ms(0))]),
    ],
)
def test_a_score_is_told_when_and_as_the_settings_say(
    keys: str, seconds: list[int], told: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    came = [batch_of(OUTCOMES, [outcome(each) for each in seconds])] if seconds else []
    run = Labelled(tmp_path, "twice", keys, [*asked_and_answered(), *came])

    assert run.told("number", "label", "labelled_at") == told
    assert not run.errors


def test_an_outcome_beyond_the_horizon_and_one_of_nobody_are_errors(tmp_path: Path) -> None:
    came = batch_of(OUTCOMES, [outcome(2 * WINDOW_S + 1), outcome(5, "nobody")])
    run = Labelled(tmp_path, "twice", "", [*asked_and_answered(), came])

    assert not run.examples
    reasons = {each["offset"]: each["reason"] for each in run.errors}
    assert reasons == {0: "too_late", 1: "too_late"}
    assert all(each["value"] for each in run.errors)


def test_what_there_is_no_room_for_is_an_error(tmp_path: Path) -> None:
    kind = "k" * 60
    came = [outcome(1 + number / 10_000, "x" * 250, kind=kind) for number in range(4_000)]
    run = Labelled(tmp_path, "twice", "max_mb = 1\n", [batch_of(OUTCOMES, came)])

    reasons = [each["reason"] for each in run.errors]
    assert len(reasons) == len(came)
    assert set(reasons) == {"state_full", "too_late"}


def recommended(number: int, seconds: float, items: str) -> dict[str, Any]:
    return {
        "user_id": "u",
        "source_topic": "clicks",
        "source_partition": 0,
        "source_offset": number,
        "requested_at": at_ms(seconds),
        "item_id": "q",
        "items": [{"item_id": item, "score": 0.5, "methods": 1} for item in items],
        "model_name": "ranker",
        "model_version": "v1",
        "method_names": "m",
        "feature_set": "f",
        "features": [],
        "recommendation_id": f"clicks/0/{number}",
        "experiment": None,
        "variant": None,
        "propensity": None,
        "mode": "served",
    }


def shown(number: int, seconds: float, items: str) -> dict[str, Any]:
    id_, time_ms = f"clicks/0/{number}", at_ms(seconds)
    said = {"recommendation_id": id_, "user_id": "u", "items": [*items], "timestamp": time_ms}
    return {**said, "surface": None}


def clicked(seconds: float, item: str, event: str = "view") -> dict[str, Any]:
    said = {"user_id": "u", "item_id": item, "event_type": event, "timestamp": at_ms(seconds)}
    return {**said, "price_cents": None, "category_id": None, "session_id": None}


def items_of(example: dict[str, Any]) -> list[tuple[Any, ...]]:
    names = ("item_id", "position", "shown", "label")
    return [tuple(item[name] for name in names) for item in example["items"]]


def test_served_is_not_shown_and_negatives_wait_for_the_window(tmp_path: Path) -> None:
    batches = [
        batch_of(RECOMMENDATIONS, [recommended(0, 0, "abc"), recommended(1, 1, "xyz")]),
        batch_of(IMPRESSIONS, [shown(0, 2, "cb")]),
        batch_of(CLICKS, [clicked(5, "c"), clicked(6, "a"), clicked(7, "x")]),
    ]
    run = Labelled(tmp_path, "recommender", "", batches)

    first, last = sorted(run.examples, key=lambda each: each["number"])
    assert items_of(first) == [("c", 0, True, 1.0)]
    assert first["labelled_at"] == at_ms(5)
    assert items_of(last) == [("a", 0, False, 0.0), ("b", 1, True, 0.0), ("c", 0, True, 1.0)]
    assert last["labelled_at"] == at_ms(WINDOW_S)
    assert not run.errors


def test_by_setting_all_that_was_served_counts_as_shown(tmp_path: Path) -> None:
    batches = [batch_of(RECOMMENDATIONS, [recommended(0, 0, "ab")])]
    run = Labelled(tmp_path, "recommender", 'shown = "served"\n', batches)

    (example,) = run.examples
    assert items_of(example) == [("a", 0, True, 0.0), ("b", 1, True, 0.0)]
    assert (example["label"], example["outcome"]) == (0.0, None)


@pytest.mark.parametrize(("credit", "number"), [("last", 1), ("first", 0)])
def test_a_positive_credits_one_of_several_that_showed_the_item(
    credit: str, number: int, tmp_path: Path
) -> None:
    batches = [
        batch_of(RECOMMENDATIONS, [recommended(0, 0, "ab"), recommended(1, 10, "bc")]),
        batch_of(IMPRESSIONS, [shown(0, 1, "ab"), shown(1, 11, "bc"), shown(1, 30, "bc")]),
        batch_of(CLICKS, [clicked(20, "b", "purchase"), clicked(20, "b", "purchase")]),
    ]
    run = Labelled(tmp_path, "recommender", f'credit = "{credit}"\n', batches)

    labels = dict(run.told("request_id", "label"))
    assert labels == {f"clicks/0/{number}": 10.0, f"clicks/0/{1 - number}": 0.0}


def test_an_outcome_with_an_id_says_whose_the_click_was(tmp_path: Path) -> None:
    told = outcome(21, "clicks/0/0", user_id="u", item_id="b", kind="click")
    batches = [
        batch_of(RECOMMENDATIONS, [recommended(0, 0, "ab"), recommended(1, 10, "bc")]),
        batch_of(IMPRESSIONS, [shown(0, 1, "ab"), shown(1, 11, "bc")]),
        batch_of(CLICKS, [clicked(20, "b")]),
        batch_of(OUTCOMES, [told]),
    ]
    run = Labelled(tmp_path, "recommender", 'positive = "window"\n', batches)

    labels = dict(run.told("request_id", "label"))
    assert labels == {"clicks/0/0": 1.0, "clicks/0/1": 0.0}


def test_what_the_ranker_saw_of_each_item_stands_in_the_order_of_the_items(tmp_path: Path) -> None:
    ranked = {
        **{name: recommended(0, 0, "")[name] for name in ("user_id", "recommendation_id")},
        "source_topic": "clicks",
        "source_partition": 0,
        "source_offset": 0,
        "requested_at": at_ms(0),
        "model_name": "ranker",
        "model_version": "v1",
        "variant": None,
        "weight": 10.0,
        "input_names": "x,y",
        "item_ids": ["b", "z", "a"],
        "inputs": struct.pack("<6f", 1, 2, 3, 4, 5, 6).decode("latin-1"),
    }
    batches = [
        batch_of(RECOMMENDATIONS, [recommended(0, 0, "ab")]),
        batch_of(RANKER_INPUTS, [ranked]),
        batch_of(IMPRESSIONS, [shown(0, 1, "ab")]),
    ]
    run = Labelled(tmp_path, "recommender", "", batches)

    assert run.told("input_names", "features", "weight") == [("x,y", [5.0, 6.0, 1.0, 2.0], 10.0)]


def test_an_outcome_of_an_item_needs_its_user(tmp_path: Path) -> None:
    batches = [batch_of(OUTCOMES, [outcome(1, "clicks/0/0", item_id="a", kind="click")])]
    run = Labelled(tmp_path, "recommender", "", batches)

    (error,) = run.errors
    assert error["reason"] == "invalid_value"
    assert "field user_id expected the user" in error["message"]


def test_a_pipeline_that_is_not_in_the_list_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"expected one of the list of models \(twice\) or recomm"):
        Labelled(tmp_path, "nobody", "", [])
