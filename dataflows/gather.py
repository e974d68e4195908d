"""Inputs of several topics, put together by key within a window: what ensembles are asked with.

    <topics of a gather> ─▶ decode ─▶ gather ─▶ encode ─▶ <model>.inputs
                              │         │          │
                              └─ bad ───┴─ failed ─┴─▶ encode errors ─▶ <model>.errors

for each model of the list `STREAMREC_MODELS` that has a `gather` (docs/serve.md). What comes of it
is answered by `dataflows.scorer`.

- the topics: outputs of other models, or anybody's JSON; the record's own key, the log's time.
- `<model>.inputs`: the key; value JSON, `{"<model or topic>": its value, ...}`; one record for each
  group, also over a crash.
- `errors`: a record that cannot be decoded, or whose group was not whole in time.

Run it with `python -m bytewax.run dataflows.gather`.
"""

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.opening import open_job
from streamrec.dataflows.job.parts import by_shard, each_batch
from streamrec.dataflows.serving.gathering import gathered_columns
from streamrec.dataflows.serving.groups import gatherings
from streamrec.dataflows.steps.decode_records import decode_records

FLOW_ID = "gather"


def build_flow(job: Job) -> Dataflow:
    """Wire the picture above, once for each model that gathers."""
    groups = gatherings(job)

    flow = Dataflow(FLOW_ID)
    raw = {topic.name: job.read(flow, topic, timed=True) for topic in groups.topics}
    read = {
        topic.name: each_batch(
            f"decode {topic.read_step}",
            raw[topic.name],
            decode_records(job, topic, time=""),
            failing=f"bad {topic.read_step}",
        )
        for topic in groups.topics
    }
    # All of them go to each: what time it is, all inputs say together.
    everything = op.merge("everything", *(parts.good for parts in read.values()))
    for each in groups.of_models:
        step, target = each.step, each.target
        gathered = by_shard(
            f"gather {step}", everything, job.keep(each.made), failing=f"failed {step}"
        )
        unencodable = job.write(
            gathered.good, target, gathered_columns(), failing=f"unencodable {step}", group=step
        )
        bad = [read[name].failed for name in each.tells_of]
        job.write_errors(*bad, gathered.failed, unencodable, topic=each.errors, group=step)
    return flow


def flow() -> Dataflow:
    """The gatherer on real connectors, as the settings say."""
    return build_flow(open_job(FLOW_ID))
