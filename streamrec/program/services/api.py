"""`api`: gives recommendations out over HTTP."""

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
from streamrec.program.shared import CommandError, hand_on_debug, opened
from streamrec.services.api.settings import ApiSettings
from streamrec.services.http.app import HttpApp
from streamrec.services.metrics.watched import Watched


def api(
    context: typer.Context,
    host: Host = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0: a free one.  [default: 8081]")
    ] = None,
    open_to_all: OpenToAll = False,
    workers: Workers = None,
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
    with opened(patience=PATIENCE) as (log, job):
        service = service_options(ApiSettings, job, host, port, open_to_all, workers)

        def make(seen: Watched) -> HttpApp:
            app = ApiApp(log, job, service.guard)
            app.watch(seen)
            return app.http

        try:
            serve_service("api", make, service, job.metrics_address)
        except StoreError as error:
            raise CommandError(str(error)) from None
