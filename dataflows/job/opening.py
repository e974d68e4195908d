"""Opens the job of a dataflow: its log, its saved state, its leases."""

import logging
import os
from collections.abc import Callable

from streamrec.connectors.backend import open_log, require_log
from streamrec.connectors.patience import Patience
from streamrec.connectors.shared_log import SharedLog
from streamrec.dataflows.engine import steady_process
from streamrec.dataflows.engine.flags import addresses, process_index
from streamrec.dataflows.engine.holding import Holding
from streamrec.dataflows.engine.leaving import leave_with_one_line
from streamrec.dataflows.engine.peers import Peers
from streamrec.dataflows.engine.recovery import prepare_recovery_directory
from streamrec.dataflows.engine.stopping import Stopping
from streamrec.dataflows.engine.watch import Watch
from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.logs import configure_logs
from streamrec.dataflows.job.measures import measure
from streamrec.dataflows.job.saved_state import (
    hold_log,
    hold_state,
    state_directory,
)
from streamrec.dataflows.job.settings import (
    Settings,
    load_settings,
    unknown_settings,
)
from streamrec.dataflows.job.starting_elsewhere import settle_replay
from streamrec.dataflows.job.traced import FlowTraces
from streamrec.services.metrics.watched import watch_process
from streamrec.services.traces.spans import open_traces

_logger = logging.getLogger(__name__)


def open_job(flow_id: str, *, inputs_change: bool = False, share_clients: bool = False) -> Job:
    """The job of a dataflow as the environment says: for its function `flow`.

    Settles what a replay does to saved state, takes a lease of the recovery directory, makes a new
    one usable, and opens the log. Raises SettingsError, and InUseError when another process writes
    there, StateFileError for saved state that is not what was saved, and TracesError where traces
    cannot be had.

    `inputs_change`: the dataflow may read other topics than at its last start, as when it serves a
    list of models: added, removed, in another order. One that was removed goes on, once it is back,
    where it was. Any inputs but timed ones.
    `share_clients`: all topics share a reader, a writer and an admin for each worker
    (`connectors.shared_log`), so that clients do not grow with the number of topics.
    """
    leave_with_one_line()
    settings, stopping = load_settings(), Stopping().on_signals()
    place = f"process {process_index()}" if len(addresses()) > 1 else None
    configure_logs(settings.log_level, settings.log_format, place)
    for told in unknown_settings(os.environ):
        _logger.warning("%s", told)
    watch = Watch(stopping, Peers(process_index(), addresses()), settings.join_s)
    watch.start()
    index = process_index()
    seen = watch_process("dataflow", flow_id, settings.metrics_address, index, announced=False)
    seen.health.set("start", "it has not begun yet")
    traces = open_traces(flow_id)

    def on_built() -> None:
        watch.runs()
        steady_process.settle()
        seen.health.set("start", None)
        seen.announce()
        job.start_reporting()

    job = open_job_with(
        flow_id,
        settings,
        on_built,
        stopping,
        inputs_change=inputs_change,
        share_clients=share_clients,
    )
    measure(job, seen)
    if traces is not None:
        job.report.traces = FlowTraces(traces, flow_id)
    return job


def open_job_with(
    flow_id: str,
    settings: Settings,
    on_built: Callable[[], object] = lambda: None,
    stopping: Stopping | None = None,
    *,
    inputs_change: bool = False,
    share_clients: bool = False,
) -> Job:
    """The same with settings given, and nothing that ends the process while it waits. `on_built` is
    called once, when the engine begins."""
    stopping = stopping or Stopping().on_signals()
    require_log(settings)  # before anything is made, or put aside
    holding = Holding()
    settle_replay(settings, lambda: hold_state(holding, settings), inputs_change)
    hold_state(holding, settings)
    durable_epoch = prepare_recovery_directory(state_directory(settings))
    # Whatever it asks of a broker or a registry that is away, a job waits.
    log = open_log(settings, Patience(None, stopping), make=False)
    hold_log(holding, log, settings, flow_id)
    if share_clients:
        log = SharedLog(log)
    return Job(flow_id, settings, log, on_built, holding, durable_epoch, stopping, inputs_change)


__all__ = ["open_job", "open_job_with"]
