"""A shop's clicks through the real main job and the real store's flow, for the API to tell of."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from bytewax.testing import run_main

from streamrec.connectors.reading import read_all
from streamrec.dataflows import store
from streamrec.dataflows.job.opening import open_job_with
from streamrec.dataflows.job.settings import Settings, load_settings
from streamrec.dataflows.job.topics import IMPRESSIONS, make_all
from streamrec.schemas.json_codec import JsonDecoder
from streamrec.services.api.app import ApiApp
from streamrec.services.http.app import Guard
from tests.dataflows.main_job import START_MS, MainJob
from tests.services.http.serving import served

REGULAR = [
    {"user_id": f"u{user}", "item_id": f"i{item}", "timestamp": START_MS + 60_000 * user + item}
    for user in range(60)
    for item in range(user % 3, 30, 3)  # three kinds of users, who look at three kinds of items
]


@dataclass(frozen=True, slots=True)
class World:
    """What has been clicked and recommended, on an embedded log and in a store."""

    settings: Settings
    job: MainJob
    answers: dict[str, dict[str, Any]]  # by user, the newest recommendation

    def records(self, topic: str) -> list[Any]:
        """The values of a topic, as `receive` shows them."""
        with closing(self.job.log.registry()) as registry:
            decode = JsonDecoder(lambda key: registry.by_id(int(key))).decode
            return [decode(r.value or b"", r.headers) for r in read_all(self.job.log, topic)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    settings = load_settings(
        kafka_bootstrap_servers=None,
        kafka_options={},
        schema_registry_url=None,
        embedded_log_path=folder / "log.sqlite",
        store=str(folder / "store"),
        follow=False,
        model="none",
        top_k=20,
    )
    job = MainJob(settings)
    make_all(job.log, {settings.topic(IMPRESSIONS): IMPRESSIONS})
    job.send_clicks(REGULAR)
    job.run()
    run_main(store.build_flow(open_job_with(store.FLOW_ID, settings)))  # type: ignore[no-untyped-call]
    answers: dict[str, dict[str, Any]] = {}
    for answer in job.recommendations():
        fields = answer.fields
        before = answers.get(fields["user_id"])
        if before is None or before["requested_at"] < fields["requested_at"]:
            answers[fields["user_id"]] = fields
    return World(settings, job, answers)


@pytest.fixture(scope="module")
def serve_api(world: World) -> Callable[..., Any]:
    """Serves the API of the world; a guard may be given."""
    return lambda guard=None: served(ApiApp(world.job.log, world.settings, guard).http)


@pytest.fixture(scope="module")
def api(serve_api: Callable[[Guard | None], Any]) -> Iterator[httpx.Client]:
    """A client of the API, once it is ready."""
    with serve_api(None) as client:
        until_ready(client)
        yield client


def until_ready(client: httpx.Client) -> None:
    """A test's time limit ends it."""
    while client.get("/health/ready").status_code != 200:
        pass
