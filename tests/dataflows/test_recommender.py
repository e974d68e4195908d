"""The main job end to end: for each click exactly one recommendation or one error, and the right
one, on both back ends."""

from collections import Counter, defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from bytewax.testing import cluster_main

from streamrec.dataflows.job.opening import open_job_with
from streamrec.dataflows.job.topics import CLICKS
from streamrec.dataflows.recommender import FLOW_ID, build_flow
from streamrec.models.users.features import DEFAULT_FEATURES, compile_features
from streamrec.schemas.columns import Bytes
from streamrec.schemas.hashing import hash64
from streamrec.shop.faults import FAULTS
from tests.dataflows.main_job import (
    PARTITIONS,
    START_MS,
    Answer,
    MainJob,
    Place,
    places,
    reasons_by_place,
)
from tests.models.test_user_state import KEPT, ReferenceUsers

MakeJob = Callable[..., MainJob]
EVENT_CODES = {"view": 0, "cart": 1, "favorite": 2, "purchase": 3, "other": 4}


def asking(job: MainJob) -> set[Place]:
    return {place for place, click in job.clicks().items() if click["event_type"] == "view"}


def test_shop_gives_one_recommendation_or_one_error_for_each_click(make_job: MakeJob) -> None:
    job = make_job(session_items=KEPT)
    job.send_shop(20_000, broken_share=0.05)
    expected = Counter(job.sent.reasons.values())
    assert set(expected) == {fault.reason for fault in FAULTS} - {None}

    job.run()

    errors, recommendations = job.errors(), job.recommendations()
    assert reasons_by_place(errors) == job.sent.reasons
    assert places(recommendations) == Counter(asking(job))
    originals = {place: job.sent.values[place] for place in job.sent.reasons}
    assert {error.place: error.fields["value"] for error in errors} == originals
    assert {error.fields["stage"] for error in errors} == {"decode", "user features"}

    clicks = job.clicks()
    for answer in recommendations:
        click, record = clicks[answer.place], answer.fields
        assert answer.record.key == click["user_id"].encode() == record["user_id"].encode()
        assert record["source_topic"] == job.settings.topic(CLICKS)
        assert (record["item_id"], record["requested_at"]) == (click["item_id"], click["timestamp"])
        assert len(record["items"]) == len({item["item_id"] for item in record["items"]}) <= 20
        scores = [item["score"] for item in record["items"]]
        assert scores == sorted(scores, reverse=True)
    # The first clicks find few items to recommend; all but those get a full list.
    assert Counter(len(answer.fields["items"]) for answer in recommendations)[20] > 12_000
    assert_in_order_per_user(recommendations)
    assert_features(job, recommendations)
    assert_committed(job)


def assert_in_order_per_user(recommendations: list[Answer]) -> None:
    """A user's recommendations stand in the order of the user's clicks, on one partition."""
    by_user: dict[str, list[tuple[Place, Place]]] = defaultdict(list)
    for answer in recommendations:
        at = (answer.record.partition, answer.record.offset)
        by_user[answer.fields["user_id"]].append((at, answer.place))
    for user, pairs in by_user.items():
        assert len({partition for (partition, _), _ in pairs}) == 1, user
        clicks_in_order_of_answers = [click for _, click in sorted(pairs)]
        assert clicks_in_order_of_answers == sorted(clicks_in_order_of_answers), user


def assert_features(job: MainJob, recommendations: list[Answer]) -> None:
    """The features equal a recount of all of the user's clicks."""
    features = compile_features(DEFAULT_FEATURES)
    users: dict[str, ReferenceUsers] = {}
    expected: dict[Place, list[float]] = {}
    for place, click in sorted(job.clicks().items()):
        user = users.setdefault(click["user_id"], ReferenceUsers(features))
        price = -1 if click["price_cents"] is None else click["price_cents"]
        item, session = (_hash(click[name]) for name in ("item_id", "session_id"))
        time_ms = int(click["timestamp"].timestamp() * 1000)
        expected[place] = user.take_in(
            time_ms, EVENT_CODES[click["event_type"]], item, session, price
        )
    got = {answer.place: answer.fields["features"] for answer in recommendations}
    assert len(features) == 17
    for place, values in got.items():
        assert np.allclose(values, expected[place], rtol=1e-6), (place, values, expected[place])
    assert {answer.fields["feature_set"] for answer in recommendations} == {features.digest}


def _hash(text: str | None) -> int:
    if text is None:
        return 0
    data = text.encode()
    column = Bytes(np.frombuffer(data, np.uint8), np.array([0]), np.array([len(data)]))
    return int(hash64(column)[0])


def assert_committed(job: MainJob) -> None:
    """The group's offsets stand at the end, so that its lag is nothing."""
    admin = job.log.admin()
    ends = {p: b.high for p, b in admin.bounds(job.settings.topic(CLICKS)).items()}
    assert admin.committed(job.settings.consumer_group, job.settings.topic(CLICKS)) == ends
    assert len(ends) == PARTITIONS
    admin.close()


def test_second_run_goes_on_where_the_group_stands(make_job: MakeJob) -> None:
    job = make_job()
    job.send_clicks([{"item_id": "a"}, {"item_id": "b"}])
    job.run()
    later = job.send_clicks([{"item_id": "c"}])
    job.run()
    assert places(job.recommendations()) == Counter(job.sent.good())
    assert [a.fields["item_id"] for a in job.recommendations() if a.place in later] == ["c"]


def test_two_workers_answer_each_click_once(embedded_job: MakeJob) -> None:
    job = embedded_job()
    job.send_shop(6_000)
    flow = build_flow(open_job_with(FLOW_ID, job.settings))
    cluster_main(flow, [], 0, worker_count_per_proc=2)  # type: ignore[no-untyped-call]  # bytewax leaves it so
    assert reasons_by_place(job.errors()) == job.sent.reasons
    assert places(job.recommendations()) == Counter(asking(job))


@pytest.mark.parametrize(
    ("setting", "asking_types"),
    [("view", {"view"}), ("cart, purchase", {"cart", "purchase"}), ("other", {"other"})],
)
def test_setting_says_which_clicks_ask(
    embedded_job: MakeJob, setting: str, asking_types: set[str]
) -> None:
    job = embedded_job(recommend_on=setting)
    kinds = ["view", "cart", "favorite", "purchase", "other"] * 3
    sent = job.send_clicks(
        {"event_type": kind, "item_id": f"i{n}", "timestamp": START_MS + n}
        for n, kind in enumerate(kinds)
    )
    job.run()
    expected = {place for place, kind in zip(sent, kinds, strict=True) if kind in asking_types}
    assert places(job.recommendations()) == Counter(expected)
    assert job.errors() == []
