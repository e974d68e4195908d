"""The output topics of a dataflow: where records go, and how a restart finds what has gone."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from streamrec.connectors.ending import Ending
from streamrec.connectors.log import Log, SchemaRegistry, UnreachableError
from streamrec.connectors.progress import GroupProgress
from streamrec.connectors.sink import LogSink, OutputStart, SinkOptions, Transactions, output_start
from streamrec.connectors.source import SourceStart
from streamrec.connectors.state_files import StateFiles, write_once
from streamrec.dataflows.engine.running import (
    backup_interval_s,
    epoch_interval_s,
    recovery_directory,
)
from streamrec.dataflows.job.once import Once
from streamrec.dataflows.job.reading_back import sources_reader
from streamrec.dataflows.job.settings import Settings, SettingsError

_BROKER_MAX_MESSAGE_BYTES = 1_048_588  # Kafka's default

_logger = logging.getLogger(__name__)


def state_directory(settings: Settings) -> Path | None:
    """Where this run keeps state; None: nothing is kept over a restart."""
    if settings.state_dir is not None:
        return settings.state_dir
    recovery = recovery_directory()
    return None if recovery is None else recovery / "state"


# Goes up when a version places or names shards otherwise than the one before. 2: by the partition
# of the user's key (dataflows.steps.shards).
LAYOUT = 2


def shard_files(settings: Settings) -> Callable[[str], StateFiles] | None:
    """Opens the state files of a shard; None: nothing is kept over a restart."""
    folder = state_directory(settings)
    if folder is None:
        return None
    keep_s = backup_interval_s()
    return lambda shard: StateFiles(folder / "user-features" / shard, keep_s)


def check_shape(settings: Settings, dataflow: str) -> None:
    """Refuse saved state of another dataflow or another shape. Raises SettingsError.

    Users are in the shard, and positions in the lane, that the numbers of these give them: with
    other numbers a resumed run would not find them, and would count anew from nothing.
    """
    folder = state_directory(settings)
    if folder is None:
        return
    shape = {
        "layout of the state": LAYOUT,
        "dataflow": dataflow,
        "STREAMREC_SHARDS": settings.shards,
        "STREAMREC_LANES": settings.lanes,
        "STREAMREC_CLICKS_TOPIC": settings.clicks_topic,
    }
    saved = json.loads(write_once(folder / "shape.json", lambda: json.dumps(shape).encode()))
    for name, value in shape.items():
        if saved.get(name) != value:
            raise SettingsError(
                f"{name}: expected {saved.get(name)!r}, with which the state in {folder} was made, "
                f"got {value!r}; set it back, or begin with a new recovery directory"
            )


def source_start(settings: Settings) -> SourceStart | None:
    """Remembers where the clicks began; None: nothing is kept over a restart."""
    folder = state_directory(settings)
    if folder is None:
        return None
    return SourceStart(folder / "inputs" / f"{settings.clicks_topic}.json")


def group_progress(settings: Settings) -> GroupProgress | None:
    """What takes the group's offsets into transactions; None: the source commits them."""
    if settings.delivery != "transactions" or state_directory(settings) is None:
        return None
    return GroupProgress(settings.consumer_group, settings.clicks_topic)


def transaction_timeout_s() -> float:
    """How long the broker keeps a transaction open: well above an epoch, since one that is given up
    stops the dataflow; at most the 15 minutes that brokers allow by default."""
    return min(900.0, max(120.0, 10.0 * epoch_interval_s()))


class Outputs:
    """Makes the sinks of a dataflow and says how many partitions each topic is spread over."""

    def __init__(
        self, log: Log, registry: SchemaRegistry, settings: Settings, dataflow: str
    ) -> None:
        check_shape(settings, dataflow)
        self.ending = Ending(log, settings.consumer_group, settings.clicks_topic)
        self._dataflow = dataflow
        self.progress = group_progress(settings)
        self._log = log
        self._registry = registry
        self._settings = settings
        self._folder = state_directory(settings)
        self._starts: dict[str, Once[OutputStart]] = {}

    def sink(self, topic: str, schema_name: str, fields: tuple[str, ...] | None) -> LogSink:
        """`fields` name the input that a record answers (see `reading_back`); None: records of
        this topic may repeat after a crash."""
        settings = self._settings
        if self._folder is None or fields is None or settings.delivery == "at_least_once":
            return LogSink(self._log, SinkOptions(topic, settings.lanes, ending=self.ending))
        transactions = None
        if settings.delivery == "transactions":
            transactions = Transactions(
                settings.consumer_group, transaction_timeout_s(), self.progress
            )
        sources_of = sources_reader(
            schema_name, fields, (settings.clicks_topic, self._dataflow), self._registry
        )
        return LogSink(
            self._log,
            SinkOptions(
                topic,
                settings.lanes,
                sources_of=sources_of,
                ending=self.ending,
                start=self._start(topic),
                transactions=transactions,
            ),
        )

    def partitions(self, topic: str) -> Callable[[], int]:
        """Over how many partitions records are spread.

        With saved state it is the number of the first start: a key must go to the same partition
        when a crash makes the flow repeat itself. Without, a topic that grows is used in full.
        """
        if self._folder is None:
            return PartitionCount(self._log, topic)
        start = self._start(topic)
        return lambda: start().partitions

    def largest_bytes(self, topic: str) -> Callable[[], int]:
        """How large a record of a topic may be, as the topic stood at the first call."""

        def ask() -> int:
            admin = self._log.admin()
            try:
                configs = admin.describe(topic).configs
            finally:
                admin.close()
            return int(configs.get("max.message.bytes", _BROKER_MAX_MESSAGE_BYTES))

        return Once(ask)

    def _start(self, topic: str) -> Once[OutputStart]:
        folder = self._folder
        assert folder is not None

        def record() -> OutputStart:
            admin = self._log.admin()
            try:
                return output_start(folder / "outputs", topic, admin)
            finally:
                admin.close()

        return self._starts.setdefault(topic, Once(record))


class PartitionCount:
    """How many partitions a topic has, looked up at most every `REFRESH_S`."""

    REFRESH_S = 30.0

    def __init__(self, log: Log, topic: str) -> None:
        self._log = log
        self._topic = topic
        self._until = 0.0
        self._count = 0

    def __call__(self) -> int:
        if time.monotonic() >= self._until:
            admin = self._log.admin()
            try:
                self._count = len(admin.bounds(self._topic))
            except UnreachableError as error:
                if not self._count:
                    raise
                _logger.warning("topic %s: taken to have grown no more: %s", self._topic, error)
            finally:
                admin.close()
            self._until = time.monotonic() + self.REFRESH_S
        return self._count
