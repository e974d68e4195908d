"""The contract of a log: partitioned topics of messages, with offsets, groups and a registry.

Two back ends keep it, the embedded log (`connectors.embedded`) and Kafka (`connectors.kafka`), and
one contract suite (`tests/connectors/test_log_contract.py`) runs on both. Everything above this
module (sources, sinks, the command line) speaks only this contract.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.patience import Patience
from streamrec.schemas.header_ids import SchemaKey
from streamrec.schemas.registry import IncompatibleSchemaError as IncompatibleSchemaError
from streamrec.schemas.registry import RegistryUnavailableError as RegistryUnavailableError
from streamrec.schemas.registry import SchemaError as SchemaError
from streamrec.schemas.registry import UnknownSchemaError as UnknownSchemaError

if TYPE_CHECKING:
    from streamrec.connectors.leases.holder import Claim
    from streamrec.connectors.leases.lease import Lease

Headers = list[tuple[str, bytes | None]]

NO_TIMESTAMP_MS = -1


class Detail(NamedTuple):
    """What a message carries besides its value and its place; read only when something needs it."""

    key: bytes | None
    headers: Headers  # empty when there are none
    timestamp_ms: int  # Unix milliseconds, or NO_TIMESTAMP_MS


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Consecutive messages of one topic partition, in offset order, as they stand in the log.

    Only what every record needs is read eagerly. Keys and headers cost a call per message on Kafka
    and are needed for the few records that fail, so `detail(i)` fetches them.
    """

    topic: str
    partition: int
    offsets: NDArray[
        np.int64
    ]  # (n,), strictly increasing; gaps are legal (compaction, transactions)
    values: list[bytes | None]  # n values; None is a tombstone
    detail: Callable[[int], Detail]
    times_ms: NDArray[np.int64]  # (n,) the log's own, in no order; Unix ms or NO_TIMESTAMP_MS
    # Which messages have headers, increasing; None: each is asked, which costs ten times as much.
    headed: Callable[[], Sequence[int]] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def with_headers(self) -> Sequence[int]:
        """Which messages have any headers, increasing."""
        if self.headed is not None:
            return self.headed()
        return [index for index in range(len(self)) if self.detail(index).headers]


class Record(NamedTuple):
    """One message with everything it carries; for the command line and tests, not the hot path."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


class Outgoing(NamedTuple):
    """One message to be written. `partition` None: chosen by key, as Kafka's partitioner does."""

    key: bytes | None
    value: bytes | None
    headers: Headers | None = None
    timestamp_ms: int | None = None  # None: the time of writing
    partition: int | None = None


class OffsetBounds(NamedTuple):
    """What can be read of a partition: `low` is the first offset kept, `high` the next to come."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it should be. `configs` are options by Kafka's names (`retention.ms`, ...)."""

    name: str
    partitions: int = 8
    replication: int = 1
    configs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A topic as it is. `configs` holds only options that differ from the broker's defaults."""

    name: str
    bounds: Mapping[int, OffsetBounds]  # by partition
    replication: int
    configs: Mapping[str, str]


class LogError(Exception):
    """The log could not do what was asked; the message says where, what, and what to try."""


class UnreachableError(LogError):
    """No answer in time, as from a broker that is away: the same may succeed later."""


class UnknownTopicError(LogError):
    """The topic does not exist."""


class OffsetOutOfRangeError(LogError):
    """A requested offset is no longer (or not yet) in the log."""


class WriteError(LogError):
    """Messages were not accepted by the log. Nothing after them may be taken as written."""


class TooLargeError(WriteError):
    """A message is larger than its topic takes. None of those written with it were taken; others
    may be written afterwards."""


class FencedError(WriteError):
    """A newer writer of the same name has taken over, and this one is shut out."""


class LogReader(Protocol):
    """Reads assigned partitions of topics. Not safe for use by several threads at once."""

    def assign(self, topic: str, positions: Mapping[int, int]) -> None:
        """Add partitions of a topic, each to be read from the given offset (the next one wanted).

        Raises OffsetOutOfRangeError where the offset is below `low` (retention removed it) or
        above `high`.
        """

    def unassign(self, topic: str, partitions: Iterable[int]) -> None:
        """Read these partitions, which are assigned, no more."""

    def poll(self, max_messages: int, timeout_s: float = 0.0) -> list[RawBatch]:
        """Return what has arrived, at most `max_messages` in all, as batches of one partition each.

        Returns at once with what there is; waits up to `timeout_s` only when there is nothing.
        Raises LogError for what only a person can mend (authorisation, topic deleted); passing
        faults of a broker are waited out by the client and logged.
        """

    def commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        """Record the next offsets to be read under a consumer group, so that its lag shows.

        Does not wait: it is certain, and a refusal raised, by the time `close` returns. Without
        offsets it only gets ready, so that the first commit takes no longer than others.
        """

    def position(self, topic: str, partition: int) -> int:
        """The offset before which nothing more will come, for a reader opened with `ends`.

        It goes past what holds no message (transaction markers, aborted and compacted records),
        so that it reaches a partition's end though no message may stand there.
        """

    def close(self) -> None: ...


class LogWriter(Protocol):
    """Writes messages; in order per partition. Not safe for use by several threads at once."""

    def write(self, topic: str, messages: Iterable[Outgoing]) -> None:
        """Hand over messages, durable after `flush`. Raises WriteError, also of earlier ones."""

    def write_columns(
        self,
        topic: str,
        partition: int,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        headers: Sequence[Headers] | None = None,
        times_ms: NDArray[np.int64] | None = None,
    ) -> None:
        """The same for many messages of one partition: the hot path. `headers` are those of each;
        None: no message has any. `times_ms` (n,) are Unix ms; None, and NO_TIMESTAMP_MS in it: the
        time of writing."""

    def flush(self, timeout_s: float) -> None:
        """Wait until everything handed over is acknowledged. Raises WriteError if that fails."""

    def close(self) -> None:
        """Flush, then release. Raises WriteError like `flush`."""


class Place(NamedTuple):
    """Where a message stands in its topic."""

    partition: int
    offset: int


class Appending:
    """Messages that were handed over, and what has become of each: its place once the log has
    acknowledged it, or why that cannot be; None: not known yet."""

    __slots__ = ("_open", "results")

    def __init__(self, count: int) -> None:
        self.results: list[Place | LogError | None] = [None] * count
        self._open = count

    @property
    def is_settled(self) -> bool:
        """Whether it is known of each."""
        return not self._open

    def settle(self, index: int, result: "Place | LogError") -> None:
        """Said of one, the first time."""
        if self.results[index] is None:
            self.results[index] = result
            self._open -= 1

    def settle_rest(self, error: LogError) -> None:
        """Said of all of which nothing is known."""
        for index, result in enumerate(self.results):
            if result is None:
                self.settle(index, error)


class LogAppender(Protocol):
    """Writes messages and tells of each where it stands, once all replicas that must have it do.
    In order per partition. Not safe for use by several threads at once."""

    def prepare(self, topic: str) -> None:
        """Look a topic up, so that the first message waits for nothing. Raises UnknownTopicError,
        UnreachableError."""

    def begin(self, messages: Sequence[tuple[str, Outgoing]]) -> Appending:
        """Hand over messages, each with its topic. One that the log does not take, as TooLargeError
        has it, leaves the others alone. Raises WriteError once this is closed."""

    def wait(self, appending: Appending, timeout_s: float) -> bool:
        """Whether it is settled, after so long at most. What is not may still be written."""

    def close(self) -> None: ...


class TransactionalWriter(LogWriter, Protocol):
    """Writes in transactions: what is written is visible, to readers of what is committed, at once
    when `commit` returns and never before. The first write after a commit begins the next one."""

    def commit(self, timeout_s: float) -> None:
        """Commit what was written since the last commit, if there was anything.

        Raises WriteError, after which nothing of the transaction will ever be visible, also when
        a newer writer of the same id has taken over.
        """


class LogAdmin(Protocol):
    """Looks after topics and groups."""

    def topics(self) -> list[str]:
        """Names of all topics but the back end's own, sorted."""

    def describe(self, topic: str) -> TopicInfo:
        """Raises UnknownTopicError."""

    def create(self, spec: TopicSpec) -> None:
        """Create a topic. Raises LogError when it exists."""

    def add_partitions(self, topic: str, total: int) -> None:
        """Let a topic grow to `total` partitions. Raises LogError when it has more."""

    def delete(self, topic: str) -> None:
        """Raises UnknownTopicError."""

    def bounds(self, topic: str) -> dict[int, OffsetBounds]:
        """OffsetBounds of every partition. Raises UnknownTopicError."""

    def ends(self, topic: str, committed: bool = False) -> dict[int, int]:
        """`high` of the bounds alone, in half the time. With `committed` where the first open
        transaction begins, if one does: a reader comes no further. Raises UnknownTopicError."""

    def offsets_at(self, topic: str, timestamp_ms: int) -> dict[int, int]:
        """By partition, the first offset with a timestamp at or after the time; `high` if none."""

    def identity(self, topic: str) -> str | None:
        """What tells a topic from others that had its name before or will have it afterwards; None:
        the log cannot tell. Raises UnknownTopicError."""

    def committed(self, group: str, topic: str, within_s: float | None = None) -> dict[int, int]:
        """Next offsets recorded under a group; partitions without one are absent. With `within_s`,
        UnreachableError when they cannot be had in about that time, whatever the patience."""

    def close(self) -> None: ...


class RegisteredSchema(NamedTuple):
    """A schema as the registry knows it."""

    subject: str
    version: int
    id: int
    schema: str  # JSON text


class SchemaRegistry(Protocol):
    """Schemas by id and by subject (`<topic>-value`): Confluent's API, or the embedded log."""

    def by_id(self, schema_id: int) -> str:
        """JSON text. Cached for ever: ids never change meaning. Raises UnknownSchemaError,
        RegistryUnavailableError."""

    def by_guid(self, guid: str) -> str:
        """The same for the newer name of a schema, in canonical form; the embedded log has none."""

    def latest(self, subject: str) -> RegisteredSchema:
        """Raises UnknownSchemaError, RegistryUnavailableError."""

    def find(self, subject: str, schema: str) -> RegisteredSchema:
        """A schema under a subject, in whatever version. Raises UnknownSchemaError when it is not
        registered there, RegistryUnavailableError."""

    def register(self, subject: str, schema: str) -> RegisteredSchema:
        """Register, or find, a schema. Raises IncompatibleSchemaError, RegistryUnavailableError."""

    def close(self) -> None: ...


def schema_named(registry: SchemaRegistry, key: SchemaKey) -> str:
    """A schema by its id or its GUID. Raises as `by_id` does."""
    return registry.by_guid(key) if isinstance(key, str) else registry.by_id(key)


class Log(Protocol):
    """A back end: one place that opens everything. `describe_target` names it without secrets."""

    @property
    def patience(self) -> Patience:
        """How long its admins, readers and writers wait for an answer."""

    def reader(self, ends: bool = False) -> LogReader:
        """`ends`: keep `position`, which costs a little for each time a partition is read up."""

    def writer(self) -> LogWriter: ...

    def appender(self) -> LogAppender: ...

    def transactional_writer(self, name: str, timeout_s: float) -> TransactionalWriter:
        """A writer with a name: opening it ends a transaction that an earlier one left open, and
        shuts out that one if it still lives. A transaction open for longer than `timeout_s` is
        given up by the log. Raises LogError when the back end has no transactions."""

    def admin(self) -> LogAdmin: ...

    def registry(self) -> SchemaRegistry: ...

    def describe_target(self) -> str: ...

    def lease(
        self, name: str, claim: "Claim", locks: Path | None, on_lost: Callable[[str], None]
    ) -> "Lease":
        """A lease of what is done under a name, a consumer group's and a dataflow's, not claimed
        yet. Once it is, what this log writes is refused when another has taken over, as far as the
        back end can tell. `locks` is a folder that a start on this machine after a crash finds
        again; None: there is none."""

    def handed_over(self) -> int:
        """How many records its writers were given and have not seen acknowledged: what may come
        into the log although nobody waits for it any more, at most."""
