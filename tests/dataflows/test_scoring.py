"""The scoring dataflow on the embedded log: what comes out for clicks that go in, good and bad."""

import io
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from bytewax.testing import run_main

from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Log, Outgoing
from streamrec.connectors.reading import read_all
from streamrec.dataflows.job.opening import open_job_with
from streamrec.dataflows.job.settings import Settings, load_settings
from streamrec.dataflows.job.topics import CLICKS, make_all, topic_named
from streamrec.dataflows.scoring import FLOW_ID, build_flow
from streamrec.dataflows.steps.score import scoring_features
from streamrec.models.artifact import BadArtifact
from streamrec.models.propensity import PROPENSITY_FILE, load_propensity, save_propensity
from streamrec.models.users.features import EVENT_TYPES
from streamrec.shop.sending import send_shop
from streamrec.shop.shop import Shop, ShopBatch

MINUTE_MS = 60_000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(embedded_log_path=tmp_path / "log.sqlite", follow=False, shards=3)


@pytest.fixture
def log(settings: Settings) -> Log:
    log = open_log(settings)
    make_all(log, settings.topics())
    return log


def shop_batches(log: Log, clicks: int) -> list[ShopBatch]:
    """What was put on the topic."""
    sent = send_shop(
        log,
        CLICKS.name,
        lambda ids: Shop(seed=3, clicks=clicks, schema_ids=ids, broken_share=0.03),
    )
    return [batch.records for batch in sent]


def received(log: Log, topic: str) -> list[dict[str, Any]]:
    """The records of a topic, by fastavro."""
    row = topic_named(topic)
    assert row is not None
    schema = fastavro.parse_schema(json.loads(row.schema))
    found: list[dict[str, Any]] = []
    for stored in read_all(log, topic):
        assert stored.value is not None
        record = fastavro.schemaless_reader(io.BytesIO(stored.value[5:]), schema, None)
        assert isinstance(record, dict)
        found.append(record)
    return found


def test_each_click_gives_one_score_or_one_error(settings: Settings, log: Log) -> None:
    batches = shop_batches(log, 20_000)

    run_main(build_flow(open_job_with(FLOW_ID, settings)))  # type: ignore[no-untyped-call]  # bytewax leaves it so

    scores, errors = received(log, "scores"), received(log, "errors")
    sources = {(score["source_partition"], score["source_offset"]) for score in scores}
    assert len(sources) == len(scores) == sum(int(batch.is_good().sum()) for batch in batches)
    expected: Counter[str] = sum((batch.error_counts() for batch in batches), Counter())
    assert Counter(error["reason"] for error in errors) == expected


def test_score_is_the_logistic_of_counts_recounted_by_hand(settings: Settings, log: Log) -> None:
    start_ms = 1_767_225_600_000
    registry = log.registry()
    header = b"\0" + registry.latest("clicks-value").id.to_bytes(4, "big")
    schema = fastavro.parse_schema(json.loads(CLICKS.schema))
    rng = np.random.default_rng(5)
    times_ms = start_ms + np.cumsum(rng.integers(0, 40_000, 300))
    clicks = [
        (f"u{rng.integers(3)}", EVENT_TYPES[rng.integers(5)], int(time_ms)) for time_ms in times_ms
    ]
    writer = log.writer()
    for user, event_type, time_ms in clicks:
        value = io.BytesIO()
        click = {"user_id": user, "item_id": "i", "event_type": event_type, "timestamp": time_ms}
        fastavro.schemaless_writer(value, schema, click)
        writer.write("clicks", [Outgoing(user.encode(), header + value.getvalue())])
    writer.close()

    run_main(build_flow(open_job_with(FLOW_ID, settings)))  # type: ignore[no-untyped-call]  # bytewax leaves it so

    model = load_propensity(PROPENSITY_FILE, scoring_features().names)
    past: dict[str, list[tuple[str, int]]] = defaultdict(list)
    wanted = {}
    for user, event_type, time_ms in clicks:
        past[user].append((event_type, time_ms))
        counts = [
            sum(
                kind == wanted_kind and t // bucket_ms > time_ms // bucket_ms - 12
                for kind, t in past[user]
            )
            for bucket_ms in (MINUTE_MS // 12, 10 * MINUTE_MS // 12, 60 * MINUTE_MS // 12)
            for wanted_kind in EVENT_TYPES[:4]
        ]
        score = 1 / (1 + np.exp(-(model.intercept + np.dot(model.coefficients, counts))))
        wanted[user, time_ms, len(past[user])] = (counts, score)
    got: dict[Any, Any] = {}
    seen: Counter[str] = Counter()
    for record in sorted(received(log, "scores"), key=lambda r: r["source_offset"]):
        seen[record["user_id"]] += 1
        time_ms = int(record["scored_at"].timestamp() * 1000)
        key = (record["user_id"], time_ms, seen[record["user_id"]])
        got[key] = (record["features"], pytest.approx(record["score"], rel=1e-5))
    assert got == wanted


def test_model_for_other_features_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    save_propensity(path, ["a", "b"], np.array([1.0, 2.0]), 0.5)

    assert load_propensity(path, ["a", "b"]).coefficients.tolist() == [1.0, 2.0]
    with pytest.raises(BadArtifact, match="expected coefficients of b, a, got a, b"):
        load_propensity(path, ["b", "a"])


@pytest.mark.parametrize("text", ["", "[]", '{"intercept": 0.5}', '{"coefficients": {"a": 1}}'])
def test_file_that_is_no_model_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.json"
    path.write_text(text)

    with pytest.raises(BadArtifact, match="expected intercept and coefficients"):
        load_propensity(path, ["a"])
