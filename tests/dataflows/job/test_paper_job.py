"""`PaperJob`: a dataflow's wiring runs without a log, and says what it reads and writes."""

from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main

from streamrec import PaperJob, Reason, StartError, by_shard, each_batch
from streamrec.connectors.out import Out
from streamrec.dataflows.job.encoding import UnencodableError
from streamrec.dataflows.job.topics import CLICKS, ERRORS, RECOMMENDATIONS, SCORES
from streamrec.dataflows.scoring import FLOW_ID, build_flow
from streamrec.dataflows.steps.decode import decode_clicks
from streamrec.dataflows.steps.score import score_clicks, score_columns, scoring_features
from streamrec.dataflows.steps.user_features import user_features
from tests.dataflows.click_batches import click, raw_batch


def run(flow: Dataflow) -> None:
    run_main(flow)  # type: ignore[no-untyped-call]  # bytewax leaves it so


def written(job: PaperJob, topic: str) -> list[tuple[int, int]]:
    """The inputs that records of a topic answer."""
    outs: list[Out] = [out for _, out in job.written[topic]]
    return sorted(
        (p, o) for out in outs if out.sources is not None for p, o in out.sources.places.tolist()
    )


def test_scoring_runs_on_paper_and_answers_each_click_once() -> None:
    values = [click(user_id=f"u{n % 5}") for n in range(20)]
    values[7] = b"broken"
    job = PaperJob(FLOW_ID, {"clicks": [raw_batch(values, partition=3)]})

    run(build_flow(job))

    assert written(job, "scores") == [(3, n) for n in range(20) if n != 7]
    assert written(job, "errors") == [(3, 7)]
    assert (job.topics_read, job.topics_written) == ([CLICKS], [SCORES, ERRORS])


def test_a_topic_is_read_in_one_place_and_before_anything_is_written() -> None:
    job = PaperJob("both")
    flow = Dataflow("both")
    clicks = job.read(flow, CLICKS)
    job.read(flow, SCORES)
    with pytest.raises(StartError, match="to read topic 'clicks' in one place, got two"):
        job.read(flow, CLICKS)
    bad = each_batch("decode", clicks, decode_clicks(job), failing="bad").failed
    job.write_errors(bad)
    with pytest.raises(StartError, match="'recommendations' read after 'errors' was written"):
        job.read(flow, RECOMMENDATIONS)


def test_what_fails_carries_the_id_of_its_step() -> None:
    class Refuses:
        def on_batch(self, values: list[Any]) -> list[Any]:
            return [
                v.clicks.fail(r, Reason.TOO_LATE, "late") for v in values for r in v.rows.tolist()
            ]

        def snapshot(self) -> None:
            return None

    job = PaperJob("refusing", {"clicks": [raw_batch([click(), click()])]})
    flow = Dataflow("refusing")
    clicks = each_batch("decode it", job.read(flow, CLICKS), decode_clicks(job), failing="bad")
    kept = by_shard("refuse it", clicks.good, lambda _, __: Refuses(), failing="late")
    found: list[Any] = []
    op.inspect("see", kept.failed, lambda _, item: found.append(item[1]))
    job.write_errors(clicks.failed, kept.failed)
    run(flow)
    assert {failed.stage for failed in found} == {"refuse it"}
    assert found[0].message == "step 'refuse it': late (topic 'clicks', partition 0, offset 0)"
    assert found[0].exception == "TooLateError"


def test_without_failing_what_cannot_be_encoded_stops_the_flow() -> None:
    features = scoring_features()
    job = PaperJob("stopping", {"clicks": [raw_batch([click()])]})
    flow = Dataflow("stopping")
    clicks = each_batch("decode", job.read(flow, CLICKS), decode_clicks(job, features), failing="b")
    counted = job.keep(user_features(job.settings, features, with_sessions=False))
    featured = by_shard("user features", clicks.good, counted, failing="late")
    scored = each_batch("score", featured.good, score_clicks(features), failing="failed")

    def broken(batch: list[Any]) -> Any:
        for records in score_columns(batch):
            user = records.columns["user_id"]
            user.data[:] = 0xFF  # type: ignore[union-attr]  # bytes that are no UTF-8
            yield records

    job.write(scored.good, SCORES, broken)
    with pytest.raises(Exception) as raised:
        run(flow)
    causes = []
    error: BaseException | None = raised.value
    while error is not None:
        causes.append(type(error))
        error = error.__cause__
    assert UnencodableError in causes, causes
