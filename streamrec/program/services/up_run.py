"""What `up` does."""

import os
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import typer

from streamrec.connectors.backend import open_log
from streamrec.connectors.local.free_ports import LOOPBACK, free_ports
from streamrec.connectors.log import Log, Outgoing
from streamrec.connectors.making_topics import subject_of
from streamrec.dataflows.engine.stopping import Stopping
from streamrec.dataflows.job.logs import configure_logs
from streamrec.dataflows.job.settings import Settings, SettingsError, load_settings
from streamrec.dataflows.job.topics import CLICKS, make_all
from streamrec.program.shared import CommandError, UsageError, say
from streamrec.schemas.json_codec import JsonEncoder
from streamrec.services.metrics.watched import watch_process
from streamrec.services.together.claims import ClaimError, check_free, folder_alone
from streamrec.services.together.keeper import Keeper, PartsError
from streamrec.services.together.page import PageServer
from streamrec.services.together.parts import Places, environment_of, parts_of
from streamrec.shop.front.history import visits
from streamrec.shop.front.products import PRODUCTS

_READY_S = 120.0  # the first start compiles kernels
_FLUSH_S = 60.0
_VISITS = 2_000


@dataclass(frozen=True, slots=True)
class Together:
    """What was asked for; a port of 0 is a free one."""

    folder: Path
    page_port: int
    ingress_port: int
    api_port: int
    visits: int | None  # None: some on the embedded log, whose topics are nobody else's


def run_together(wanted: Together) -> None:
    """Start all, tell where they are, and end all when asked to. Raises UsageError, CommandError,
    and `typer.Exit` with status 1 when a part did not end in good order."""
    stopping = Stopping().on_signals()
    places = _places(wanted)
    try:
        with folder_alone(places.folder):
            check_free({"--ingress-port": places.ingress_port, "--api-port": places.api_port})
            _run(places, wanted.visits, stopping)
    except ClaimError as error:
        raise CommandError(f"up: {error}") from error


def _run(places: Places, count: int | None, stopping: Stopping) -> None:
    """Raises as `run_together` does."""
    environment = environment_of(places, os.environ)
    settings = _settings(environment)
    configure_logs(settings.log_level, settings.log_format, "up")
    watch_process("up", "up", settings.metrics_address)
    log = open_log(settings)
    make_all(log, settings.topics())
    _remember(log, settings, count)
    config = {
        "ingress": places.ingress,
        "api": places.api,
        "products": [product.plain() for product in PRODUCTS],
    }
    keeper = Keeper(parts_of(places), environment, places.folder / "logs", stopping)
    try:
        page = PageServer(LOOPBACK, places.page_port, config)
    except OSError as error:
        raise CommandError(f"up: port {places.page_port} cannot be had: {error}") from error
    with page:
        keeper.start()
        good = True
        try:
            keeper.await_ready(_READY_S)
            if not stopping():
                _tell(places)
            keeper.keep()
        except PartsError as error:
            raise CommandError(f"up: {error}") from error
        finally:
            good = keeper.stop()
    say("all have ended" + ("" if good else ", not all in good order"))
    if not good:
        raise typer.Exit(1)


def _places(wanted: Together) -> Places:
    free = iter(free_ports(3))
    ports = [
        port or next(free) for port in (wanted.ingress_port, wanted.api_port, wanted.page_port)
    ]
    return Places(wanted.folder.resolve(), *ports)


def _settings(environment: Mapping[str, str]) -> Settings:
    os.environ.update(environment)  # which is what settings are read from
    try:
        return load_settings()
    except SettingsError as error:
        raise UsageError(f"settings: {error}") from None


def _remember(log: Log, settings: Settings, count: int | None) -> None:
    """Put visits on a topic of clicks that is empty."""
    if count is None:
        count = _VISITS if settings.backend == "embedded" else 0
    topic = settings.topic(CLICKS)
    with closing(log.admin()) as admin:
        if not count or any(admin.ends(topic).values()):
            return
    with closing(log.registry()) as registry:
        registered = registry.latest(subject_of(topic))
    encode = JsonEncoder(registered.schema, registered.id).encode
    clicks = visits(count, int(time.time() * 1000))
    with closing(log.writer()) as writer:
        writer.write(
            topic, (Outgoing(click["user_id"].encode(), encode(click)) for click in clicks)
        )
        writer.flush(_FLUSH_S)
    say(f"{count} visits are on the empty topic {topic!r}, to learn from")


def _tell(places: Places) -> None:
    for what, where in (
        ("clicks go to", f"{places.ingress}/clicks"),
        ("recommendations come from", f"{places.api}/recommendations/USER"),
        ("logs are in", places.folder / "logs"),
        ("the page", places.page),
    ):
        typer.echo(f"{what:<26}{where}")
    say("Ctrl-C ends all")
