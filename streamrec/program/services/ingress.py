"""`ingress`: takes events in over HTTP."""

from typing import Annotated

import typer

from streamrec.program.services.serving import (
    PATIENCE,
    Host,
    OpenToAll,
    Workers,
    serve_service,
    service_options,
)
from streamrec.program.shared import hand_on_debug, opened
from streamrec.services.http.app import HttpApp
from streamrec.services.ingress.settings import IngressSettings
from streamrec.services.metrics.watched import Watched


def ingress(
    context: typer.Context,
    host: Host = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0: a free one.  [default: 8080]")
    ] = None,
    open_to_all: OpenToAll = False,
    workers: Workers = None,
) -> None:
    """Take clicks, impressions, outcomes, records and inputs of pipelines in over HTTP, until asked
    to stop.

    Each is answered once the log has acknowledged it. SIGTERM lets what runs finish. Settings are
    STREAMREC_INGRESS_... and STREAMREC_HTTP_...: `streamrec settings`.
    """
    # Here and not above: the other commands need not wait for the server.
    from streamrec.services.ingress.app import IngressApp

    hand_on_debug(context)
    with opened(patience=PATIENCE) as (log, job):
        service = service_options(IngressSettings, job, host, port, open_to_all, workers)

        def make(seen: Watched) -> HttpApp:
            app = IngressApp(log, service.settings, job, service.guard)
            app.watch(seen)
            return app.http

        serve_service("ingress", make, service, job.metrics_address)
