"""What a service measures of its requests, and that nothing of a request becomes a label."""

import http.client
from collections import Counter

import httpx

from streamrec.services.http.app import HttpApp
from streamrec.services.metrics.watched import Watched
from tests.services.http.serving import served
from tests.services.http.tiny_app import tiny_app


def watched(app: HttpApp) -> Watched:
    seen = Watched("tiny", "tiny")
    app.watch(seen, "tiny")
    return seen


def requests(seen: Watched) -> dict[tuple[str, str, str], float]:
    """How many, by method, route and status."""
    (family,) = [m for m in seen.registry.collect() if m.name == "streamrec_http_requests"]
    names = ("method", "route", "status")
    assert {each.labels["service"] for each in family.samples} == {"tiny"}
    found: Counter[tuple[str, str, str]] = Counter()
    for each in family.samples:
        method, route, status = (each.labels[name] for name in names)
        found[method, route, status] += int(each.value)
    return dict(found)


def test_requests_are_counted_by_route_and_status_and_never_by_what_they_name() -> None:
    app = tiny_app()
    seen = watched(app)
    with served(app) as client:
        for name in ("u1", "u2", "u3"):
            client.get(f"/things/{name}?n=secret")
        client.post("/echo", json="unfit")
        client.post("/echo", json="broken")
        client.get("/nowhere/u4")
        client.put("/echo")
        assert "u1" not in str(list(seen.registry.collect()))
        with_own_method(client, "STEAL-u5")

    found = requests(seen)
    assert found.pop(("GET", "/things/{name}", "200")) == 3
    assert found.pop(("POST", "/echo", "422")) == 1
    assert found.pop(("POST", "/echo", "500")) == 1
    assert found.pop(("GET", "-", "404")) == 1
    assert found.pop(("PUT", "-", "405")) == 1
    assert {method for method, _, _ in found} <= {"other"}
    durations = [
        each
        for metric in seen.registry.collect()
        if metric.name == "streamrec_http_request_duration_seconds"
        for each in metric.samples
    ]
    counts = {s.labels["route"]: s.value for s in durations if s.name.endswith("_count")}
    assert counts["/things/{name}"] == 3
    assert all(0 <= s.value < 20 for s in durations if s.name.endswith("_sum"))


def with_own_method(client: httpx.Client, method: str) -> None:
    connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port or 80)
    connection.request(method, "/echo")
    connection.getresponse().read()
    connection.close()


def test_service_that_is_not_ready_or_drains_says_so_beside_its_port_too() -> None:
    app = tiny_app(why_not_ready="the log is away")
    seen = watched(app)
    assert seen.health.reasons() == ["the log is away"]
    app.drain()
    assert seen.health.reasons() == ["draining"]
