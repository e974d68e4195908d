"""What models answered, with what came of it: examples to learn from and to judge by.

    <pipeline>.inputs, .outputs ─▶ decode ─┐
    outcomes ─▶ decode ────────────────────┼▶ label ─▶ encode ─▶ training-examples
    recommendations, ranker-inputs,        │    │          │
    impressions, clicks ─▶ decode ─────────┘    │          │
                            └─ bad ─────────────┴─ failed ─┴─▶ encode errors ─▶ errors

for each pipeline of the learning file (`STREAMREC_LEARNING`, docs/learning.md): scores of a listed
model, or the main job's recommendations. Only what they need is read.

- `<pipeline>.inputs`, `.outputs`: as `dataflows.scorer` has them; the request's id; the log's time.
- `outcomes`: of scores by recommendation_id, which names the request; of items by user_id.
- `recommendations`, `ranker-inputs`, `impressions`, `clicks`: by user_id; event time.
- `training-examples`: key request_id, value `schemas/training_examples.avsc`; of each answer the
  labels 0, 1, ..., each of them once, also over a crash, a replay and rescaling.
- `errors`: what cannot be decoded, what waited in vain (`too_late`), what comes again (`repeated`),
  and what there was no room for (`state_full`).

Run it with `python -m bytewax.run dataflows.labels`.
"""

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.opening import open_job
from streamrec.dataflows.job.parts import by_shard, each_batch
from streamrec.dataflows.job.topics import TRAINING_EXAMPLES
from streamrec.dataflows.learning.examples import example_columns
from streamrec.dataflows.learning.labelling import labelling

FLOW_ID = "labels"


def build_flow(job: Job) -> Dataflow:
    """Wire the picture above."""
    labels = labelling(job)

    flow = Dataflow(FLOW_ID)
    raw = [job.read(flow, topic, timed=True) for topic, _ in labels.topics]
    read = [
        each_batch(f"decode {topic.read_step}", up, decode, failing=f"bad {topic.read_step}")
        for up, (topic, decode) in zip(raw, labels.topics, strict=True)
    ]
    everything = op.merge("everything", *(parts.good for parts in read))
    labelled = by_shard("label", everything, job.keep(labels.made), failing="failed")
    unencodable = job.write(
        labelled.good, TRAINING_EXAMPLES, example_columns(FLOW_ID), failing="unencodable"
    )
    job.write_errors(*(parts.failed for parts in read), labelled.failed, unencodable)
    return flow


def flow() -> Dataflow:
    """Labels on real connectors, as the settings say."""
    return build_flow(open_job(FLOW_ID))
