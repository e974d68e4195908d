"""The Grafana board, the alert rules and docs/watching.md name what is really served."""

import json
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main

from streamrec.connectors.allowance import Allowance
from streamrec.dataflows import store
from streamrec.dataflows.engine.supervisor import Cluster, ClusterOptions
from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.measures import measure
from streamrec.dataflows.job.opening import open_job_with
from streamrec.dataflows.job.parts import each_batch
from streamrec.dataflows.job.topics import CLICKS
from streamrec.dataflows.recommender import FLOW_ID, build_flow
from streamrec.dataflows.steps.decode import decode_clicks
from streamrec.services.ingress.app import IngressApp
from streamrec.services.ingress.settings import IngressSettings
from streamrec.services.metrics.looking import Looked, look_at
from streamrec.services.metrics.notes import read_notes
from streamrec.services.metrics.watched import watch_process
from tests.dataflows.main_job import MainJob
from tests.promql import joins_in, labels_of, names_in
from tests.services.http.serving import served as serving

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "alerts.yaml"
BOARD = ROOT / "deploy" / "grafana.json"
PAGE = ROOT / "docs" / "watching.md"
OF_PROMETHEUS = {"up": {"job", "instance"}}  # made by Prometheus itself, of each target
OF_TARGETS = {"job", "instance"}  # labels that it adds


FlowBuilder = Callable[[Job], Dataflow]


@pytest.fixture
def served(
    embedded_job: Callable[..., MainJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, set[str]]:
    """By each name that a process serves, its labels: asked over HTTP, after real runs."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    job = embedded_job(model="artifact", store=str(tmp_path / "store"))
    job.send_shop(2_000)
    found: dict[str, set[str]] = defaultdict(set)
    flows: dict[str, FlowBuilder] = {
        FLOW_ID: build_flow,
        store.FLOW_ID: store.build_flow,
        "slow": slow_flow,
    }
    for flow_id, build in flows.items():
        for name, series in _looked(job, flow_id, build).series.items():
            for labels, _ in series:
                found[name] |= set(labels)
    return found


def slow_flow(job: Job) -> Dataflow:
    """One that is read with an allowance, as those of models that answer slowly are."""
    flow = Dataflow("slow")
    clicks = job.read(flow, CLICKS, allowance=Allowance())
    job.write_errors(each_batch("decode", clicks, decode_clicks(job), failing="bad").failed)
    return flow


def _looked(job: MainJob, flow_id: str, build: FlowBuilder) -> Looked:
    """What its process serves after a run, with a service and a supervisor in the same process."""
    seen = watch_process("dataflow", flow_id, "127.0.0.1:0")
    ingress = IngressApp(job.log, IngressSettings(), job.settings)
    ingress.watch(seen)
    with serving(ingress.http) as client:
        client.get("/health/live")
    Cluster(ClusterOptions("dataflows.recommender", ())).measure(seen)
    opened = open_job_with(flow_id, job.settings)
    measure(opened, seen)
    run_main(build(opened))  # type: ignore[no-untyped-call]  # bytewax leaves it so
    (note,) = read_notes()
    now = look_at(note)
    seen.close()
    assert now is not None
    return now


def alert_queries() -> dict[str, str]:
    rules = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"][0]["rules"]
    return {rule["alert"]: rule["expr"] for rule in rules}


def board_queries() -> dict[str, str]:
    board = json.loads(BOARD.read_text(encoding="utf-8"))
    found = {}
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    for variable in board["templating"]["list"]:
        query: Any = variable["query"]
        if isinstance(query, dict):
            match = re.fullmatch(r"label_values\((\w+), (\w+)\)", query["query"])
            assert match is not None, query
            found[f"variable {variable['name']}"] = f"sum by ({match[2]}) ({match[1]})"
    return found


def test_each_query_asks_for_what_is_served(served: dict[str, set[str]]) -> None:
    queries = {**alert_queries(), **board_queries()}
    assert len(queries) > 25
    known = {**served, **OF_PROMETHEUS}
    for title, query in queries.items():
        names = names_in(query)
        assert names.metrics <= known.keys(), f"{title}: {query}"
        there = OF_TARGETS.union(*(known[name] for name in names.metrics))
        assert names.labels <= there, f"{title}: {query}"


def joined_by_what_is_missing(query: str, served: dict[str, set[str]]) -> set[str]:
    """Labels of joins that one of the sides does not have: such a join finds nothing."""
    known = {name: labels | OF_TARGETS for name, labels in {**served, **OF_PROMETHEUS}.items()}
    return {
        label
        for labels, *sides in joins_in(query)
        for side in sides
        for label in labels - labels_of(side, known)
    }


def test_labels_of_joins_are_on_both_sides(served: dict[str, set[str]]) -> None:
    queries = {**alert_queries(), **board_queries()}
    assert any(labels for query in queries.values() for labels, *_ in joins_in(query))
    for title, query in queries.items():
        assert not joined_by_what_is_missing(query, served), f"{title}: {query}"
    for wrong in (
        "streamrec_lag_records > 1 and on (topic) streamrec_ready == 1",
        "sum by (dataflow) (streamrec_lag_records) and on (instance) streamrec_ready == 1",
    ):
        assert joined_by_what_is_missing(wrong, served)


def test_page_has_every_name_that_is_served_and_no_other(served: dict[str, set[str]]) -> None:
    told = set(re.findall(r"^\| `(streamrec_\w+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    bare = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in served}
    ours = {name for name in bare if name.startswith("streamrec_")}
    assert ours == told


def test_query_of_a_name_that_is_misspelt_is_found(served: dict[str, set[str]]) -> None:
    wrong = names_in("sum by (dataflow) (rate(streamrec_record_read_total[5m]))")
    assert not wrong.metrics <= served.keys()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_itself_takes_rules_and_queries(tmp_path: Path) -> None:
    queries = [
        {"record": f"query:{n}", "expr": query.replace("$__rate_interval", "1m")}
        for n, query in enumerate(board_queries().values())
    ]
    path = tmp_path / "board.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": queries}]}))

    done = subprocess.run(
        ["promtool", "check", "rules", ALERTS, path], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr
