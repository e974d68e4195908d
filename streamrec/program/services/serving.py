"""What commands that serve over HTTP share: options, settings, one process or several."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

import typer
from pydantic_settings import BaseSettings

from streamrec.connectors.patience import Patience
from streamrec.dataflows.job.logs import configure_logs
from streamrec.dataflows.job.settings import Settings, SettingsError
from streamrec.program.shared import CommandError, UsageError, say
from streamrec.services.http.app import Guard, HttpApp
from streamrec.services.http.settings import (
    HttpSettings,
    guard_of,
    load_service,
    unknown_services,
)
from streamrec.services.metrics.watched import Watched

PATIENCE = Patience(5.0)  # of one question: a service asks again, and says what is away

Host = Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")]
OpenToAll = Annotated[
    bool, typer.Option("--open", help="Serve others than this machine without any key.")
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes at this address.  [default: 1]")
]

S = TypeVar("S", bound=BaseSettings)


@dataclass(frozen=True, slots=True)
class ServiceOptions(Generic[S]):
    """What options and environment say of a service."""

    settings: S  # its own
    address: tuple[str, int]
    http: HttpSettings
    guard: Guard


def service_options(
    kind: type[S],
    job: Settings,
    host: str | None,
    port: int | None,
    open_to_all: bool,
    workers: int | None,
) -> ServiceOptions[S]:
    """Options, and settings of this kind where there are none; misspelt settings are told. Raises
    UsageError."""
    configure_logs(job.log_level, job.log_format)
    own = {"host": host, "port": port}
    shared = {"open": open_to_all or None, "workers": workers}
    try:
        settings = load_service(kind, **{n: v for n, v in own.items() if v is not None})
        http = load_service(HttpSettings, **{n: v for n, v in shared.items() if v is not None})
        address: tuple[str, int] = settings.host, settings.port  # type: ignore[attr-defined]  # of every service's
        guard = guard_of(http, address[0])
    except SettingsError as error:
        raise UsageError(f"settings: {error}") from None
    for told in unknown_services(os.environ, HttpSettings, kind):
        say(f"note: {told}")
    return ServiceOptions(settings, address, http, guard)


def serve_service(
    name: str,
    make: Callable[[Watched], HttpApp],
    service: ServiceOptions[S],
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

    (host, port), http = service.address, service.http
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


__all__ = [
    "PATIENCE",
    "Host",
    "OpenToAll",
    "ServiceOptions",
    "Workers",
    "serve_service",
    "service_options",
]
