"""What the API answers of sessions and items, by the index that follows the topic of sessions."""

from contextlib import closing
from typing import Any

import httpx
import pytest

from streamrec.dataflows.job.topics import SESSIONS
from streamrec.services.api import live
from streamrec.services.api.app import ApiApp
from tests.connectors.log_reading import wait_until
from tests.services.api.conftest import World, until_ready
from tests.services.http.serving import served


def items(reply: httpx.Response) -> list[str]:
    assert reply.status_code == 200, reply.text
    return [item["item_id"] for item in reply.json()["items"]]


def kind_of(item_id: str) -> int:
    """Users of the world look at items of one kind only."""
    return int(item_id[1:]) % 3


def test_a_session_in_the_request_is_answered_without_a_user(api: httpx.Client) -> None:
    answer = api.post("/recommendations", json={"session": ["i0", "i3"], "n": 5}).json()

    assert answer["kind"] == "session"
    assert [kind_of(item["item_id"]) for item in answer["items"]] == [0] * 5
    assert (answer["model"], answer["source"]["topic"]) == ("session-recommender", "sessions")
    assert answer["age_ms"] is not None


def test_clicks_of_a_session_may_have_times(api: httpx.Client) -> None:
    clicks = [{"item_id": "i1", "timestamp": 1_767_225_600_000}, {"item_id": "i4"}]

    found = items(api.post("/recommendations", json={"session": clicks, "n": 4}))

    assert {kind_of(item) for item in found} == {1}


def test_an_empty_session_and_one_of_unknown_items_are_given_what_is_popular(
    api: httpx.Client,
) -> None:
    popular = items(api.get("/popular", params={"n": 10}))

    for session in ([], ["never clicked"]):
        body = {"session": session, "n": 10}
        assert items(api.post("/recommendations", json=body)) == popular


def test_a_question_teaches_nothing(api: httpx.Client) -> None:
    before = api.get("/latest").json()["items"]
    for _ in range(3):
        api.post("/recommendations", json={"session": ["made up"]})

    assert api.get("/items/made%20up/neighbours").status_code == 404
    assert api.get("/latest").json()["items"] == before


def test_a_session_is_answered_without_what_it_excludes_and_full(api: httpx.Client) -> None:
    excluded = [f"i{n}" for n in range(0, 30, 3)][:8]
    body = {"session": ["i0", "i3"], "n": 10, "exclude": excluded, "explain": True}

    answer = api.post("/recommendations", json=body).json()

    found = [item["item_id"] for item in answer["items"]]
    assert len(found) == len(set(found)) == 10
    assert not set(found) & set(excluded)
    assert all(item["because"] for item in answer["items"])


def test_given_items_are_ranked_for_a_session_or_a_user(api: httpx.Client) -> None:
    given = ["i2", "i1", "never clicked", "i0", "i9"]

    by_session = api.post("/rank", json={"items": given, "session": ["i0", "i3", "i6"]}).json()
    by_user = items(api.post("/rank", json={"items": given, "user_id": "u3"}))

    found = [item["item_id"] for item in by_session["items"]]
    assert sorted(found) == sorted(given)
    assert {kind_of(item) for item in found[:2]} == {0}
    assert found[-1] == "never clicked"
    assert {kind_of(item) for item in by_user[:2]} == {0}  # as all that this user looked at


def test_neighbours_of_an_item_are_of_the_same_sessions(api: httpx.Client) -> None:
    found = items(api.get("/items/i7/neighbours", params={"n": 9}))

    assert len(found) == 9
    assert {kind_of(item) for item in found} == {1}
    assert "i7" not in found


def test_an_item_that_was_never_clicked_is_not_found(api: httpx.Client) -> None:
    reply = api.get("/items/i999/neighbours")

    assert reply.status_code == 404
    assert reply.json()["detail"] == "item expected one that was clicked, got another"


def test_popular_and_latest_hold_each_item_once(api: httpx.Client, world: World) -> None:
    every = {f"i{n}" for n in range(30)}

    for path in ("/popular", "/latest"):
        found = items(api.get(path, params={"n": 200}))
        assert len(found) == len(set(found)) and set(found) == every
        paged = items(api.get(path, params={"n": 10})) + items(
            api.get(path, params={"n": 30, "from": 10})
        )
        assert paged == found


def test_latest_begins_with_what_was_clicked_for_the_first_time_last(
    api: httpx.Client, world: World
) -> None:
    scores = [item["score"] for item in api.get("/latest", params={"n": 200}).json()["items"]]

    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < scores[0] <= 0


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/recommendations", {"session": "i1"}, "session"),
        ("/recommendations", {"session": [1]}, "session[0]"),
        ("/recommendations", {"session": ["i1", {"item": "i2"}]}, "session[1].item_id"),
        (
            "/recommendations",
            {"session": [{"item_id": "i1", "timestamp": "now"}]},
            "session[0].timestamp",
        ),
        ("/recommendations", {"session": ["i"] * 201}, "session"),
        ("/recommendations", {"n": "5"}, "n"),
        ("/recommendations", {"exclude": "i1"}, "exclude"),
        ("/recommendations", {"user_id": ""}, "user_id"),
        ("/rank", {}, "items"),
        ("/rank", {"items": []}, "items"),
        ("/rank", {"items": ["i1", None]}, "items[1]"),
    ],
)
def test_a_field_of_a_body_that_does_not_fit_is_named(
    api: httpx.Client, path: str, body: dict[str, Any], field: str
) -> None:
    reply = api.post(path, json=body)

    assert reply.status_code == 422, reply.text
    assert reply.json()["field"] == field


def test_a_body_that_is_no_object_is_told(api: httpx.Client) -> None:
    reply = api.post("/rank", json=["i1"])

    assert (reply.status_code, reply.json()["detail"]) == (
        422,
        "body expected an object, got another kind of value",
    )


def sources(client: httpx.Client) -> list[int]:
    """How many records of sessions each answer says that it is made of."""
    body = {"session": ["i1"], "items": ["i2"]}
    replies = [
        client.post("/recommendations", json=body),
        client.post("/rank", json=body),
        client.get("/items/i1/neighbours"),
        client.get("/popular"),
        client.get("/latest"),
    ]
    return [sum(reply.json()["source"]["offsets"].values()) for reply in replies]


@pytest.mark.parametrize(("kept_s", "old_s", "late"), [(1e9, 0.0, 2), (0.0, 0.0, 0)])
def test_an_answer_says_what_it_is_made_of_and_lists_that_are_old_are_not_told(
    world: World, monkeypatch: pytest.MonkeyPatch, kept_s: float, old_s: float, late: int
) -> None:
    monkeypatch.setattr(live, "_KEPT_S", kept_s)
    monkeypatch.setattr(live, "_OLD_S", old_s)
    topic, app = world.settings.topic(SESSIONS), ApiApp(world.job.log, world.settings)
    with served(app.http) as client:
        until_ready(client)
        before = sources(client)[0]
        with closing(world.job.log.writer()) as writer:
            writer.write_columns(topic, 0, [b"another"], [b"passed over"])
        table = app._loaded().table
        wait_until(lambda: table is not None and sum(table.positions.values()) == before + 1)

        assert sources(client) == [before + 1] * (5 - late) + [before] * late
