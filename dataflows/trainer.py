"""Models learn from examples: online at once, or anew in a process of their own.

    training-examples ─▶ decode ─▶ learn ─▶ encode ─▶ training-runs ─▶ (retraining) ─▶ models
                           │         │         │
                           └─ bad ───┴─ late ──┴─▶ encode errors ─▶ errors
                                     └─ versions learned online ─▶ models, model-events

for each entry of the learning file (`STREAMREC_LEARNING`) that has a trainer.

- `training-examples`: key request_id, value `schemas/training_examples.avsc`; sharded by pipeline,
  in the order of `labelled_at`, the event time, Unix milliseconds.
- `training-runs`: key pipeline, value `schemas/training_runs.avsc`; one record whenever a model is
  to be made, exactly once, at the same counts in every run.
- `models`, `model-events`: as `dataflows.learning.publishing` writes them. A version is published
  once: what a crash repeats finds it there.
- `errors`: examples that cannot be read, or whose inputs do not fit.

Retraining follows `training-runs` in the first process of a cluster, and works in a process of its
own at the lowest priority; one that is killed is begun again.

Run it with `python -m bytewax.run dataflows.trainer`.
"""

from bytewax.dataflow import Dataflow

from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.opening import open_job
from streamrec.dataflows.job.parts import by_shard, each_batch
from streamrec.dataflows.job.topics import MODEL_EVENTS, MODELS, TRAINING_EXAMPLES, TRAINING_RUNS
from streamrec.dataflows.learning.desk import Desk, PaperDesk
from streamrec.dataflows.learning.learn import Learn, Trainers
from streamrec.dataflows.learning.training import open_training, trainers_of
from streamrec.dataflows.steps.decode_records import decode_records
from streamrec.dataflows.steps.outputs import outputs_of

FLOW_ID = "trainer"


def build_flow(job: Job, trainers: Trainers | None = None, desk: Desk | None = None) -> Dataflow:
    """Wire the picture above. Without `trainers` those of the settings; without a desk nothing is
    published."""
    known = trainers_of(job.settings) if trainers is None else trainers
    out = desk or PaperDesk()

    flow = Dataflow(FLOW_ID)
    job.uses(MODELS, MODEL_EVENTS)
    decode = decode_records(job, TRAINING_EXAMPLES, key="pipeline", time="labelled_at")
    raw = job.read(flow, TRAINING_EXAMPLES, timed=True)
    examples = each_batch("decode", raw, decode, failing="bad")
    learned = by_shard(
        "learn", examples.good, job.keep(lambda: Learn(job, known, out)), failing="late"
    )
    unencodable = job.write(
        learned.good, TRAINING_RUNS, outputs_of(job, TRAINING_RUNS), failing="unencodable"
    )
    job.write_errors(examples.failed, learned.failed, unencodable)
    return flow


def flow() -> Dataflow:
    """The trainer on real connectors, as the settings say."""
    job = open_job(FLOW_ID)
    trainers = trainers_of(job.settings, required=True)
    return build_flow(job, trainers, open_training(job, trainers))
