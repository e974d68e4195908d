"""Purchase propensity: each click gives the user's window counts and the odds of buying.

    clicks ─▶ decode ─▶ once ─▶ user features ─▶ score ─▶ encode scores ─▶ scores
                │        │            │            │           │
                └─ bad ──┴─ repeated ─┴─ late ─────┴─ failed ──┴─▶ encode errors ─▶ errors

- `clicks`: key user_id, value `schemas/clicks.avsc`; event time in Unix milliseconds.
- `scores`: key user_id, value `schemas/scores.avsc`; one record for each click, also over a crash.
- `errors`: key of the original, value `schemas/errors.avsc`; one record for each click that failed.

The main job without sessions and candidates: what a team needs that has a model of its own over
event-time features, and the path that `./justw bench` measures against a bare Kafka client.

Run it with `python -m bytewax.run dataflows.scoring`.
"""

from bytewax.dataflow import Dataflow

from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.opening import open_job
from streamrec.dataflows.job.parts import by_shard, each_batch
from streamrec.dataflows.job.topics import CLICKS, SCORES
from streamrec.dataflows.steps.count_once import count_once
from streamrec.dataflows.steps.decode import decode_clicks
from streamrec.dataflows.steps.score import score_clicks, score_columns, scoring_features
from streamrec.dataflows.steps.user_features import user_features

FLOW_ID = "scoring"


def build_flow(job: Job) -> Dataflow:
    """Wire the picture above."""
    features = scoring_features()
    counted = user_features(job.settings, features, with_sessions=False)

    flow = Dataflow(FLOW_ID)
    clicks = each_batch(
        "decode", job.read(flow, CLICKS), decode_clicks(job, features), failing="bad"
    )
    once = by_shard("once", clicks.good, job.keep(count_once(job.settings)), failing="repeated")
    featured = by_shard("user features", once.good, job.keep(counted), failing="late")
    scored = each_batch("score", featured.good, score_clicks(features), failing="failed")
    unencodable = job.write(scored.good, SCORES, score_columns, failing="unencodable")
    job.write_errors(clicks.failed, once.failed, featured.failed, scored.failed, unencodable)
    return flow


def flow() -> Dataflow:
    """Scoring on real connectors, as the settings say."""
    return build_flow(open_job(FLOW_ID))
