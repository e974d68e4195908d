"""One trace from an HTTP request over a record's header and the main job to the answer's header.

The spans go over OTLP to a collector on loopback, and are parsed by OpenTelemetry's own classes.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from bytewax.testing import run_main

from streamrec.connectors.log import Outgoing
from streamrec.dataflows import store
from streamrec.dataflows.job.opening import open_job_with
from streamrec.dataflows.job.topics import (
    ERRORS,
    IMPRESSIONS,
    OUTCOMES,
    RECOMMENDATIONS,
    make_all,
)
from streamrec.dataflows.job.traced import FlowTraces
from streamrec.services.http.app import HttpApp
from streamrec.services.ingress.app import IngressApp
from streamrec.services.ingress.settings import IngressSettings
from streamrec.services.metrics.watched import Watched
from streamrec.services.traces.spans import HEADER, TracesError, are_wanted, open_traces
from tests.connectors.log_reading import wait_until
from tests.dataflows.faults.running import running
from tests.dataflows.main_job import MainJob, Place
from tests.services.http.serving import served
from tests.services.traces.otlp_collector import collecting

CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_SAMPLED = "00-11111111111111111111111111111111-2222222222222222-00"
TRACE, CLIENTS_SPAN = CLIENT.split("-")[1:3]


def test_trace_goes_from_a_request_to_the_answer_of_its_click(
    make_job: Callable[..., MainJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(store=str(tmp_path / "store"))
    with collecting() as collector:
        otel = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        for name, value in otel.items():
            monkeypatch.setenv(name, value)
        with (
            running(job.settings, tmp_path, **otel) as process,
            served(ingress_of(job)) as client,
        ):
            wait_until(lambda: client.get("/health/ready").status_code == 200)
            traced = posted(client, CLIENT)
            others = [posted(client, NOT_SAMPLED), posted(client, "nonsense")]
            collector.until(lambda: len(collector.named("POST /clicks")) == 2)
            (request,) = [s for s in collector.named("POST /clicks") if s.trace == TRACE]
            broken = Outgoing(
                b"u2", b"broken", [(HEADER, f"00-{TRACE}-{request.span}-01".encode())]
            )
            job.send([(broken, "not_wire_format")])
            process.until_answered(job, 4)
            collector.until(lambda: len(collector.named("recommender")) == 3)
            collector.until(lambda: len(collector.named("recommender batch")) >= 2)
            process.stop()
        run_store(job)
        collector.until(lambda: [s for s in collector.named("store") if s.trace == TRACE])

    assert request.facts["http.response.status_code"] == 200
    assert request.facts["http.route"] == "/clicks"
    assert (request.service, request.trace, request.parent) == (
        "streamrec-ingress",
        TRACE,
        CLIENTS_SPAN,
    )
    steps = [s for s in collector.named("recommender") if s.trace == TRACE]
    by_topic = {s.facts["messaging.destination.name"]: s for s in steps}
    answered = by_topic[job.settings.topic(RECOMMENDATIONS)]
    failed = by_topic[job.settings.topic(ERRORS)]
    for step in (answered, failed):
        assert (step.service, step.trace) == ("streamrec-recommender", TRACE)
        assert step.parent == request.span
        assert 0 < step.took_ns < 60e9
    linked = {link for batch in collector.named("recommender batch") for link in batch.links}
    assert linked >= {(TRACE, answered.span), (TRACE, failed.span)}
    headers = {a.place: dict(a.headers).get(HEADER) for a in job.recommendations()}
    assert headers.pop(traced) == f"00-{TRACE}-{answered.span}-01".encode()
    assert headers.pop(others[0]) is None
    # Whoever sends nonsense begins a trace of his own.
    assert b"nonsense" not in (headers.pop(others[1]) or b"")
    assert headers == {}
    (stored,) = [s for s in collector.named("store") if s.trace == TRACE]
    assert stored.parent == answered.span
    (error,) = job.errors()
    assert dict(error.headers)[HEADER] == f"00-{TRACE}-{failed.span}-01".encode()


def ingress_of(job: MainJob) -> HttpApp:
    """Ingress on the topics of a job."""
    make_all(job.log, {job.settings.topic(topic): topic for topic in (IMPRESSIONS, OUTCOMES)})
    app = IngressApp(job.log, IngressSettings(), job.settings)
    app.watch(Watched("ingress", "ingress"))
    return app.http


def run_store(job: MainJob) -> None:
    """To the end of the recommendations, as `open_job` has it where traces are on."""
    traces = open_traces("store")
    assert traces is not None
    opened = open_job_with(store.FLOW_ID, job.settings)
    opened.report.traces = FlowTraces(traces, store.FLOW_ID)
    run_main(store.build_flow(opened))  # type: ignore[no-untyped-call]  # bytewax leaves it so
    traces.close()


def posted(client: httpx.Client, traceparent: str) -> Place:
    """Where a click of such a request stands."""
    answer = client.post(
        "/clicks",
        json={"user_id": "u1", "item_id": "i1", "event_type": "view"},
        headers={"traceparent": traceparent},
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["partition"], answer.json()["offset"]


def test_traces_are_wanted_where_the_environment_names_who_takes_them() -> None:
    assert not are_wanted({})
    assert are_wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"})
    assert are_wanted({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"})
    off = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"}
    assert not are_wanted(off)


def test_nothing_of_it_is_imported_where_it_is_off() -> None:
    code = (
        "import sys\n"
        "from streamrec.dataflows import recommender\n"
        "from streamrec.services.traces.spans import open_traces\n"
        "assert open_traces('x') is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={})
    assert done.stdout.strip() == "[]", done.stderr


def test_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)  # as if it were not there

    with pytest.raises(TracesError, match=r"expected the extra otel .*, got "):
        open_traces("x")
