"""`ingress`: takes events in over HTTP."""

import os
from typing import Annotated

import typer

from streamrec.connectors.patience import Patience
from streamrec.dataflows.job.logs import configure_logs
from streamrec.dataflows.job.settings import SettingsError
from streamrec.program.services.serving import serve_service
from streamrec.program.shared import UsageError, hand_on_debug, opened, say
from streamrec.services.http.app import HttpApp
from streamrec.services.http.settings import (
    HttpSettings,
    guard_of,
    load_service,
    unknown_services,
)
from streamrec.services.ingress.settings import IngressSettings
from streamrec.services.metrics.watched import Watched

_PATIENCE = Patience(5.0)  # of one question: a service asks again, and says what is away


def ingress(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0: a free one.  [default: 8080]")
    ] = None,
    open_to_all: Annotated[
        bool, typer.Option("--open", help="Serve others than this machine without any key.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes at this address.  [default: 1]")
    ] = None,
) -> None:
    """Take clicks, impressions, outcomes, records and inputs of pipelines in over HTTP, until asked
    to stop.

    Each is answered once the log has acknowledged it. SIGTERM lets what runs finish. Settings are
    STREAMREC_INGRESS_... and STREAMREC_HTTP_...: `streamrec settings`.
    """
    # Here and not above: the other commands need not wait for the server.
    from streamrec.services.ingress.app import IngressApp

    hand_on_debug(context)
    given = {name: v for name, v in (("host", host), ("port", port)) if v is not None}
    with opened(patience=_PATIENCE) as (log, job):
        configure_logs(job.log_level, job.log_format)
        try:
            settings = load_service(IngressSettings, **given)
            shared = {"open": open_to_all or None, "workers": workers}
            http = load_service(HttpSettings, **{n: v for n, v in shared.items() if v is not None})
            guard = guard_of(http, settings.host)
        except SettingsError as error:
            raise UsageError(f"settings: {error}") from None
        for told in unknown_services(os.environ, HttpSettings, IngressSettings):
            say(f"note: {told}")

        def make(seen: Watched) -> HttpApp:
            app = IngressApp(log, settings, job, guard)
            app.watch(seen)
            return app.http

        address = settings.host, settings.port
        serve_service("ingress", make, address, http, job.metrics_address)
