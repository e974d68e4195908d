"""How good answers are: each against what came of it, over windows of event time.

    clicks ────────────┐
    recommendations ───┼▶ decode ─▶ judge ─▶ windows ─▶ encode metrics ─▶ metrics
    training-examples ─┘     └─ bad ───┴──────┴─ failed ─▶ encode errors ─▶ errors

for the pipelines of the learning file `STREAMREC_LEARNING` (docs/learning.md): clicks and
recommendations where it has one for `recommender`, training-examples where it has others.

- `clicks`, `recommendations`: key user_id; event time `timestamp` and `requested_at`, Unix ms. A
  click judges the newest recommendation before it of its user.
- `training-examples`: key request_id; event time `labelled_at`. A label judges its score, in the
  window of `served_at`.
- `metrics`: key model, value `schemas/metrics.avsc`; of a window, and for each model, version,
  variant and segment, one record for each metric, also over a crash.

Run it with `python -m bytewax.run dataflows.evaluation`.
"""

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.opening import open_job
from streamrec.dataflows.job.parts import by_shard, each_batch
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import CLICKS, METRICS, TRAINING_EXAMPLES, Topic
from streamrec.dataflows.learning.judge import JudgeAnswers, judged_topics
from streamrec.dataflows.learning.judged_windows import JudgedWindows
from streamrec.dataflows.learning.plan import BadPlan, read_plan
from streamrec.dataflows.steps.decode_records import DecodeRecords, decode_records
from streamrec.dataflows.steps.outputs import outputs_of
from streamrec.dataflows.steps.rules import EventTime

FLOW_ID = "evaluation"
_TIMES = {CLICKS: "timestamp", TRAINING_EXAMPLES: "labelled_at"}


def decode_judged(job: Job, topic: Topic) -> DecodeRecords:
    """The step `decode` of one of the topics."""
    rules = (EventTime("timestamp"),) if topic is CLICKS else ()
    return decode_records(job, topic, time=_TIMES.get(topic), rules=rules)


def build_flow(job: Job) -> Dataflow:
    """Wire the picture above."""
    try:
        plan = read_plan(job.settings.learning)
    except BadPlan as error:
        raise StartError(str(error)) from error

    flow = Dataflow(FLOW_ID)
    raw = {topic: job.read(flow, topic, timed=True) for topic in judged_topics(plan)}
    read = [
        each_batch(
            f"decode {topic.name}", batches, decode_judged(job, topic), failing=f"bad {topic.name}"
        )
        for topic, batches in raw.items()
    ]
    everything = op.merge("everything", *(parts.good for parts in read))
    judged = by_shard(
        "judge", everything, job.keep(lambda: JudgeAnswers(job, plan)), failing="failed"
    )
    # The sums of all shards go to one: what they add up to is one record.
    sums = op.map("together", judged.good, lambda keyed: (keyed[1].shard, keyed[1]))
    windows = by_shard(
        "windows", sums, job.keep(lambda: JudgedWindows(job, plan)), failing="impossible"
    )
    unencodable = job.write(windows.good, METRICS, outputs_of(job, METRICS), failing="unencodable")
    bad = [parts.failed for parts in read]
    job.write_errors(*bad, judged.failed, windows.failed, unencodable)
    return flow


def flow() -> Dataflow:
    """The evaluation on real connectors, as the settings say."""
    return build_flow(open_job(FLOW_ID))
