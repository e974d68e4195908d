"""The main job: clicks in, recommendations and errors out, learning from each click.

    clicks ─▶ decode ─▶ once ─▶ user features ─▶ recommend ─▶ encode recommendations
                │        │            │              │ │               └▶ recommendations
                │        │            │              │ └▶ encode sessions ─▶ sessions
                └─ bad ──┴─ repeated ─┴─ late ───────┴─ failed ─▶ encode errors ─▶ errors

- `clicks`: key user_id, value `schemas/clicks.avsc`; event time in Unix milliseconds.
- `recommendations`: key user_id, value `schemas/recommendations.avsc`; one record for each click
  that asks for one (setting `recommend_on`).
- `errors`: key of the original, value `schemas/errors.avsc`; one record for each click that failed.
- `sessions`: key writer, value `schemas/sessions.avsc`; what other processes, and the next start,
  learn their session indexes from. The one topic of which a crash may repeat or lose a batch.
- `ranker-inputs`: key user_id, value `schemas/ranker_inputs.avsc`; what the ranker saw, one record
  for each recommendation of the share `log_ranker_inputs`; without it there is no such arrow.

Run it with `python -m bytewax.run dataflows.recommender`.
"""

from bytewax.dataflow import Dataflow

from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.opening import open_job
from streamrec.dataflows.job.parts import by_shard, each_batch, split
from streamrec.dataflows.job.topics import CLICKS, RANKER_INPUTS, RECOMMENDATIONS, SESSIONS
from streamrec.dataflows.steps.count_once import count_once
from streamrec.dataflows.steps.decode import decode_clicks
from streamrec.dataflows.steps.encode import (
    ranker_input_columns,
    recommendation_columns,
    session_columns,
)
from streamrec.dataflows.steps.recommend import Learned, recommend
from streamrec.dataflows.steps.user_features import user_features
from streamrec.models.users.features import declared

FLOW_ID = "recommender"


def build_flow(job: Job) -> Dataflow:
    """Wire the picture above."""
    features = declared(job.settings.windows)
    counted = user_features(job.settings, features)

    flow = Dataflow(FLOW_ID)
    clicks = each_batch(
        "decode", job.read(flow, CLICKS), decode_clicks(job, features), failing="bad"
    )
    once = by_shard("once", clicks.good, job.keep(count_once(job.settings)), failing="repeated")
    featured = by_shard("user features", once.good, job.keep(counted), failing="late")
    answered = by_shard("recommend", featured.good, recommend(job, features), failing="failed")
    answers, learned = split("learned", answered.good, Learned)
    unencodable = job.write(answers, RECOMMENDATIONS, recommendation_columns, failing="unencodable")
    job.write(learned, SESSIONS, session_columns)
    if job.settings.log_ranker_inputs:
        # Another output of the same clicks: a group of its own.
        job.write(answers, RANKER_INPUTS, ranker_input_columns, group="ranker inputs")
    job.write_errors(clicks.failed, once.failed, featured.failed, answered.failed, unencodable)
    return flow


def flow() -> Dataflow:
    """The main job on real connectors, as the settings say."""
    return build_flow(open_job(FLOW_ID))
