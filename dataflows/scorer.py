"""Any models on topics of their own: each input is answered by its model, once.

    <model>.inputs ─▶ decode ─▶ score ─▶ encode outputs ─▶ <model>.outputs
                        │         │             │
                        └─ bad ───┴─ failed ────┴─ unencodable ─▶ encode errors ─▶ <model>.errors

    and for a shadow: decode ─▶ shadow ─▶ encode shadows ─▶ <model>.shadows

for each model of the list `STREAMREC_MODELS` (docs/serve.md); `<model>` is
`<prefix>.<name>.<major>.<minor>`.

- `inputs`: any key, value JSON or Avro (told by content) that the model's input schema takes, or
  bytes. A model may take another's outputs, other topics, or user features in their place.
- `outputs`: key, headers and time of the input; value what the model said, as JSON or Avro; one
  record for each input, also over a crash. Headers (of Avro the field `served`) say who answered.
- `errors`: key of the original, value `schemas/errors.avsc`; one record for each input that failed.
- `shadows`: as outputs, of models that are compared and never served; these may be left out, and a
  crash may repeat them.

Run it with `python -m bytewax.run dataflows.scorer`.
"""

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.opening import open_job
from streamrec.dataflows.job.parts import answer_beside, answer_later, each_batch
from streamrec.dataflows.serving.serve import serve

FLOW_ID = "scorer"


def build_flow(job: Job) -> Dataflow:
    """Wire the picture above, once for each model."""
    served = serve(job)

    flow = Dataflow(FLOW_ID)
    read = {
        each.step: [
            job.read(flow, topic, allowance=each.allowances[topic.name], reader=each.reader(topic))
            for topic in each.rows.inputs
        ]
        for each in served
    }
    for each in served:
        step, rows, raw = each.step, each.rows, read[each.step]
        inputs = op.merge(f"inputs {step}", *raw) if raw[1:] else raw[0]
        decoded = each_batch(f"decode {step}", inputs, each.decode, failing=f"bad {step}")
        answers = job.later(each.answer, again=each.decode, reader=step)
        scored = answer_later(f"score {step}", decoded.good, answers, failing=f"failed {step}")
        unencodable = job.write(
            scored.good, rows.outputs, each.outputs, failing=f"unencodable {step}", group=step
        )
        failed = [decoded.failed, scored.failed, unencodable]
        if rows.shadows is not None and each.shadow_outputs is not None:
            shadows = [
                answer_beside(
                    f"shadow {number} {step}", decoded.good, make, stopping=answers.stopping
                )
                for number, make in enumerate(each.shadows)
            ]
            answered = op.merge(f"shadows {step}", *shadows) if shadows[1:] else shadows[0]
            unencodable = job.write(
                answered,
                rows.shadows,
                each.shadow_outputs,
                failing=f"unencodable shadows {step}",
                group=f"shadows {step}",
            )
            failed.append(unencodable)
        job.write_errors(*failed, topic=rows.errors, group=step)
    return flow


def flow() -> Dataflow:
    """The scorer on real connectors, as the settings say."""
    return build_flow(open_job(FLOW_ID, inputs_change=True, share_clients=True))
