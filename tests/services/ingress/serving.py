"""Ingress that is served for a test, on a log with the topics that it needs."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from streamrec.connectors.log import Log, Record, schema_named
from streamrec.connectors.reading import read_all
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import CLICKS, IMPRESSIONS, OUTCOMES, Topic, make_all
from streamrec.schemas.json_codec import JsonDecoder
from streamrec.services.http.app import Guard
from streamrec.services.ingress.app import IngressApp
from streamrec.services.ingress.settings import IngressSettings
from tests.connectors.log_reading import wait_until
from tests.services.http.serving import served

CLICK = {"user_id": "u1", "item_id": "i1", "event_type": "view"}


@dataclass(frozen=True)
class Served:
    """A client of ingress, and what it wrote."""

    client: httpx.Client
    app: IngressApp
    log: Log
    job: Settings

    def topic(self, topic: Topic) -> str:
        return self.job.topic(topic)

    def records(self, topic: Topic | str = CLICKS) -> list[Record]:
        name = topic if isinstance(topic, str) else self.topic(topic)
        return list(read_all(self.log, name))

    def values(self, topic: Topic = CLICKS) -> list[Any]:
        with closing(self.log.registry()) as registry:
            decoder = JsonDecoder(partial(schema_named, registry))
            return [decoder.decode(r.value or b"", r.headers) for r in self.records(topic)]


def job_settings(prefix: str) -> Settings:
    """Settings under which topics have names that no other test's have."""
    names: dict[str, Topic] = {
        "clicks_topic": CLICKS,
        "impressions_topic": IMPRESSIONS,
        "outcomes_topic": OUTCOMES,
    }
    given: dict[str, Any] = {n: f"{prefix}-{topic.name}" for n, topic in names.items()}
    return Settings(**given)


@contextmanager
def ingress(
    log: Log,
    prefix: str,
    guard: Guard | None = None,
    made: bool = True,
    **settings: Any,
) -> Iterator[Served]:
    """Ingress that is ready; without `made` its topics are not there."""
    job = job_settings(prefix)
    if made:
        make_all(log, {job.topic(topic): topic for topic in (CLICKS, IMPRESSIONS, OUTCOMES)})
    app = IngressApp(log, IngressSettings(**settings), job, guard)
    with served(app.http) as client:
        if made:
            wait_until(lambda: client.get("/health/ready").status_code == 200)
        yield Served(client, app, log, job)
