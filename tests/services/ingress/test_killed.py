"""Ingress that is killed, and events that are sent again: nothing acknowledged is lost, and what is
sent again with its id is written once."""

import random
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Log, Place
from streamrec.connectors.log_settings import LogSettings
from streamrec.connectors.reading import read_all
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import CLICKS, IMPRESSIONS, OUTCOMES, make_all
from streamrec.services.ingress.event_ids import EVENT_ID
from tests.services.ingress.processes import KILLED, environment, started
from tests.services.ingress.serving import CLICK, job_settings


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def named_log(request: pytest.FixtureRequest, tmp_path: Path) -> LogSettings:
    if request.param == "embedded":
        return LogSettings(embedded_log_path=tmp_path / "log.sqlite", kafka_options={})
    found: LogSettings = request.getfixturevalue("kafka_settings")
    return found


def with_topics(settings: LogSettings, prefix: str) -> tuple[Log, Settings]:
    log, job = open_log(settings), job_settings(prefix)
    make_all(log, {job.topic(topic): topic for topic in (CLICKS, IMPRESSIONS, OUTCOMES)})
    return log, job


def test_an_event_whose_answer_a_kill_cut_off_is_written_once_though_it_is_sent_again(
    named_log: LogSettings, topic_name: str
) -> None:
    log, job = with_topics(named_log, topic_name)
    event = {**CLICK, "event_id": "e1"}
    environ = environment(named_log, job)
    with started(environ, KILLED) as killed:
        with pytest.raises(httpx.TransportError):
            killed.client.post("/clicks", json=event)
        assert killed.process.wait(20) == -9
    (written,) = read_all(log, job.topic(CLICKS))
    with started(environ) as again:
        answer = again.client.post("/clicks", json=event).json()
    assert answer["duplicate"] is True
    assert (answer["partition"], answer["offset"]) == (written.partition, written.offset)
    assert len(list(read_all(log, job.topic(CLICKS)))) == 1


@pytest.mark.slow
def test_kills_under_load_lose_nothing_acknowledged_and_repeat_nothing(
    tmp_path: Path, topic_name: str
) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    settings = LogSettings(embedded_log_path=tmp_path / "log.sqlite", kafka_options={})
    log, job = with_topics(settings, topic_name)
    environ = environment(settings, job)
    waiting = [f"e{number}" for number in range(2_000)]
    acknowledged: dict[str, Place] = {}

    def send(url: str, own: list[str]) -> None:
        """Until the server is gone; an event goes once it is acknowledged."""
        with httpx.Client(base_url=url, timeout=20) as client:
            while own:
                try:
                    answer = client.post("/clicks", json={**CLICK, "event_id": own[-1]})
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    found = answer.json()
                    acknowledged[own.pop()] = Place(found["partition"], found["offset"])

    parts = [waiting[start::4] for start in range(4)]
    starts = 0
    while any(parts):
        starts += 1
        with started(environ) as running:
            url = str(running.client.base_url)
            threads = [threading.Thread(target=send, args=(url, part)) for part in parts]
            for thread in threads:
                thread.start()
            if starts <= 3:
                time.sleep(chance.uniform(0.1, 0.5))
                running.process.kill()
            for thread in threads:
                thread.join(60)
    there: Counter[str] = Counter()
    for record in read_all(log, job.topic(CLICKS)):
        event_id = (dict(record.headers)[EVENT_ID] or b"").decode()
        there[event_id] += 1
        assert acknowledged[event_id] == Place(record.partition, record.offset)
    assert there == Counter(waiting), f"seed {seed}"
    assert starts == 4
