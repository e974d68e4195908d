"""Each route of ingress, tried with all that it must withstand."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.connectors.log import TopicSpec
from streamrec.connectors.making_topics import ensure_topics
from streamrec.dataflows.job.topics import CLICKS, IMPRESSIONS, OUTCOMES
from streamrec.dataflows.serving.kept import KeptPipeline, KeptVersion, keep
from streamrec.models.serving.contract import Metadata
from streamrec.services.http.routes import Route
from streamrec.services.ingress.app import IngressApp
from streamrec.services.ingress.settings import IngressSettings
from tests.services.http.attacks import SECRET, Keys, attacks_on, guard_with, keys_in, token
from tests.services.ingress.serving import CLICK, Served, ingress, job_settings

ORDERS = "orders"
IRIS = KeptPipeline(
    "iris",
    "live",
    {"model": "flowers:Iris"},
    "1.0",
    (KeptVersion(Metadata("iris", "Iris", "", 1, 0, None, None), ()),),
)
INPUTS = "live.iris.1.0.inputs"
PATHS = {
    "/outcomes/{recommendation_id*}": "/outcomes/clicks/0/1",
    "/topics/{name}": f"/topics/{ORDERS}",
    "/pipelines/{name}": "/pipelines/iris",
}


@dataclass(frozen=True)
class Target:
    served: Served
    keys: Keys
    address: tuple[str, int]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("attacks")
    log, keys = EmbeddedLog(folder / "log.sqlite"), keys_in(folder)
    keep(log, IRIS)
    ensure_topics(log, [TopicSpec(ORDERS, 1), TopicSpec(INPUTS, 1)], {})
    with ingress(log, "attacked", guard_with(keys), topics=(ORDERS,)) as served:
        url = served.client.base_url
        yield Target(served, keys, (url.host, url.port or 0))


def routes() -> list[Route]:
    """All that ingress serves."""
    app = IngressApp(EmbeddedLog(Path("none.sqlite")), IngressSettings(), job_settings("none"))
    return list(app.http.routes)


@pytest.mark.parametrize("route", routes(), ids=lambda route: f"{route.method} {route.path}")
def test_a_route_withstands(target: Target, route: Route, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    path = PATHS.get(route.path, route.path)
    tried = 0
    for attack in attacks_on(route, target.keys):
        status, said = attack.send(target.address, route.method, path)
        assert status in attack.statuses, (attack.name, said)
        for secret in (*target.keys.secrets, "Traceback"):
            assert secret.encode() not in said.partition(b"\r\n\r\n")[2], attack.name
        tried += 1
    assert tried >= (11 if route.scope else 0)
    for secret in (*target.keys.secrets, "Traceback"):
        assert secret not in caplog.text
    written = [
        target.served.records(topic) for topic in (CLICKS, IMPRESSIONS, OUTCOMES, ORDERS, INPUTS)
    ]
    assert written == [[], [], [], [], []]


def test_routes_that_need_no_key_tell_nothing_but_health_and_what_there_is() -> None:
    open_routes = {route.path for route in routes() if route.scope is None}
    assert open_routes == {"/health/live", "/health/ready", "/openapi.json"}


def test_who_may_gets_in_by_key_and_by_token(tmp_path: Path) -> None:
    log, keys = EmbeddedLog(tmp_path / "log.sqlite"), keys_in(tmp_path)
    with ingress(log, "allowed", guard_with(keys)) as served:
        for own in (keys.good, token(SECRET, 60.0, "clicks")):
            headers = {"authorization": f"Bearer {own}"}
            assert served.client.post("/clicks", json=CLICK, headers=headers).status_code == 200
        assert len(served.records()) == 2


def test_what_runs_at_its_default_says_nothing_of_who_asks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    log, keys = EmbeddedLog(tmp_path / "log.sqlite"), keys_in(tmp_path)
    person = {"user_id": "u-personal", "item_id": "i-personal", "event_type": "view"}
    with ingress(log, "quiet", guard_with(keys)) as served:
        client: httpx.Client = served.client
        headers = {"x-api-key": keys.good, "user-agent": "agent-personal"}
        assert client.post("/clicks", json=person, headers=headers).status_code == 200
        assert client.get("/clicks.gif", params=person, headers=headers).status_code == 200
        told = client.post("/clicks", json={**person, "price_cents": "p-personal"}, headers=headers)
        assert told.status_code == 422 and "personal" not in told.text
        path = "/outcomes/r-personal"
        assert client.post(path, json={"kind": "click"}, headers=headers).status_code == 200
    own = [r.getMessage() for r in caplog.records if r.name.startswith("streamrec")]
    assert any("POST /clicks 200" in line for line in own)  # the access log is on here
    for line in own:
        assert "personal" not in line and "127.0.0.1" not in line and keys.good not in line
