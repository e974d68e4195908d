"""The output topics of a dataflow: where records go, and how a restart finds what has gone."""

import logging
import time
from collections.abc import Callable, Sequence

from streamrec.connectors.ending import Ending
from streamrec.connectors.log import Log, SchemaRegistry, UnreachableError
from streamrec.connectors.out import Out
from streamrec.connectors.shared_log import SharedLog
from streamrec.connectors.sink import (
    LogSink,
    OutputStart,
    SinkOptions,
    Transactions,
    Written,
    output_start,
)
from streamrec.dataflows.engine.flags import epoch_interval_s
from streamrec.dataflows.job.once import Once
from streamrec.dataflows.job.reading_back import ids_reader
from streamrec.dataflows.job.saved_state import state_directory
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import Topic

_BROKER_MAX_MESSAGE_BYTES = 1_048_588  # Kafka's default

_logger = logging.getLogger(__name__)


def transaction_timeout_s() -> float:
    """How long the broker keeps a transaction open: well above an epoch, since one that is given up
    stops the dataflow; at most the 15 minutes that brokers allow by default."""
    return min(900.0, max(120.0, 10.0 * epoch_interval_s()))


class Outputs:
    """Makes the sinks of a dataflow and says how many partitions each topic is spread over."""

    def __init__(
        self,
        log: Log,
        registry: SchemaRegistry,
        settings: Settings,
        dataflow: str,
        inputs: Callable[[], Sequence[str]],
        holding: Callable[[], object] = lambda: None,
    ) -> None:
        """`inputs` are the topics whose records are answered; `holding` is asked before anything is
        written."""
        self._log = log
        self._registry = registry
        self._settings = settings
        self._dataflow = dataflow
        self._inputs = inputs
        self._holding = holding
        self._folder = state_directory(settings)
        self._starts: dict[str, Once[OutputStart]] = {}
        self._written: dict[str, list[Written]] = {}  # by group
        self.late = False  # outputs may come long after their input
        self.ending = Ending(log)

    def sink(
        self,
        topic: Topic,
        on_write: Callable[[Out], object],
        group: str = "",
        carried: Callable[[Out], Out] | None = None,
    ) -> LogSink:
        """Records of a topic without `answers` may repeat after a crash. `on_write` is told what
        was written, `carried` gives records their headers of traces. An output stands in one topic
        of a group."""
        settings, name = self._settings, self._settings.topic(topic)
        at_least_once = settings.delivery == "at_least_once"
        if self._folder is None or topic.answers is None or at_least_once:
            options = SinkOptions(
                name,
                settings.lanes,
                ending=self.ending,
                holding=self._holding,
                on_write=on_write,
                carried=carried,
            )
            return LogSink(self._log, options)
        transactions = None
        if settings.delivery == "transactions":
            transactions = Transactions(
                settings.consumer_group,
                transaction_timeout_s(),
                shared=isinstance(self._log, SharedLog),
            )
        ids_of = ids_reader(topic, self._inputs, self._dataflow, self._registry, self._log.patience)
        written = Written(name, ids_of, self._start(name))
        together = self._written.setdefault(group, [])
        together.append(written)
        return LogSink(
            self._log,
            SinkOptions(
                name,
                settings.lanes,
                written=written,
                others=lambda: [each for each in together if each is not written],
                late=self.late,
                ending=self.ending,
                transactions=transactions,
                holding=self._holding,
                on_write=on_write,
                carried=carried,
            ),
        )

    def partitions(self, topic: Topic) -> Callable[[], int]:
        """Over how many partitions records are spread.

        With saved state it is the number of the first start: a key must go to the same partition
        when a crash makes the flow repeat itself. Without, a topic that grows is used in full.
        """
        name = self._settings.topic(topic)
        if self._folder is None:
            return PartitionCount(self._log, name)
        start = self._start(name)
        return lambda: start().partitions

    def largest_bytes(self, topic: Topic) -> Callable[[], int]:
        """How large a record of a topic may be, as the topic stood at the first call."""

        def ask() -> int:
            admin = self._log.admin()
            try:
                configs = admin.describe(self._settings.topic(topic)).configs
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
