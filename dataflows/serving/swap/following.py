"""Where a job reads published models, and what follows them until it ends."""

import logging
from collections.abc import Sequence

from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Log, LogError
from streamrec.connectors.shared_log import SharedLog
from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.paper import PaperJob
from streamrec.dataflows.learning.published import ModelTopics
from streamrec.dataflows.serving.swap.swapping import Swapping
from streamrec.dataflows.serving.swap.watch import ModelWatch

_logger = logging.getLogger(__name__)


def watch_of(job: Job) -> ModelWatch:
    """What reads the topics of models, now. Raises LogError, StartError."""
    return ModelWatch(_log_of(job), ModelTopics.of(job.settings))


def follow(job: Job, watch: ModelWatch, pipelines: Sequence[Swapping]) -> None:
    """Let pipelines follow their models until the job ends."""
    for each in pipelines:
        watch.add(each)
    watch.begin()

    def end() -> None:
        watch.close()
        for each in pipelines:
            try:
                each.close()
            except LogError as error:  # the next start waits for what is there now
                _logger.warning("model-events: not told where this run ended: %s", error)
            each.close_apart()

    job.at_end(end)


def _log_of(job: Job) -> Log:
    if isinstance(job, PaperJob):
        # What a pipeline takes is known to the version that is published, and to nobody else.
        return open_log(job.settings, make=False)
    # Its clients go from one thread to another.
    return job.log.unshared if isinstance(job.log, SharedLog) else job.log


__all__ = ["follow", "watch_of"]
