"""The join with a delay of half a second, for a test that waits for it."""

from bytewax.dataflow import Dataflow

from benchmarks.join.flow import FLOW_ID, Offers, build_flow
from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.opening import open_job

LATE_MS = 500


class HurriedOffers(Offers):
    """Waits less for what comes late."""

    def __init__(self, job: Job) -> None:
        super().__init__(job, late_ms=LATE_MS)


def flow() -> Dataflow:
    return build_flow(open_job(FLOW_ID), HurriedOffers)
