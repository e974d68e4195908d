"""What commands that serve over HTTP have in common: alone, or as several processes."""

from collections.abc import Callable

import typer

from streamrec.program.shared import CommandError, say
from streamrec.services.http.app import HttpApp
from streamrec.services.http.settings import HttpSettings
from streamrec.services.metrics.watched import Watched


def serve_service(
    name: str,
    make: Callable[[Watched], HttpApp],
    address: tuple[str, int],
    http: HttpSettings,
    metrics_address: str,
) -> None:
    """Serve what `make` makes, which lets itself be seen, until asked to stop; with several
    `workers`, look after processes that each do. Raises CommandError for an address that cannot be
    had, and typer.Exit with the status of workers."""
    # Here and not above: the other commands need not wait for the server.
    from streamrec.dataflows.engine.steady_process import settle
    from streamrec.services.http.server import AddressError, serve
    from streamrec.services.http.workers import own_command, run_workers, worker_index
    from streamrec.services.metrics.watched import watch_process
    from streamrec.services.traces.spans import TracesError

    host, port = address
    index = worker_index()

    def listening(url: str) -> None:
        settle()  # or the collector stops every request now and then
        if index is None:
            say(f"{name} listens on {url}")

    try:
        if http.workers > 1 and index is None:
            raise typer.Exit(
                run_workers(http.workers, own_command(), host, port, http.drain_s, listening)
            )
        serve(
            lambda: make(watch_process(name, name, metrics_address, index or 0)),
            host,
            port,
            drain_s=http.drain_s,
            listening=listening,
            shared=index is not None,
        )
    except (AddressError, TracesError) as error:
        raise CommandError(str(error)) from None


__all__ = ["serve_service"]
