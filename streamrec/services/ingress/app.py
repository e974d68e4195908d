"""Ingress put together: what it needs before its first request, and what it closes at the end."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

from streamrec.connectors.log import (
    Log,
    LogError,
    RegistryUnavailableError,
    SchemaError,
    UnknownSchemaError,
)
from streamrec.connectors.making_topics import subject_of
from streamrec.dataflows.job.settings import Settings
from streamrec.services.http.app import Guard, HttpApp
from streamrec.services.http.settings import is_loopback
from streamrec.services.ingress.callers import Callers
from streamrec.services.ingress.event_ids import EventIds
from streamrec.services.ingress.events import KINDS, EventKind, EventMaker
from streamrec.services.ingress.following import Following
from streamrec.services.ingress.service import Ingress
from streamrec.services.ingress.settings import IngressSettings
from streamrec.services.ingress.topics import AllowedTopics, KeptTargets
from streamrec.services.ingress.writer import Writer
from streamrec.services.ingress.writing import EventWriter
from streamrec.services.metrics.watched import Watched

_logger = logging.getLogger(__name__)

_AGAIN_S = 0.5


class IngressApp:
    """What lives as long as the service does."""

    def __init__(
        self, log: Log, settings: IngressSettings, job: Settings, guard: Guard | None = None
    ) -> None:
        self._log = log
        self._job = job
        names = {kind: job.topic(kind.topic) for kind in KINDS}
        self._names = names
        self._once_topics = [*names.values(), *settings.topics]
        self.ids = EventIds(job.once_s)
        self.writer = Writer(
            log, settings.queue_events, settings.ack_timeout_s, list(names.values())
        )
        self._following = Following(log)
        self._makers: dict[EventKind, EventMaker] = {}
        self._known: dict[EventKind, EventMaker] = {}
        self._why_not: str | None = "the schemas are not known yet"
        self._closing = threading.Event()
        ingress = Ingress(
            settings,
            self.writer,
            EventWriter(self.writer, self.ids, settings.ack_timeout_s),
            self._makers,
            Callers(settings, is_secure=not is_loopback(settings.host)),
            AllowedTopics(log, frozenset(settings.topics)),
            KeptTargets(log, job),
            self._following,
        )
        self.http = HttpApp(
            "streamrec ingress", ingress.routes(), guard, self._why_not_ready, self._lifespan
        )

    def watch(self, seen: Watched) -> None:
        """Let others see how it goes. Raises TracesError."""
        self.http.watch(seen, "ingress")
        seen.gauge(
            "streamrec_queue_records",
            "Records that wait for the log's acknowledgement.",
            lambda: self.writer.waiting,
            queue="writer",
        )

    def _why_not_ready(self) -> str | None:
        return self._why_not or self.writer.why_away()

    @asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        self.writer.start()
        preparing = asyncio.ensure_future(asyncio.to_thread(self._prepare))
        try:
            yield
        finally:
            self._closing.set()
            try:
                await preparing
            finally:
                await asyncio.to_thread(self.writer.stop)
                await asyncio.to_thread(self._following.stop)
                self.writer.close()

    def _prepare(self) -> None:
        """Learn, in a thread, what cannot be done without: schemas, and ids of the window. What is
        away is asked for again until it is there; what is missing may yet be made."""
        for what, step in (
            ("the schemas are not known yet", self._learn_schemas),
            ("the event ids of the window are not read yet", self._read_ids),
        ):
            self._why_not = what
            if not self._until_done(step):
                return
        self._why_not = None

    def _until_done(self, step: Callable[[], None]) -> bool:
        told = ""
        while not self._closing.is_set():
            try:
                step()
            except UnknownSchemaError as error:
                told = _tell(f"{error}; `streamrec topics create` registers it", told)
            except (LogError, SchemaError, RegistryUnavailableError) as error:
                told = _tell(str(error), told)
            except Exception as error:  # nobody looks at this thread before the end
                if told != repr(error):
                    told = repr(error)
                    _logger.error("ingress cannot begin: %s; trying again", told, exc_info=error)
            else:
                return True
            self._closing.wait(_AGAIN_S)
        return False

    def _learn_schemas(self) -> None:
        """Raises LogError, SchemaError, RegistryUnavailableError."""
        with closing(self._log.registry()) as registry:
            found = {
                kind: registry.find(subject_of(name), kind.topic.schema)
                for kind, name in self._names.items()
            }
        self._known = {
            kind: EventMaker(kind, name, found[kind].id, self._job.max_ahead_s)
            for kind, name in self._names.items()
        }

    def _read_ids(self) -> None:
        """Raises LogError."""
        count = self.ids.read_back(self._log, self._once_topics, self._closing.is_set)
        if self._closing.is_set():
            return
        _logger.info("%d event ids of the last %.0f s are known", count, self.ids.once_s)
        self._makers.update(self._known)  # from now on events are taken


def _tell(message: str, before: str) -> str:
    """Say what is waited for, once."""
    if message != before:
        _logger.warning("%s; waiting", message)
    return message


__all__ = ["IngressApp"]
