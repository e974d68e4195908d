"""The log, or the registry, is away: nothing acknowledged is lost, nobody waits for long."""

import asyncio
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from streamrec.connectors.backend import open_log
from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.connectors.local.kafka import LocalKafka, local_kafka
from streamrec.connectors.log import Log, Place
from streamrec.connectors.log_settings import LogSettings
from streamrec.connectors.patience import Patience
from streamrec.services.ingress.event_ids import EVENT_ID
from tests.connectors.log_reading import wait_until
from tests.dataflows.faults.conftest import small_disk as small_disk
from tests.dataflows.faults.disks import fill
from tests.services.ingress.serving import CLICK, Served, ingress


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process has the embedded log's file for itself."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


class Sending:
    """Requests of their own threads, so that a test may look at others meanwhile."""

    def __init__(self, served: Served) -> None:
        self._url = str(served.client.base_url)
        self.answers: list[httpx.Response] = []
        self._threads: list[threading.Thread] = []

    def begin(self, event: Any) -> None:
        thread = threading.Thread(target=self._send, args=(event,))
        thread.start()
        self._threads.append(thread)

    def _send(self, event: Any) -> None:
        self.answers.append(httpx.post(f"{self._url}/clicks", json=event, timeout=30))

    def end(self) -> list[httpx.Response]:
        for thread in self._threads:
            thread.join(30)
        return self.answers


def asked(served: Served, event: Any = CLICK) -> tuple[httpx.Response, float]:
    """The answer, and after how many seconds it came."""
    began_s = time.monotonic()
    answer = served.client.post("/clicks", json=event)
    return answer, time.monotonic() - began_s


def test_while_the_log_does_not_answer_others_are_refused_at_once(
    embedded_log: EmbeddedLog, tmp_path: Path, topic_name: str
) -> None:
    with ingress(embedded_log, topic_name) as served:
        sending = Sending(served)
        with locked(tmp_path / "log.sqlite"):
            sending.begin(CLICK)
            wait_until(lambda: served.client.get("/health/ready").status_code == 503)
            refused, took_s = asked(served)
            assert refused.status_code == 503 and took_s < 0.5
            assert refused.headers["retry-after"] == "1"
            assert "nothing was written" in refused.json()["detail"]
            assert str(tmp_path) not in refused.text
        (answer,) = sending.end()
        assert answer.status_code == 200
        assert asked(served)[0].status_code == 200
        assert len(served.records()) == 2


def test_whoever_waits_too_long_is_told_that_it_may_be_written(
    embedded_log: EmbeddedLog, tmp_path: Path, topic_name: str
) -> None:
    event = {**CLICK, "event_id": "late"}
    with ingress(embedded_log, topic_name, ack_timeout_s=0.5) as served:
        with locked(tmp_path / "log.sqlite"):
            late, took_s = asked(served, event)
            assert late.status_code == 503 and 0.4 < took_s < 1.5
            assert "may be written, or not" in late.json()["detail"]
        wait_until(lambda: len(served.records()) == 1)
        again = served.client.post("/clicks", json=event)
        assert again.json()["duplicate"] is True
        assert len(served.records()) == 1


def test_a_full_queue_refuses_at_once(
    embedded_log: EmbeddedLog, tmp_path: Path, topic_name: str
) -> None:
    with ingress(embedded_log, topic_name, queue_events=3) as served:
        sending = Sending(served)
        with locked(tmp_path / "log.sqlite"):
            sending.begin([CLICK] * 3)
            wait_until(lambda: served.app.writer.waiting == 3)
            refused, took_s = asked(served)
            assert refused.status_code == 503 and took_s < 0.5
            assert "3 events wait already, of 3 that may" in refused.json()["detail"]
        (answer,) = sending.end()
        assert answer.status_code == 200
        assert len(served.records()) == 3


def test_a_full_disk_refuses_and_goes_on_once_there_is_room(
    small_disk: Path, topic_name: str
) -> None:
    log = EmbeddedLog(small_disk / "log.sqlite")
    large = [{**CLICK, "user_id": f"u{n}", "category_id": "x" * 2_000} for n in range(200)]
    with ingress(log, topic_name) as served:
        ballast = fill(small_disk)
        written = 0
        while (answer := served.client.post("/clicks", json=large)).status_code == 200:
            written += len(large)
        assert answer.status_code in (207, 503)
        assert "sqlite" not in answer.text and str(small_disk) not in answer.text
        ballast.unlink()
        wait_until(lambda: served.client.post("/clicks", json=CLICK).status_code == 200)
        assert len(served.records()) >= written + 1
        assert {r.value is not None for r in served.records()} == {True}


@pytest.fixture(scope="module")
def own_kafka(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalKafka]:
    if request.config.getoption("--kafka") != "local":
        pytest.skip("needs a broker that may be stopped, and --kafka is not 'local'")
    with local_kafka(tmp_path_factory.mktemp("own-kafka")) as kafka:
        yield kafka


def log_of(kafka: LocalKafka, tmp_path: Path) -> Log:
    settings = LogSettings(
        kafka_bootstrap_servers=kafka.bootstrap_servers,
        kafka_options={},
        schema_registry_url=kafka.registry_url,
        embedded_log_path=tmp_path / "log.sqlite",
    )
    return open_log(settings, Patience(5.0))


def places_by_id(served: Served) -> dict[str, list[Place]]:
    found: dict[str, list[Place]] = {}
    for record in served.records():
        event_id = (dict(record.headers).get(EVENT_ID) or b"").decode()
        found.setdefault(event_id, []).append(Place(record.partition, record.offset))
    return found


@pytest.mark.slow
@pytest.mark.kafka
def test_a_broker_that_is_killed_under_load_loses_nothing_acknowledged_and_repeats_nothing(
    own_kafka: LocalKafka, tmp_path: Path, topic_name: str
) -> None:
    with ingress(log_of(own_kafka, tmp_path), topic_name, ack_timeout_s=4.0) as served:
        url = str(served.client.base_url)
        statuses: Counter[int] = Counter()
        refusals_s: list[float] = []
        halt = threading.Event()

        async def send(client: httpx.AsyncClient, event_id: str) -> tuple[str, Place]:
            """Until it is acknowledged, as a client does."""
            while True:
                began_s = time.monotonic()
                answer = await client.post("/clicks", json={**CLICK, "event_id": event_id})
                statuses[answer.status_code] += 1
                if answer.status_code == 200:
                    found = answer.json()
                    return event_id, Place(found["partition"], found["offset"])
                if "nothing was written" in answer.text:
                    refusals_s.append(time.monotonic() - began_s)
                await asyncio.sleep(0.2)

        async def one_after_the_other(number: int) -> list[tuple[str, Place]]:
            acknowledged: list[tuple[str, Place]] = []
            async with httpx.AsyncClient(base_url=url, timeout=30) as client:
                while not halt.is_set():
                    event_id = f"{number}-{len(acknowledged)}"
                    acknowledged.append(await send(client, event_id))
            return acknowledged

        async def all_at_once() -> list[list[tuple[str, Place]]]:
            return await asyncio.gather(*(one_after_the_other(number) for number in range(8)))

        found: list[list[tuple[str, Place]]] = []
        load = threading.Thread(target=lambda: found.extend(asyncio.run(all_at_once())))
        load.start()
        try:
            wait_until(lambda: statuses[200] > 50)
            own_kafka.kill_broker()
            wait_until(lambda: len(refusals_s) > 20)
            before = statuses[200]
            own_kafka.start_broker()
            wait_until(lambda: statuses[200] > before + 50)
        finally:
            halt.set()
            load.join(60)
        acknowledged = [pair for each in found for pair in each]
        there = places_by_id(served)
        assert {event_id: [place] for event_id, place in acknowledged} == there
        assert sorted(refusals_s)[len(refusals_s) // 2] < 0.2


@pytest.mark.slow
@pytest.mark.kafka
def test_without_its_registry_ingress_starts_and_waits_and_once_started_goes_on(
    own_kafka: LocalKafka, tmp_path: Path, topic_name: str
) -> None:
    log = log_of(own_kafka, tmp_path)
    with ingress(log, topic_name) as served:
        own_kafka.pause_registry()
        assert served.client.post("/clicks", json=CLICK).status_code == 200
        with ingress(log, topic_name, made=False) as other:
            answer = other.client.get("/health/ready")
            assert answer.json()["detail"] == "not ready: the schemas are not known yet"
            assert other.client.post("/clicks", json=CLICK).status_code == 503
            own_kafka.resume_registry()
            wait_until(lambda: other.client.get("/health/ready").status_code == 200)
            assert other.client.post("/clicks", json=CLICK).status_code == 200
