"""No clock of ours, no neighbour and no wrong clock of a producer decides on a click."""

import itertools
import time
from collections.abc import Callable
from contextlib import closing

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from streamrec.connectors.log import Outgoing, RawBatch
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.topics import CLICKS, ERRORS, RECOMMENDATIONS, SESSIONS
from streamrec.dataflows.steps.decode import DecodeClicks
from streamrec.schemas.wire import WireDecoder
from tests.dataflows.main_job import START_MS, MainJob, Place, reasons_by_place

MakeJob = Callable[..., MainJob]

BY_NAME = {
    "clicks": CLICKS,
    "recommendations": RECOMMENDATIONS,
    "errors": ERRORS,
    "sessions": SESSIONS,
}
MINUTE_MS = 60_000
COUNT = 60
# Of one partition: click by click minutes ahead of the log's time, and the log's own in no order.
AHEAD_MIN = [(7 * n) % 10 for n in range(COUNT)]
WRITTEN_MIN = [(11 * n) % 23 for n in range(COUNT)]


TEN_YEARS_MS = 10 * 365 * 24 * 60 * MINUTE_MS


def as_brokers_before_4(job: MainJob) -> None:
    """Let the topic of clicks take any timestamp."""
    if job.settings.backend == "kafka":
        name, most = "message.timestamp.after.max.ms", str(2**63 - 1)
        entry = ConfigEntry(name, most, incremental_operation=AlterConfigOpType.SET)
        topic = job.settings.topic(CLICKS)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        admin = AdminClient(job.settings.librdkafka())
        admin.incremental_alter_configs([resource])[resource].result(10)


@pytest.mark.parametrize("at", [0, 30])
def test_a_record_whose_own_time_and_log_time_are_ten_years_ahead_harms_nobody(
    make_job: MakeJob, at: int
) -> None:
    """A broker before 4.0 takes it by default. It is answered itself, being a click like others."""
    job = make_job()
    as_brokers_before_4(job)
    clicks = []
    for n in range(60):
        ordinary = f"u{n % 25}", START_MS + n * MINUTE_MS
        far = "wrong", START_MS + TEN_YEARS_MS
        for user, time_ms in (far, ordinary) if n == at else (ordinary,):
            value = job.encode(user_id=user, timestamp=time_ms)
            # Under one key, so that all are of one partition.
            clicks.append((Outgoing(b"one key", value, timestamp_ms=time_ms), None))
    job.send(clicks)
    job.run()
    job.send_clicks([{"user_id": "wrong", "timestamp": START_MS + 61 * MINUTE_MS}])
    job.run()

    assert job.errors() == []
    assert {answer.place for answer in job.recommendations()} == job.sent.good()


def outcome(job: MainJob) -> tuple[dict[Place, list[float]], dict[Place, str]]:
    features = {answer.place: answer.fields["features"] for answer in job.recommendations()}
    return features, reasons_by_place(job.errors())


def test_clock_does_not_touch_features_or_lateness(
    embedded_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run with the right time, one with a clock that jumps by days, back and forth."""

    def send(job: MainJob) -> None:
        clicks = []
        for n in range(400):
            user, written_ms = f"u{n % 12}", START_MS + n * MINUTE_MS
            ahead_ms = (0, 290_000, -7_000_000, 310_000)[n % 4]  # too late, and too far ahead
            value = job.encode(user_id=user, timestamp=written_ms + ahead_ms)
            clicks.append((Outgoing(user.encode(), value, timestamp_ms=written_ms), None))
        job.send(clicks)

    right = embedded_job()
    send(right)
    right.run()
    expected = outcome(right)
    assert {"too_late", "invalid_value"} == set(expected[1].values())

    other = embedded_job(
        **{f"{name}_topic": f"{right.settings.topic(topic)}-2" for name, topic in BY_NAME.items()},
        consumer_group="other",
    )
    send(other)
    now, calls = time.time, itertools.count()
    monkeypatch.setattr(time, "time", lambda: now() + 864_000 * (-1) ** next(calls))
    other.run()

    assert next(calls) > 0
    assert outcome(other) == expected


@pytest.fixture
def job(make_job: MakeJob) -> MainJob:
    job = make_job(max_ahead_s=5 * 60)
    messages = []
    for ahead, written in zip(AHEAD_MIN, WRITTEN_MIN, strict=True):
        written_ms = START_MS + written * MINUTE_MS
        value = job.encode(timestamp=written_ms + ahead * MINUTE_MS)
        messages.append((Outgoing(b"u1", value, timestamp_ms=written_ms), None))
    job.send(messages)
    return job


def too_far_ahead(job: MainJob, batches: list[list[RawBatch]]) -> list[int]:
    """Offsets of what `decode` refuses."""
    with closing(job.log.registry()) as registry:
        decoder = WireDecoder(CLICKS.schema, registry.by_id)
        decode = DecodeClicks(lambda: decoder, 1, 4, job.settings.max_ahead_s)
        out = [item for batch in batches for item in decode(batch)]
    return [item.offset for item in out if isinstance(item, Failed)]


def test_every_click_is_judged_alike_in_whatever_batch_it_is_read(job: MainJob) -> None:
    partition = next(iter(job.sent.values))[0]
    expected = [offset for offset, ahead in enumerate(AHEAD_MIN) if ahead > 5]
    assert 0 < len(expected) < COUNT
    for size in (1, 2, 3, 7, COUNT):
        with closing(job.log.reader()) as reader:
            reader.assign(job.settings.topic(CLICKS), {partition: 0})
            batches: list[list[RawBatch]] = []
            while sum(len(batch) for polled in batches for batch in polled) < COUNT:
                if polled := reader.poll(size, 10.0):
                    batches.append(polled)
        assert len(batches) >= COUNT // size
        assert too_far_ahead(job, batches) == expected, f"batches of {size}"
        assert too_far_ahead(job, [[b for polled in batches for b in polled]]) == expected
