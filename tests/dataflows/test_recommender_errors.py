"""What becomes of clicks that fail, at each step of the main job, and of their neighbours."""

import io
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import fastavro
import numpy as np
import pytest

from streamrec.connectors.log import Outgoing
from streamrec.dataflows.job.topics import CLICKS
from streamrec.models.contract import Sessions
from streamrec.models.loading import Model
from streamrec.models.sessions.items import ItemTable
from streamrec.models.sessions.model import SessionModel
from streamrec.models.sessions.numbered import NumberedRanking, NumberedSessions
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.schemas.columns import Bytes
from streamrec.shop.faults import FOREIGN_SCHEMA, OLDER_SCHEMA
from tests.dataflows.main_job import START_MS, MainJob, places, reasons_by_place

MakeJob = Callable[..., MainJob]
HOUR_MS = 3_600_000


def test_error_keeps_the_original_and_says_where_and_why(make_job: MakeJob) -> None:
    job = make_job()
    original = job.encode(price_cents=-3)
    headers = [("trace", b"\x00\xff"), ("empty", b""), ("none", None), ("trace", b"again")]
    good, bad, tombstone = job.send(
        [
            (Outgoing(b"u1", job.encode()), None),
            (Outgoing(b"u1", original, headers, timestamp_ms=1_700_000_000_123), "invalid_value"),
            (Outgoing(None, None, timestamp_ms=1), "not_wire_format"),
        ]
    )

    job.run()

    errors = {error.place: error for error in job.errors()}
    assert errors.keys() == {bad, tombstone}
    error, topic = errors[bad], job.settings.topic(CLICKS)
    failed_at = error.fields.pop("failed_at")
    assert failed_at.year >= 2026
    message = (
        "step 'decode': field price_cents expected an integer from 0 to 1000000000000, got -3 "
        f"(topic {topic!r}, partition {bad[0]}, offset {bad[1]})"
    )
    timestamp = error.fields.pop("timestamp")
    assert round(timestamp.timestamp() * 1000) == 1_700_000_000_123
    assert error.fields == {
        "exception": "InvalidValueError",
        "message": message,
        "stacktrace": None,
        "topic": topic,
        "partition": bad[0],
        "offset": bad[1],
        "reason": "invalid_value",
        "dataflow": "recommender",
        "output_kind": "",
        "output_number": 0,
        "stage": "decode",
        "key": b"u1",
        "value": original,
        "headers": [{"name": name, "value": value} for name, value in headers],
    }
    assert error.record.key == b"u1"
    # KIP-1034's names, for tools that know Kafka Streams' dead letter queue.
    assert error.headers == [
        ("__streams.errors.exception", b"InvalidValueError"),
        ("__streams.errors.message", message.encode()),
        ("__streams.errors.topic", topic.encode()),
        ("__streams.errors.partition", str(bad[0]).encode()),
        ("__streams.errors.offset", str(bad[1]).encode()),
    ]
    assert errors[tombstone].record.key is None
    assert errors[tombstone].fields["value"] is None
    assert places(job.recommendations()) == Counter([good])


@pytest.mark.parametrize(
    ("poison", "reason", "message"),
    [
        (b"", "not_wire_format", "value expected magic byte 0, a schema id of 4 bytes and Avro"),
        (b"\x01\0\0\0\x01", "not_wire_format", "got 5 bytes b'\\x01\\x00\\x00\\x00\\x01'"),
        (b"\0\x77\x77\x77\x77rest", "unknown_schema_id", "that the registry knows, got 2004318071"),
        ("cut", "undecodable", "field item_id expected more bytes, got"),
        ("foreign", "fails_resolution", "item_id"),
        ({"user_id": "x" * 257}, "invalid_value", "field user_id expected a string of 1 to 256"),
        ({"timestamp": -1}, "invalid_value", "field timestamp expected Unix milliseconds > 0"),
        (
            {"timestamp": 4_000_000_000_000},
            "invalid_value",
            "at most 300 s ahead of the record's own",
        ),
        ({"timestamp": START_MS - HOUR_MS - 1}, "too_late", f"at least {START_MS - HOUR_MS}"),
    ],
)
def test_poison_in_mid_batch_leaves_its_neighbours_alone(
    embedded_job: MakeJob, poison: Any, reason: str, message: str
) -> None:
    job = embedded_job()
    if poison == "cut":
        value = job.encode()[:9]
    elif poison == "foreign":
        value = job.encode(job.ids.foreign)
    elif isinstance(poison, dict):
        value = job.encode(**poison)
    else:
        value = poison
    clicks = [(Outgoing(b"u1", job.encode(item_id=f"i{n}")), None) for n in range(40)]
    job.send([*clicks[:20], (Outgoing(b"u1", value), reason), *clicks[20:]])

    job.run()

    assert reasons_by_place(job.errors()) == job.sent.reasons
    assert message in job.errors()[0].fields["message"]
    recommendations = job.recommendations()
    assert places(recommendations) == Counter(job.sent.good())
    # Counted once each: nothing was processed twice, and nothing of the poison was counted.
    views = [answer.fields["features"][0] for answer in recommendations]
    assert sorted(views) == list(range(1, 41))


def test_late_click_within_the_longest_window_still_counts(embedded_job: MakeJob) -> None:
    job = embedded_job()
    job.send_clicks([{"timestamp": START_MS}, {"timestamp": START_MS - HOUR_MS}])
    job.run()
    assert job.errors() == []
    assert len(job.recommendations()) == 2


def test_writers_of_other_versions_are_read_in_one_batch(make_job: MakeJob) -> None:
    """An older writer, a newer one, and one whose enum has a symbol more, in turn on one key."""
    job = make_job()
    newer_schema = _with_newer_fields(job.topics[job.settings.topic(CLICKS)].schema)
    registry = job.log.registry()
    newer_id = registry.register("shop-newer-click", newer_schema).id
    registry.close()
    newer_value = _encode_newer(newer_schema, newer_id)
    assert '"session_id"' not in OLDER_SCHEMA and '"item_id"' not in FOREIGN_SCHEMA
    job.send(
        (Outgoing(b"u1", value), None)
        for value in [job.encode(), job.encode(job.ids.older), newer_value("view")] * 10
        + [newer_value("wishlist")]
    )

    job.run()

    assert job.errors() == []
    # `wishlist` is read as `other`, the enum's default, which asks for nothing.
    assert len(job.recommendations()) == 30


def _with_newer_fields(schema: str) -> str:
    record = json.loads(schema)
    for field in record["fields"]:
        if field["name"] == "event_type":
            field["type"]["symbols"].insert(1, "wishlist")
    record["fields"].insert(1, {"name": "device", "type": "string", "default": ""})
    record["fields"].append({"name": "depth", "type": ["null", "double"], "default": None})
    return json.dumps(record)


def _encode_newer(schema: str, schema_id: int) -> Callable[[str], bytes]:
    parsed = fastavro.parse_schema(json.loads(schema))

    def encode(event_type: str) -> bytes:
        out = io.BytesIO(b"\0" + schema_id.to_bytes(4, "big"))
        out.seek(5)
        click = {
            "user_id": "u1",
            "device": "phone",
            "item_id": "i1",
            "event_type": event_type,
            "timestamp": START_MS,
            "depth": 0.5,
        }
        fastavro.schemaless_writer(out, parsed, click)
        return out.getvalue()

    return encode


class FailsForOne(SessionRecommender):
    """Raises for sessions that end with `poison`; for those that end with `nan` a score is none."""

    def recommend(self, sessions: NumberedSessions, k: int) -> NumberedRanking:
        last = sessions.items[sessions.bounds[1:] - 1]
        ids = self.items.ids(last)
        texts = [ids.bytes_at(row) for row in range(len(last))]
        if b"poison" in texts:
            raise RuntimeError("no answer for poison \udcff")
        ranking = super().recommend(sessions, k)
        for row, text in enumerate(texts):
            if text == b"nan":
                ranking.scores[row, 0] = np.nan
        return ranking


def test_model_that_raises_for_a_click_answers_its_neighbours(
    embedded_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "streamrec.dataflows.steps.recommend.load_model",
        lambda *_: Model(SessionModel(FailsForOne())),
    )
    job = embedded_job()
    learned = job.send_clicks([{"item_id": "i0", "user_id": "u2"}])
    job.run()  # so that there is something to recommend
    items = [f"i{n}" for n in range(20)] + ["poison"] + [f"i{n}" for n in range(20)] + ["nan", "i0"]
    sent = job.send_clicks({"item_id": item, "timestamp": START_MS} for item in items)

    job.run()

    errors = {error.place: error.fields for error in job.errors()}
    poison, nan = sent[20], sent[41]
    assert {error["reason"] for error in errors.values()} == {"model_failed"}
    assert errors.keys() == {poison, nan}
    assert errors[poison]["exception"] == "RuntimeError"
    assert (
        "step 'recommend': model raised no answer for poison \\udcff" in errors[poison]["message"]
    )
    assert (
        "FailsForOne" in errors[poison]["stacktrace"] or "recommend" in errors[poison]["stacktrace"]
    )
    assert "scores expected finite numbers, got nan or infinity" in errors[nan]["message"]
    recommendations = job.recommendations()
    assert places(recommendations) == Counter({*learned, *sent} - {poison, nan})
    # The clicks that the model could not answer were still counted, once each.
    assert sorted(a.fields["features"][0] for a in recommendations)[-1] == len(items)


class FailsToLearn(SessionModel):
    """Raises for batches in which `poison` was clicked."""

    def learn(self, sessions: Sessions) -> None:
        if "poison" in sessions.ids():
            raise RuntimeError("cannot learn poison")
        super().learn(sessions)


def test_error_while_learning_leaves_the_answer_and_is_counted_with_its_place(
    embedded_job: MakeJob, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = FailsToLearn(SessionRecommender())
    monkeypatch.setattr("streamrec.dataflows.steps.recommend.load_model", lambda *_: Model(model))
    job = embedded_job()
    poisoned = job.send_clicks([{"item_id": "i0"}, {"item_id": "poison"}])
    job.run()
    after = job.send_clicks([{"item_id": "i1"}])
    job.run()

    assert job.errors() == []
    assert places(job.recommendations()) == Counter({*poisoned, *after})
    _, (partition, offset) = poisoned
    # The first click of a start is answered and learned by itself.
    told = "model session-recommender: 1 clicks may not have been learned (topic "
    assert told in caplog.text
    assert f"from partition {partition}, offset {offset} to partition {partition}" in caplog.text
    assert "; 1 in all" in caplog.text
    assert "cannot learn poison" in caplog.text


def test_recommendation_that_is_too_large_is_an_error_of_its_click(make_job: MakeJob) -> None:
    job = make_job(max_message_bytes=1_024)
    long_names = [f"{n:03d}".ljust(200, "x") for n in range(12)]
    job.send_clicks(
        {"item_id": name, "user_id": f"u{n % 3}", "timestamp": START_MS + n}
        for n, name in enumerate(long_names)
    )

    job.run()

    errors, recommendations = job.errors(), job.recommendations()
    assert places(errors) + places(recommendations) == Counter(job.sent.good())
    assert recommendations, "the first have few items in them and fit"
    assert {error.fields["reason"] for error in errors} == {"output_too_large"}
    assert {error.fields["stage"] for error in errors} == {"encode recommendations"}
    assert "record expected at most 1024 bytes, got " in errors[0].fields["message"]
    assert max(len(answer.record.value or b"") for answer in recommendations) <= 1_024


class NamesOneBadly(ItemTable):
    """Gives back bytes that are no UTF-8 for one item, as a broken artifact could."""

    def ids(self, numbers: Any) -> Bytes:
        found = super().ids(numbers)
        data = found.data.tobytes().replace(b"bad", b"\xff\xfe\xfd")
        return Bytes(np.frombuffer(data, np.uint8), found.starts, found.lengths)


def test_recommendation_that_cannot_be_encoded_is_an_error_of_its_click(
    embedded_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(*_: object) -> Model:
        recommender = SessionRecommender()
        recommender.items = NamesOneBadly(recommender.bounds.items_max, recommender.index.forget)
        return Model(SessionModel(recommender))

    monkeypatch.setattr("streamrec.dataflows.steps.recommend.load_model", make)
    job = embedded_job()
    first = job.send_clicks([{"item_id": "bad", "user_id": "u1"}])
    job.run()  # learns of the item only after it has answered
    second = job.send_clicks([{"item_id": "i1", "user_id": "u2"}])
    job.run()

    errors, recommendations = job.errors(), job.recommendations()
    assert places(recommendations) == Counter(first)
    assert reasons_by_place(errors) == dict.fromkeys(second, "output_unencodable")
    assert "step 'encode recommendations': field items" in errors[0].fields["message"]
