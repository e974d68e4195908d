"""What the API answers of users, over the real log, store and server."""

import time

import httpx
import pytest

from streamrec.dataflows.job.topics import IMPRESSIONS
from streamrec.models.users.features import declared
from tests.services.api.conftest import REGULAR, World


def items(reply: httpx.Response) -> list[str]:
    assert reply.status_code == 200, reply.text
    return [item["item_id"] for item in reply.json()["items"]]


def test_a_user_is_given_the_newest_recommendation_as_the_topic_has_it(
    api: httpx.Client, world: World
) -> None:
    wanted = world.answers["u7"]

    answer = api.get("/recommendations/u7").json()

    assert answer["kind"] == "user"
    assert [(i["item_id"], i["score"]) for i in answer["items"]] == [
        (i["item_id"], pytest.approx(i["score"])) for i in wanted["items"]
    ]
    assert (answer["model"], answer["version"]) == (wanted["model_name"], wanted["model_version"])
    assert answer["recommendation_id"] == wanted["recommendation_id"]
    assert answer["source"] == {
        "topic": "clicks",
        "partition": wanted["source_partition"],
        "offset": wanted["source_offset"],
    }
    age_ms = (time.time() - wanted["requested_at"].timestamp()) * 1_000
    assert answer["age_ms"] == pytest.approx(age_ms, abs=10_000)


def test_a_user_who_is_not_known_is_given_what_is_popular(api: httpx.Client) -> None:
    answer = api.get("/recommendations/nobody").json()

    assert answer["kind"] == "popular"
    assert [i["item_id"] for i in answer["items"]] == items(api.get("/popular"))
    assert len(answer["items"]) == 20
    assert answer["source"]["topic"] == "sessions"
    assert sum(answer["source"]["offsets"].values()) > 0


def test_what_is_excluded_leaves_the_list_full(api: httpx.Client, world: World) -> None:
    wanted = [item["item_id"] for item in world.answers["u7"]["items"]]
    excluded = wanted[:15]

    found = items(api.get("/recommendations/u7", params={"exclude": ",".join(excluded)}))

    assert found[: len(wanted) - 15] == wanted[15:]
    assert len(found) == min(20, 30 - 15)  # there are 30 items
    assert not set(found) & set(excluded)
    assert len(set(found)) == len(found)


def test_pages_go_on_where_the_one_before_ended(api: httpx.Client) -> None:
    whole = items(api.get("/recommendations/u7", params={"n": 30}))
    pages, begin = [], 0
    while begin is not None:
        answer = api.get("/recommendations/u7", params={"n": 7, "from": begin}).json()
        pages += [item["item_id"] for item in answer["items"]]
        begin = answer["next"]

    assert pages == whole
    assert len(set(whole)) == 30


def test_reasons_are_told_in_words(api: httpx.Client, world: World) -> None:
    answer = api.get("/recommendations/u7", params={"explain": "true", "n": 200}).json()

    names = world.answers["u7"]["method_names"].split(",")
    bits = {item["item_id"]: item["methods"] for item in world.answers["u7"]["items"]}
    by_id = {item["item_id"]: item for item in answer["items"]}
    for item_id, methods in bits.items():
        told = by_id[item_id]
        assert told["methods"] == [name for n, name in enumerate(names) if methods >> n & 1]
        assert len(told["because"]) == len(told["methods"]) > 0
    viewed = next(each for each in answer["features"] if each["name"] == "count_view_1m")
    assert viewed["value"] == 10
    assert viewed["meaning"] == "view events of the user in the last 1m, this one included"
    assert all(each["value"] for each in answer["features"])
    seen = by_id[world.answers["u7"]["item_id"]]["because"]
    assert "the user has looked at it in this session" in seen
    fillers = [item for item in answer["items"] if item["item_id"] not in bits]
    assert fillers and all(item["score"] is None for item in fillers)
    assert {item["because"][0] for item in fillers} == {"nothing better is left: many click it now"}


def test_what_will_be_seen_is_an_impression(api: httpx.Client, world: World) -> None:
    answer = api.get("/recommendations/u8", params={"seen": "true", "n": 3}).json()
    anonymous = api.post("/recommendations", json={"session": ["i1"], "seen": True, "n": 2}).json()

    first, second = world.records(world.settings.topic(IMPRESSIONS))[-2:]
    if first["user_id"] != "u8":
        first, second = second, first
    assert first["items"] == [item["item_id"] for item in answer["items"]]
    assert first["recommendation_id"] == world.answers["u8"]["recommendation_id"]
    assert answer["impression"]["topic"] == "impressions"
    assert second["recommendation_id"] == anonymous["recommendation_id"]
    assert second["items"] == [item["item_id"] for item in anonymous["items"]]


def test_a_user_is_told_with_features_session_and_history(api: httpx.Client, world: World) -> None:
    answer = api.get("/users/u7").json()

    clicks = [click for click in REGULAR if click["user_id"] == "u7"][::-1]
    history = [{"item_id": c["item_id"], "timestamp": c["timestamp"]} for c in clicks]
    assert answer["history"] == answer["session"] == history
    wanted = dict(
        zip(declared(world.settings.windows).names, world.answers["u7"]["features"], strict=True)
    )
    assert answer["features"] == pytest.approx(wanted)
    assert answer["feature_set"] == world.answers["u7"]["feature_set"]


def test_a_user_without_a_recommendation_is_not_found(api: httpx.Client) -> None:
    reply = api.get("/users/nobody")

    assert reply.status_code == 404
    assert reply.json()["detail"] == "user expected one with a recommendation, got another"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"n": "0"}, "n"),
        ({"n": "201"}, "n"),
        ({"n": "many"}, "n"),
        ({"from": "-1"}, "from"),
        ({"explain": "perhaps"}, "explain"),
        ({"seen": "2"}, "seen"),
        ({"exclude": ",".join(["i"] * 1_001)}, "exclude"),
    ],
)
def test_a_field_that_does_not_fit_is_named(
    api: httpx.Client, query: dict[str, str], field: str
) -> None:
    for path in ("/recommendations/u7", "/popular", "/latest", "/items/i1/neighbours"):
        reply = api.get(path, params=query)

        assert reply.status_code == 422, path
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.json()["field"] == field


def test_ids_that_are_escaped_are_taken_as_they_are(api: httpx.Client) -> None:
    reply = api.get("/recommendations/a%2Fb%20c")

    assert reply.json()["user_id"] == "a/b c"
    assert api.get(f"/recommendations/{'u' * 1_025}").status_code == 422
