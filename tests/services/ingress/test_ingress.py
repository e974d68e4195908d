"""Events over HTTP onto both logs: what comes, what is written, and what is answered."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from streamrec.connectors.log import Log, Place, TopicSpec
from streamrec.connectors.making_topics import ensure_topics
from streamrec.dataflows.job.topics import CLICKS, IMPRESSIONS, OUTCOMES, Topic
from streamrec.services.http.app import Guard
from streamrec.services.http.limits import RequestLimits
from tests.services.ingress.serving import CLICK, Served, ingress

GIF = b"GIF89a"
NOW_MS = int(time.time() * 1_000)


def placed(answer: httpx.Response) -> Place:
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return Place(found["partition"], found["offset"])


def places(served: Served, topic: Topic | str = CLICKS) -> set[Place]:
    return {Place(r.partition, r.offset) for r in served.records(topic)}


def test_events_of_each_kind_stand_where_the_answer_says(log: Log, topic_name: str) -> None:
    click = {**CLICK, "timestamp": NOW_MS, "price_cents": 1999, "session_id": "s"}
    impression = {"recommendation_id": "clicks/0/7", "user_id": "u1", "items": ["a", "b"]}
    outcome = {"item_id": "b", "kind": "purchase", "value": 12.5}
    with ingress(log, topic_name) as served:
        client = served.client
        one = client.post("/clicks", json=click)
        assert one.json()["topic"] == served.topic(CLICKS)
        assert places(served) == {placed(one)}
        shown = placed(client.post("/impressions", json={**impression, "timestamp": NOW_MS}))
        assert places(served, IMPRESSIONS) == {shown}
        came = placed(client.post("/outcomes/clicks/0/7", json={**outcome, "timestamp": NOW_MS}))
        assert places(served, OUTCOMES) == {came}
        assert served.values() == [{**click, "category_id": None}]
        assert served.values(IMPRESSIONS) == [{**impression, "timestamp": NOW_MS, "surface": None}]
        assert served.values(OUTCOMES) == [
            {
                "recommendation_id": "clicks/0/7",
                **outcome,
                "user_id": None,
                "weight": None,
                "timestamp": NOW_MS,
            }
        ]
        keys = [served.records(t)[0].key for t in (CLICKS, IMPRESSIONS, OUTCOMES)]
        assert keys == [b"u1", b"clicks/0/7", b"clicks/0/7"]


def test_a_list_gets_a_result_for_each_in_order(log: Log, topic_name: str) -> None:
    events = [
        CLICK,
        {**CLICK, "user_id": 7},
        "no event",
        {**CLICK, "event_type": "look"},
        {**CLICK, "timestamp": 1_767_225_600},
        {**CLICK, "shoe_size": 43},
        {**CLICK, "user_id": "u2"},
    ]
    with ingress(log, topic_name) as served:
        answer = served.client.post("/clicks", json=events)
        assert answer.status_code == 207
        found = answer.json()
        assert found["written"] == 2
        told = [(each.get("status"), each.get("field")) for each in found["results"]]
        assert told == [
            (None, None),
            (422, "user_id"),
            (422, None),
            (422, "event_type"),
            (422, "timestamp"),
            (422, None),
            (None, None),
        ]
        assert "looks like seconds" in found["results"][4]["detail"]
        good = {Place(r["partition"], r["offset"]) for r in found["results"] if "offset" in r}
        assert places(served) == good
        assert served.client.post("/clicks", json=[CLICK] * 3).status_code == 200
        assert served.client.post("/clicks", json=[]).json() == {"written": 0, "results": []}


def test_lines_are_taken_one_by_one_and_named(embedded_log: Log, topic_name: str) -> None:
    lines = f'{json.dumps(CLICK)}\n\n{{"user_id": \n{json.dumps(CLICK)}\n'
    with ingress(embedded_log, topic_name) as served:
        answer = served.client.post(
            "/clicks", content=lines, headers={"content-type": "application/x-ndjson"}
        )
        assert answer.status_code == 207
        good, bad, last = answer.json()["results"]
        assert "offset" in good and "offset" in last
        assert bad["status"] == 400 and bad["place"].startswith("line 3, ")
        assert len(served.records()) == 2


def test_an_event_without_a_time_has_the_time_at_which_it_came(
    embedded_log: Log, topic_name: str
) -> None:
    with ingress(embedded_log, topic_name) as served:
        before_ms = time.time_ns() // 1_000_000
        served.client.post("/clicks", json=CLICK)
        (value,) = served.values()
        assert before_ms <= value["timestamp"] <= time.time_ns() // 1_000_000


def test_a_beacon_and_a_pixel_are_clicks_too(embedded_log: Log, topic_name: str) -> None:
    with ingress(embedded_log, topic_name) as served:
        client = served.client
        beacon = client.post(
            "/clicks", content=json.dumps(CLICK), headers={"content-type": "text/plain"}
        )
        assert beacon.status_code == 200
        pixel = client.get("/clicks.gif", params={**CLICK, "user_id": "p", "price_cents": "7"})
        assert (pixel.status_code, pixel.headers["content-type"]) == (200, "image/gif")
        assert pixel.content.startswith(GIF) and pixel.headers["cache-control"] == "no-store"
        bad = client.get("/clicks.gif", params={**CLICK, "timestamp": "yesterday"})
        assert (bad.status_code, bad.content) == (422, pixel.content)
        assert {v["user_id"]: v["price_cents"] for v in served.values()} == {"u1": None, "p": 7}


def test_an_event_id_counts_once_also_in_a_list_and_after_a_start(
    log: Log, topic_name: str
) -> None:
    with ingress(log, topic_name) as served:
        client = served.client
        first = client.post("/clicks", json={**CLICK, "event_id": "e1"})
        again = client.post("/clicks", json={**CLICK, "event_id": "e1"})
        assert placed(first) == placed(again)
        assert again.json()["duplicate"] is True and "duplicate" not in first.json()
        by_header = client.post("/clicks", json=CLICK, headers={"idempotency-key": "e1"})
        assert by_header.json()["duplicate"] is True
        some = client.post("/clicks", json=[{**CLICK, "event_id": e} for e in ("e1", "e2", "e2")])
        assert [each.get("duplicate") for each in some.json()["results"]] == [True, None, True]
        # The same id is another event where it is of another topic.
        other = {"recommendation_id": "r", "user_id": "u", "items": ["i"], "event_id": "e1"}
        assert "duplicate" not in client.post("/impressions", json=other).json()
        assert len(served.records()) == 2
        assert [r.headers for r in served.records()] == [
            [("event-id", b"e1")],
            [("event-id", b"e2")],
        ]
    with ingress(log, topic_name) as served:
        after = served.client.post("/clicks", json={**CLICK, "event_id": "e1"})
        assert after.json()["duplicate"] is True and placed(after) == placed(first)
        assert len(served.records()) == 2


def test_an_event_id_is_its_users_own(log: Log, topic_name: str) -> None:
    """What one client calls an event says nothing of another's, after a start neither."""
    sent = [{**CLICK, "user_id": user, "event_id": "1"} for user in ("u1", "u2", "u1")]
    with ingress(log, topic_name) as served:
        found = served.client.post("/clicks", json=sent).json()["results"]
        assert [each.get("duplicate") for each in found] == [None, None, True]
        assert len(served.records()) == 2
    with ingress(log, topic_name) as served:
        for event in (*sent, {**CLICK, "user_id": "u3", "event_id": "1"}):
            served.client.post("/clicks", json=event)
        assert len(served.records()) == 3


def test_looking_whether_the_pixel_is_there_is_no_click(embedded_log: Log, topic_name: str) -> None:
    with ingress(embedded_log, topic_name) as served:
        assert served.client.head("/clicks.gif", params=CLICK).status_code == 405
        odd = served.client.get("/clicks.gif", params={**CLICK, "price_cents": "--5"})
        assert odd.status_code == 422
        assert served.records() == []


def test_the_same_event_sent_by_many_at_once_is_written_once(log: Log, topic_name: str) -> None:
    with ingress(log, topic_name) as served:

        async def send_all() -> list[Any]:
            base = str(served.client.base_url)
            async with httpx.AsyncClient(base_url=base, timeout=20) as client:
                event = {**CLICK, "event_id": "same"}
                answers = await asyncio.gather(
                    *(client.post("/clicks", json=event) for _ in range(20))
                )
                return [answer.json() for answer in answers]

        found = asyncio.run(send_all())
        assert len(served.records()) == 1
        assert {(each["partition"], each["offset"]) for each in found} == {
            (r.partition, r.offset) for r in served.records()
        }
        assert sum("duplicate" not in each for each in found) == 1


@pytest.mark.parametrize("event_id", [7, "", "x" * 129, "ü" * 65])
def test_an_event_id_that_is_none_is_refused(
    embedded_log: Log, topic_name: str, event_id: Any
) -> None:
    with ingress(embedded_log, topic_name) as served:
        answer = served.client.post("/clicks", json={**CLICK, "event_id": event_id})
        assert (answer.status_code, answer.json()["field"]) == (422, "event_id")
        assert served.records() == []


def test_a_bot_is_flagged_and_a_trace_is_carried(embedded_log: Log, topic_name: str) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with ingress(embedded_log, topic_name) as served:
        agent = {"user-agent": "Mozilla/5.0 (compatible; Googlebot/2.1)"}
        served.client.post("/clicks", json=CLICK, headers={**agent, "traceparent": trace})
        served.client.post("/clicks", json=CLICK, headers={"traceparent": "no trace"})
        first, second = served.records()
        assert first.headers == [("bot", b"1"), ("traceparent", trace.encode())]
        assert second.headers == []


@pytest.mark.parametrize("header", [{"dnt": "1"}, {"sec-gpc": "1"}])
def test_who_asks_not_to_be_tracked_is_nobody(
    embedded_log: Log, topic_name: str, header: dict[str, str]
) -> None:
    with ingress(embedded_log, topic_name, cookie="sid") as served:
        answer = served.client.post("/clicks", json=CLICK, headers=header)
        assert "set-cookie" not in answer.headers
        served.client.post("/clicks", json=CLICK, headers=header)
        users = {value["user_id"] for value in served.values()}
        assert len(users) == 2 and "u1" not in users


def test_a_cookie_says_who_it_is_where_the_event_does_not(
    embedded_log: Log, topic_name: str
) -> None:
    nobody = {"item_id": "i1", "event_type": "view"}
    with ingress(embedded_log, topic_name, cookie="sid", host="shop.example") as served:
        answer = served.client.post("/clicks", json=nobody)
        said = answer.headers["set-cookie"]
        assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"} <= set(said.split("; "))
        sid = said.split(";")[0].partition("=")[2]
        again = served.client.post("/clicks", json=nobody, headers={"cookie": f"a=b; sid={sid}"})
        assert "set-cookie" not in again.headers
        served.client.post("/clicks", json=CLICK, headers={"cookie": f"sid={sid}"})
        assert [value["user_id"] for value in served.values()].count(sid) == 2
        assert [value["user_id"] for value in served.values()].count("u1") == 1
        forged = served.client.post("/clicks", json=nobody, headers={"cookie": "sid=a b"})
        assert forged.status_code == 200 and sid not in forged.headers["set-cookie"]


def test_records_of_allowed_topics_are_json_bytes_or_avro(log: Log, topic_name: str) -> None:
    plain, avro = f"{topic_name}-plain", f"{topic_name}-avro"
    schema = '{"type":"record","name":"Order","fields":[{"name":"id","type":"long"}]}'
    ensure_topics(log, [TopicSpec(plain, 2), TopicSpec(avro, 2)], {avro: schema})
    with ingress(log, topic_name, topics=(plain, avro)) as served:
        client = served.client
        image = client.post(
            f"/topics/{plain}", content=b"\x89PNG\0", headers={"content-type": "image/png"}
        )
        assert placed(image) in places(served, plain)
        text = client.post(f"/topics/{plain}?record_key=k", json={"a": 1})
        lines = client.post(
            f"/topics/{plain}",
            content=b'{"a": 2}\n[3]\n',
            headers={"content-type": "application/x-ndjson", "x-record-key": "k"},
        )
        assert text.status_code == lines.status_code == 200
        found = {r.value: (r.key, dict(r.headers)["content-type"]) for r in served.records(plain)}
        assert found == {
            b"\x89PNG\0": (None, b"image/png"),
            b'{"a":1}': (b"k", b"application/json"),
            b'{"a": 2}': (b"k", b"application/json"),
            b"[3]": (b"k", b"application/json"),
        }
        assert client.post(f"/topics/{avro}", json={"id": 5}).status_code == 200
        (record,) = served.records(avro)
        assert record.value is not None and record.value[:1] == b"\0"
        assert record.value[5:] == b"\x0a"
        unfit = client.post(f"/topics/{avro}", json={"id": "five"})
        assert (unfit.status_code, unfit.json()["field"]) == (422, "id")
        other = client.post(f"/topics/{served.topic(CLICKS)}", json=1)
        assert other.status_code == 404
        broken = client.post(
            f"/topics/{plain}", content=b"{", headers={"content-type": "application/json"}
        )
        assert broken.status_code == 400


def test_lists_are_bounded(embedded_log: Log, topic_name: str) -> None:
    guard = Guard(limits=RequestLimits(events=3))
    with ingress(embedded_log, topic_name, guard) as served:
        assert served.client.post("/clicks", json=[CLICK] * 4).status_code == 413
        assert served.records() == []


def test_what_the_schema_or_the_rules_refuse_shows_no_personal_value(
    embedded_log: Log, topic_name: str
) -> None:
    secret = "personal-" + "x" * 300
    with ingress(embedded_log, topic_name) as served:
        for event in (
            {**CLICK, "user_id": secret},
            {**CLICK, "price_cents": secret},
            {**CLICK, "category_id": {"a": secret}},
            {**CLICK, "event_type": secret},
            secret,
            [secret],
        ):
            answer = served.client.post("/clicks", json=event)
            assert answer.status_code in (207, 422)
            assert "personal" not in answer.text


def test_ingress_says_that_it_is_not_ready_until_its_topics_are_made(
    embedded_log: Log, topic_name: str
) -> None:
    with ingress(embedded_log, topic_name, made=False) as served:
        answer = served.client.get("/health/ready")
        assert answer.status_code == 503 and "schemas are not known" in answer.json()["detail"]
        assert served.client.get("/health/live").status_code == 200
        refused = served.client.post("/clicks", json=CLICK)
        assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
        assert refused.headers["content-type"] == "application/problem+json"


def test_ingress_describes_itself(embedded_log: Log, topic_name: str) -> None:
    with ingress(embedded_log, topic_name) as served:
        described = served.client.get("/openapi.json").json()
    assert set(described["paths"]) >= {
        "/clicks",
        "/clicks.gif",
        "/impressions",
        "/outcomes/{recommendation_id}",
        "/topics/{name}",
        "/pipelines/{name}",
    }
    body = described["paths"]["/clicks"]["post"]["requestBody"]["content"]["application/json"]
    one, many = body["schema"]["anyOf"]
    assert one["required"] == ["user_id", "item_id", "event_type"]
    assert many["items"] == one
