"""A dataflow's health: whether its log answers, and whether it is to end."""

import time
from collections.abc import Callable
from pathlib import Path

from streamrec.dataflows.engine.stopping import Stopping
from streamrec.dataflows.job.measures import measure
from streamrec.dataflows.job.opening import open_job_with
from streamrec.dataflows.job.topics import CLICKS
from streamrec.dataflows.recommender import FLOW_ID
from streamrec.services.metrics.watched import Watched
from tests.dataflows.main_job import MainJob


def until(done: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + 20.0
    while not done():
        assert time.monotonic() < give_up_s
        time.sleep(0.01)


def test_log_that_does_not_answer_makes_a_dataflow_unready(
    embedded_job: Callable[..., MainJob], tmp_path: Path
) -> None:
    seen = Watched("dataflow", FLOW_ID)
    opened = open_job_with(FLOW_ID, embedded_job().settings)
    opened.report.began(opened.settings.topic(CLICKS), {0: 0}, 0)
    measure(opened, seen)
    (tmp_path / "log.sqlite").unlink()  # as when its disk has gone

    until(lambda: seen.health.reasons() == ["the log does not answer"])
    (log_up,) = [m for m in seen.registry.collect() if m.name == "streamrec_log_up"]
    assert [sample.value for sample in log_up.samples] == [0.0]


def test_dataflow_that_was_asked_to_stop_is_not_ready(
    embedded_job: Callable[..., MainJob],
) -> None:
    stopping = Stopping()
    seen = Watched("dataflow", FLOW_ID)
    measure(open_job_with(FLOW_ID, embedded_job().settings, stopping=stopping), seen)
    assert seen.health.reasons() == []

    stopping.ask("a test")

    assert seen.health.reasons() == ["it was asked to stop"]
