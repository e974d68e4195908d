"""The API put together: what it needs before its first request, and what it closes at the end."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing

from streamrec.connectors.log import Log, LogError, RegistryUnavailableError, SchemaError
from streamrec.dataflows.engine import steady_process
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import IMPRESSIONS, SESSIONS
from streamrec.models.users.features import Feature, declared
from streamrec.services.api.handlers import Handlers
from streamrec.services.api.known import KnownUsers
from streamrec.services.api.live import LiveItems, live_items
from streamrec.services.api.routes import routes_of
from streamrec.services.api.seen import Impressions
from streamrec.services.http.app import Guard, HttpApp
from streamrec.services.http.problems import Problem
from streamrec.services.ingress.writer import Writer
from streamrec.services.metrics.watched import Watched
from streamrec.services.store.opening import is_local, open_store

_logger = logging.getLogger(__name__)

_QUEUE_EVENTS = 20_000
_ACK_TIMEOUT_S = 10.0
_AGAIN_S = 0.5
_LOADING = "what was clicked is not read yet"


class ApiApp:
    """What lives as long as the service does."""

    def __init__(self, log: Log, job: Settings, guard: Guard | None = None) -> None:
        """Raises StoreError for a setting that names no store."""
        self._log = log
        self._job = job
        self._store = open_store(job.store)
        self._registry = log.registry()
        self._users = KnownUsers(self._store, self._registry, is_local(job.store))
        self._live: LiveItems | None = None
        self._writer = Writer(log, _QUEUE_EVENTS, _ACK_TIMEOUT_S)
        self._impressions = Impressions(self._writer, job.topic(IMPRESSIONS), job.max_ahead_s)
        self._features = declared(job.windows)
        self._closing = threading.Event()
        handlers = Handlers(
            self._users,
            self._loaded,
            job.topic(SESSIONS),
            job.session_gap_s * 1_000,
            self._features_of,
            self._impressions,
        )
        self.http = HttpApp(
            "streamrec api", routes_of(handlers), guard, self._why_not_ready, self._lifespan
        )

    def watch(self, seen: Watched) -> None:
        """Let others see how it goes. Raises TracesError."""
        self.http.watch(seen, "api")
        seen.gauge(
            "streamrec_queue_records",
            "Records that wait for the log's acknowledgement.",
            lambda: self._writer.waiting,
            queue="writer",
        )

    def _loaded(self) -> LiveItems:
        if self._live is None:
            raise Problem(503, f"not ready: {_LOADING}", retry_after_s=1)
        return self._live

    def _features_of(self, feature_set: str) -> Sequence[Feature] | None:
        return self._features.features if feature_set == self._features.digest else None

    def _why_not_ready(self) -> str | None:
        return self._users.complaint() or (_LOADING if self._live is None else None)

    @asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        self._writer.start()
        preparing = asyncio.ensure_future(asyncio.to_thread(self._prepare))
        try:
            yield
        finally:
            self._closing.set()
            await preparing
            await asyncio.to_thread(self._writer.stop)
            self._writer.close()
            self._live = None
            self._users.close()
            self._registry.close()
            self._store.close()

    def _prepare(self) -> None:
        """Learn, in a thread, what is asked for; what is away is asked again until it is there."""
        told = ""
        while not self._closing.is_set():
            try:
                if self._live is None:
                    self._live = live_items(self._log, self._job)
                with closing(self._log.registry()) as registry:
                    self._impressions.learn_schema(registry)
                steady_process.settle()
                return
            except (LogError, SchemaError, RegistryUnavailableError) as error:
                if str(error) != told:
                    told = str(error)
                    _logger.warning("%s; waiting", told)
            self._closing.wait(_AGAIN_S)


__all__ = ["ApiApp"]
