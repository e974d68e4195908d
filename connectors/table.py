"""Topics that every process follows: read to their end before the first record, then by a thread.

As Kafka Streams' global tables: what a topic holds is the same in all processes, some 10 ms late.
"""

import logging
import threading
import time
import weakref
from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from contextlib import closing
from typing import Any

from streamrec.connectors.log import Headers, Log, LogError, LogReader, RawBatch, UnknownSchemaError
from streamrec.connectors.reading import STALLED_S, read_to
from streamrec.schemas.header_ids import SchemaOf
from streamrec.schemas.json_codec import JsonDecoder, UnreadableError
from streamrec.user_code import told

Decode = Callable[[bytes, Headers], Any]

_logger = logging.getLogger(__name__)

_BATCH_MESSAGES = 200
_POLL_S = 0.2
_RETRY_S = 5.0


class Follower:
    """Hands what a topic holds, and then what is added to it, to whoever holds this.

    A subclass has `apply(batch) -> int`, which is called by one thread at a time and says how much
    it learned. The thread ends when nobody else holds the follower.
    """

    def __init__(self, log: Log, topic: str) -> None:
        self.topic = topic
        self.positions: dict[int, int] = {}  # by partition, the offset of the next message
        self._log = log

    def apply(self, batch: RawBatch) -> int:
        """Take in a batch of one partition; returns how much was learned."""
        raise NotImplementedError

    def load(
        self, history_s: float | None = None, clock_s: Callable[[], float] = time.time
    ) -> LogReader:
        """Take in what the topic holds, of the last `history_s` seconds or all; returns the reader
        at its end. When nothing comes for 30 s it waits on, or raises UnreachableError, as the
        log's patience says."""
        with closing(self._log.admin()) as admin:
            bounds = admin.bounds(self.topic)
            ends = admin.ends(self.topic, committed=True)
            begins = {p: bound.low for p, bound in bounds.items()}
            if history_s is not None:
                begins = admin.offsets_at(self.topic, int((clock_s() - history_s) * 1000))
        # Ends may hold no message (transaction markers): only the reader knows that it got there.
        reader = self._log.reader(ends=True)
        reader.assign(self.topic, begins)
        self.positions = dict(begins)
        if any(begins[p] < end for p, end in ends.items()):
            _logger.info("topic %s: loading", self.topic)
        learned, started_s = 0, time.monotonic()
        for batch in read_to(
            reader, self.topic, begins, ends, self._log.patience, _BATCH_MESSAGES, STALLED_S
        ):
            learned += self.take_in(batch)
        took_s = time.monotonic() - started_s
        _logger.info("topic %s: loaded %d in %.1f s", self.topic, learned, took_s)
        return reader

    def catch_up(self, reader: LogReader) -> None:
        """Take in what was added since `load` returned the reader, or since this was called, up to
        the topic's present end. Raises as `load` does."""
        with closing(self._log.admin()) as admin:
            ends = admin.ends(self.topic, committed=True)
        starts = {p: self.positions.get(p, 0) for p in ends}
        for batch in read_to(
            reader, self.topic, starts, ends, self._log.patience, _BATCH_MESSAGES, STALLED_S
        ):
            self.take_in(batch)

    def follow(self, reader: LogReader) -> threading.Thread:
        """Go on with what `load` returned, in a thread."""
        thread = threading.Thread(
            target=_follow,
            args=(weakref.ref(self), self.topic, reader),
            name=f"table {self.topic}",
            daemon=True,
        )
        thread.start()
        return thread

    def take_in(self, batch: RawBatch) -> int:
        """Apply a batch, and go on after it."""
        learned = self.apply(batch)
        self.positions[batch.partition] = int(batch.offsets[-1]) + 1
        return learned


def _follow(follower_ref: "weakref.ref[Follower]", topic: str, reader: LogReader) -> None:
    while True:
        try:
            batches = reader.poll(_BATCH_MESSAGES, _POLL_S)
        except LogError as error:
            # The flow goes on with what it knows; the log may come back.
            _logger.error("topic %s: cannot be followed now: %s", topic, error)
            time.sleep(_RETRY_S)
            continue
        follower = follower_ref()
        if follower is None:
            break
        for batch in batches:
            try:
                follower.take_in(batch)
            except Exception as error:  # or the table would stand still, and nobody would know
                if follower._log.patience.stopping():  # while it waited for a schema
                    break
                _logger.error(
                    "topic %s: passed over: partition %d, offsets %d to %d: %s",
                    topic,
                    batch.partition,
                    int(batch.offsets[0]),
                    int(batch.offsets[-1]),
                    told(error),
                    exc_info=error if _logger.isEnabledFor(logging.DEBUG) else None,
                )
        del follower
    reader.close()


GONE: Any = object()  # what a tombstone says of a key


def decoded(batch: RawBatch, decode: Decode) -> Iterator[tuple[int, bytes, Any]]:
    """Row, key, and value or GONE of each message; one that cannot be decoded is told, and left
    out."""
    for row, value in enumerate(batch.values):
        detail = batch.detail(row)
        key = detail.key or b""
        if value is None:
            yield row, key, GONE
            continue
        try:
            yield row, key, decode(value, detail.headers)
        except (UnreadableError, UnknownSchemaError) as error:
            place = f"partition {batch.partition}, offset {int(batch.offsets[row])}"
            _logger.error("topic %s, %s: passed over: %s", batch.topic, place, error)


class Table(Follower, Mapping[bytes, Any]):
    """A compacted topic as a map from key to newest value, as JSON has it; a tombstone removes.

    `positions` says how far it is. Values that cannot be decoded are logged and passed over.
    """

    def __init__(
        self, log: Log, topic: str, schema_of: SchemaOf, decode: Decode | None = None
    ) -> None:
        """`decode` is that of values without a schema. It may raise UnreadableError."""
        super().__init__(log, topic)
        self._decode = decode or JsonDecoder(schema_of).decode
        self._values: dict[bytes, Any] = {}

    def open(self) -> "Table":
        """Load, then follow."""
        self.follow(self.load())
        return self

    def apply(self, batch: RawBatch) -> int:
        for _, key, value in decoded(batch, self._decode):
            if value is GONE:
                self._values.pop(key, None)
            else:
                self._values[key] = value
        return len(batch)

    def __getitem__(self, key: bytes) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[bytes]:
        return iter(list(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def items(self) -> ItemsView[bytes, Any]:
        """As they stand now: the follower may remove a key between its name and its value."""
        return dict(self._values).items()

    def values(self) -> ValuesView[Any]:
        """As they stand now."""
        return dict(self._values).values()

    __hash__ = object.__hash__  # a mapping that changes, known by what it is

    def __eq__(self, other: object) -> bool:
        return self is other


__all__ = ["GONE", "Decode", "Follower", "Table", "decoded"]
