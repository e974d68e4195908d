"""One process's eye on the topics `models` and `model-events`, and its voice on the second.

They are read to their ends before the first input, then followed by a thread; another loads the
versions that are wanted. Workers wait for neither.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from streamrec.connectors.log import Log, LogError, LogReader, UnreachableError
from streamrec.connectors.patience import is_time_to_tell
from streamrec.connectors.table import Follower
from streamrec.dataflows.job.codecs import schema_of
from streamrec.dataflows.learning.fetching import folder_of
from streamrec.dataflows.learning.model_events import EventCodec, ModelEvent
from streamrec.dataflows.learning.published import (
    BadPublished,
    ModelTopics,
    PublishedModels,
    who_am_i,
)
from streamrec.dataflows.serving.swap.made import Refused
from streamrec.dataflows.serving.swap.timeline import ModelVersion
from streamrec.dataflows.serving.swap.told import ToldEvents
from streamrec.models.learning.archives import BadArchive, BadDigest
from streamrec.models.learning.unpacked import default_cache
from streamrec.user_code import told

_logger = logging.getLogger(__name__)

_BATCH = 500
_POLL_S = 0.1
_RETRY_S = 2.0
_ACK_S = 1.0


class Follows(Protocol):
    """A pipeline that follows a model."""

    def settle(self) -> ModelVersion | None:
        """Take what is wanted, if it is there; returns what must be loaded for that."""

    def load(self, version: ModelVersion) -> None:
        """Try a version; may take its time."""


class ModelWatch:
    """Of one process. `begin` starts its threads."""

    def __init__(self, log: Log, topics: ModelTopics, cache: Path | None = None) -> None:
        """Reads both topics. Raises UnknownTopicError, UnreachableError, StartError."""
        self._log = log
        self._topics = topics
        self._cache = cache or default_cache()
        self._registry = log.registry()
        self._codec = EventCodec(log, self._registry, topics.events)
        self.models = PublishedModels(
            log, topics.models, lambda key: schema_of(self._registry, log.patience, key)
        )
        self.told = ToldEvents(log, topics.events, self._codec)
        self._followed: list[tuple[Follower, LogReader]] = [
            (each, each.load()) for each in (self.models, self.told)
        ]
        self._appender = log.appender()
        self._appender.prepare(topics.events)  # or a worker would wait for that
        self._appends = threading.Lock()
        self._pipelines: list[Follows] = []
        self._outbox: deque[ModelEvent] = deque()
        self._loads = threading.Event()
        self._stopped = threading.Event()
        self._is_begun = False
        self.who = who_am_i()

    def add(self, pipeline: Follows) -> None:
        """A pipeline that is to be told of what is wanted."""
        self._pipelines.append(pipeline)

    def begin(self) -> None:
        """Follow from now on."""
        self._is_begun = True
        threading.Thread(target=self._follow, name="models", daemon=True).start()
        threading.Thread(target=self._load, name="models: loading", daemon=True).start()

    def close(self) -> None:
        """Follow no more."""
        self._stopped.set()
        self._loads.set()
        if not self._is_begun:
            for _, reader in self._followed:
                reader.close()

    def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        """Where the partitions of topics end now. Raises UnknownTopicError."""
        with closing(self._log.admin()) as admin:
            return {
                (topic, partition): end
                for topic in topics
                for partition, end in admin.ends(topic).items()
            }

    def folder_of(self, version: ModelVersion) -> Path:
        """The files of a version. Raises Refused."""
        try:
            records = self.models.of(version.model)
            found = records.versions.get(version.version)
            if found is None:
                raise Refused(
                    "cannot_load",
                    f"topic {self._topics.models!r} expected version {version.version} of model "
                    f"{version.model!r}, got none such",
                )
            return folder_of(
                self._log, self._registry, self._topics.models, found, records, self._cache
            )
        except BadDigest as error:
            raise Refused("bad_digest", str(error)) from error
        except (BadArchive, BadPublished) as error:
            raise Refused("cannot_load", str(error)) from error
        except OSError as error:
            raise Refused("cannot_load", f"cache {self._cache}: {error}") from error

    def about(self, version: ModelVersion) -> Mapping[str, object]:
        """What is known of a version."""
        records = self.models.models.get(version.model)
        found = None if records is None else records.versions.get(version.version)
        return {} if found is None else found.about

    def tell(self, events: Iterable[ModelEvent]) -> None:
        """Events that nobody waits for: the thread writes them."""
        self._outbox.extend(events)

    def append(self, events: Sequence[ModelEvent], within_s: float = float("inf")) -> None:
        """Events that are on the topic when this returns; waits for as long as it takes. Raises
        UnreachableError when the process is to stop meanwhile or they are not written `within_s`,
        and what the log said of them."""
        messages = [(self._topics.events, self._codec.message(each)) for each in events]
        with self._appends:
            wait = self._log.patience.wait()
            appending = self._appender.begin(messages)
            while not self._appender.wait(appending, _ACK_S):
                if not wait.left_s() or wait.waited_s() > within_s:
                    raise UnreachableError(
                        f"topic {self._topics.events!r}: gave up while it was told which version "
                        "answers"
                    )
                if is_time_to_tell("model-events waits"):
                    _logger.warning("topic %s: not written yet; waiting", self._topics.events)
        for result in appending.results:
            if isinstance(result, LogError):
                raise result

    def look(self) -> None:
        """Let the pipelines see what is wanted; what must be loaded, the other thread does."""
        wanted = [each.settle() for each in self._pipelines]
        if any(each is not None for each in wanted):
            self._loads.set()

    def _follow(self) -> None:
        self.look()
        while not self._stopped.is_set():
            moved = False
            for follower, reader in self._followed:
                try:
                    for batch in reader.poll(_BATCH, _POLL_S):
                        moved = True
                        follower.take_in(batch)
                except LogError as error:
                    _logger.error("topic %s: cannot be followed now: %s", follower.topic, error)
                    time.sleep(_RETRY_S)
                except Exception as error:  # noqa: BLE001  # or nothing would be followed, and nobody would know
                    _logger.error("topic %s: passed over: %s", follower.topic, told(error))
            self._write_outbox()
            if moved:
                self.look()
        for _, reader in self._followed:
            reader.close()

    def _write_outbox(self) -> None:
        events: list[ModelEvent] = []
        while self._outbox:
            events.append(self._outbox.popleft())
        if events:
            try:
                self.append(events)
            except LogError as error:
                _logger.error("topic %s: not told: %s", self._topics.events, error)

    def _load(self) -> None:
        while not self._stopped.is_set():
            self._loads.wait()
            self._loads.clear()
            for each in self._pipelines:
                wanted = each.settle()
                if wanted is not None and not self._stopped.is_set():
                    each.load(wanted)
                    each.settle()
            # It may have become another meanwhile.
            self.look()


__all__ = ["Follows", "ModelWatch"]
