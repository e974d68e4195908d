"""`api`: gives recommendations out over HTTP."""

import os
from typing import Annotated

import typer

from streamrec.connectors.patience import Patience
from streamrec.dataflows.job.logs import configure_logs
from streamrec.dataflows.job.settings import SettingsError
from streamrec.program.services.serving import serve_service
from streamrec.program.shared import CommandError, UsageError, hand_on_debug, opened, say
from streamrec.services.api.settings import ApiSettings
from streamrec.services.http.app import HttpApp
from streamrec.services.http.settings import (
    HttpSettings,
    guard_of,
    load_service,
    unknown_services,
)
from streamrec.services.metrics.watched import Watched

_PATIENCE = Patience(5.0)  # of one question: a service asks again


def api(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0: a free one.  [default: 8081]")
    ] = None,
    open_to_all: Annotated[
        bool, typer.Option("--open", help="Serve others than this machine without any key.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes at this address.  [default: 1]")
    ] = None,
) -> None:
    """Give out recommendations over HTTP, and what is known of items and users, until asked to
    stop.

    They come from the store that `streamrec run --flow dataflows.store` keeps, and from an index
    that follows the topic of sessions. Settings are STREAMREC_STORE, STREAMREC_API_... and
    STREAMREC_HTTP_...: `streamrec settings`.
    """
    # Here and not above: the other commands need not wait for the server and the models.
    from streamrec.services.api.app import ApiApp
    from streamrec.services.store.contract import StoreError

    hand_on_debug(context)
    given = {name: v for name, v in (("host", host), ("port", port)) if v is not None}
    with opened(patience=_PATIENCE) as (log, job):
        configure_logs(job.log_level, job.log_format)
        try:
            settings = load_service(ApiSettings, **given)
            shared = {"open": open_to_all or None, "workers": workers}
            http = load_service(HttpSettings, **{n: v for n, v in shared.items() if v is not None})
            guard = guard_of(http, settings.host)
        except SettingsError as error:
            raise UsageError(f"settings: {error}") from None
        for told in unknown_services(os.environ, HttpSettings, ApiSettings):
            say(f"note: {told}")

        def make(seen: Watched) -> HttpApp:
            app = ApiApp(log, job, guard)
            app.watch(seen)
            return app.http

        try:
            address = settings.host, settings.port
            serve_service("api", make, address, http, job.metrics_address)
        except StoreError as error:
            raise CommandError(str(error)) from None
