"""`run-cluster`: a dataflow in several processes on this machine."""

import os
from typing import Annotated, Any

import typer

from streamrec.program.shared import UsageError, hand_on_debug

# For `typer`: what follows the dataflow goes to the engine as it stands.
CLUSTER_CONTEXT: dict[str, Any] = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
}


def run_cluster(
    context: typer.Context,
    processes: Annotated[int, typer.Argument(min=1, help="How many processes.")],
    flow: Annotated[str, typer.Argument(help="Module of the dataflow, ours or yours.")],
    workers: Annotated[int, typer.Option(min=1, help="Threads of each process.")] = 1,
) -> None:
    """Run a dataflow in several processes, and start all again when one dies.

    They go on from the last snapshot, at once the first time and ever more slowly, up to 30 s,
    while they die young. What comes after the dataflow goes to the engine:
    `run-cluster 2 dataflows.recommender -r state -s 10 -b 0`. SIGTERM and SIGINT stop all in good
    order; the exit status is 0 when all ended so.
    """
    # Here and not above: the other commands have nothing to do with it.
    from streamrec.connectors.backend import require_log
    from streamrec.dataflows.engine.supervisor import Cluster, ClusterOptions, Supervisor
    from streamrec.dataflows.job.logs import configure_logs
    from streamrec.dataflows.job.module_names import FlowError, module_name
    from streamrec.dataflows.job.settings import SettingsError, load_settings
    from streamrec.services.metrics.watched import watch_process

    hand_on_debug(context)
    try:
        module, settings = module_name(flow), load_settings()
    except FlowError as error:
        raise UsageError(f"run-cluster: {error}") from None
    except SettingsError as error:
        raise UsageError(f"settings: {error}") from None
    require_log(settings)  # once, and not by each process at each start
    configure_logs(settings.log_level, settings.log_format, "supervisor")
    options = ClusterOptions(module, context.args, processes, workers, dict(os.environ))
    cluster = Cluster(options)
    cluster.measure(watch_process("supervisor", module, settings.metrics_address))
    raise typer.Exit(Supervisor(cluster).run())
