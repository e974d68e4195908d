"""The newest recommendation of each user, in a store from which pages ask for it.

    recommendations ─▶ decode ─▶ store
                         └─ bad ─▶ encode errors ─▶ errors

- `recommendations`: key user_id, value `schemas/recommendations.avsc`; those of shadows are passed
  over. Newer is by event time (`requested_at`, Unix milliseconds), then by partition and offset of
  the click that asked.
- `store`: key user_id, value as `services/store/users.py` says: the newest recommendation as it
  came, and the last 20 items that the user asked at. Settings name it (STREAMREC_STORE): a folder,
  which the processes of one machine write in turns, or Redis or Valkey.
- `errors`: key of the original, value `schemas/errors.avsc`; one record for each recommendation
  that cannot be read.

What is put is merged into what is there: nothing goes back in time, and what a crash repeats
changes nothing. The store is synced before an epoch is done. Made anew from the topic beside the
one in use: `streamrec store rebuild`.

Run it with `python -m bytewax.run dataflows.store`.
"""

from bytewax.dataflow import Dataflow

from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.opening import open_job
from streamrec.dataflows.job.parts import each_batch
from streamrec.dataflows.job.topics import RECOMMENDATIONS
from streamrec.dataflows.steps.newest import newest_of_users
from streamrec.services.store.users import USERS

FLOW_ID = "store"


def build_flow(job: Job) -> Dataflow:
    """Wire the picture above."""
    flow = Dataflow(FLOW_ID)
    newest = each_batch(
        "decode", job.read(flow, RECOMMENDATIONS), newest_of_users(job), failing="bad"
    )
    job.put("store", newest.good, USERS)
    job.write_errors(newest.failed)
    return flow


def flow() -> Dataflow:
    """The store's flow on real connectors, as the settings say."""
    return build_flow(open_job(FLOW_ID))
