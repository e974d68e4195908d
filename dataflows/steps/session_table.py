"""The session index as a global table: every process learns from the topic `sessions`.

The flow learns from its own clicks at once; this learns, in a thread, from what other processes
wrote, and at the start from everything that any process wrote before, its own last run included.
So an index that is shared needs no snapshot; what it costs is a lag of some 10 ms plus the
writers' linger, and that it is not part of exactly-once: a click that a crash repeats may be
learned twice, or, lost with the last unsent batch, not at all.
"""

import logging
import threading
import time
import weakref
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import Log, LogError, LogReader, RawBatch
from streamrec.dataflows.steps.recommend import SharedRecommender
from streamrec.models.contract import Sessions
from streamrec.models.users import kernels
from streamrec.models.users.features import HOUR_MS, WindowCount, compile_features
from streamrec.models.users.state import UserState
from streamrec.schemas.columns import Bytes, Column, Lists, Numbers
from streamrec.schemas.hashing import hash64
from streamrec.schemas.wire import WireDecoder

_logger = logging.getLogger(__name__)

_BATCH_MESSAGES = 200  # of up to some thousand clicks each
_POLL_S = 0.2
_RETRY_S = 5.0
# Only the sessions are wanted of the state, but it counts something in some window.
_FEATURES = compile_features([WindowCount("clicks_1h", ("view",), HOUR_MS, buckets=1)])


class SessionTable:
    """Applies what others learned to the recommender of this process."""

    def __init__(
        self,
        log: Log,
        topic: str,
        own: str,
        shared: "weakref.ref[SharedRecommender]",  # which keeps this
        decoder: WireDecoder,
        session_items: int,
    ) -> None:
        self._log = log
        self._topic = topic
        self._own = own.encode()  # key of our own records, which the flow has learned already
        self._shared = shared
        self._decoder = decoder
        # Sessions have their key here, and no gap: whoever wrote them has told them apart.
        self._sessions = UserState(_FEATURES, session_gap_ms=24 * HOUR_MS, kept_items=session_items)

    def load(self, history_s: float, clock_s: Callable[[], float] = time.time) -> LogReader:
        """Learn what was written in the last `history_s` seconds; returns the reader at its end."""
        admin = self._log.admin()
        try:
            ends = {p: bounds.high for p, bounds in admin.bounds(self._topic).items()}
            begins = admin.offsets_at(self._topic, int((clock_s() - history_s) * 1000))
        finally:
            admin.close()
        reader = self._log.reader()
        reader.assign(self._topic, begins)
        behind = {p for p, end in ends.items() if begins[p] < end}
        if behind:
            _logger.info("topic %s: loading the session index", self._topic)
        clicks, started_s = 0, time.monotonic()
        while behind:
            for batch in reader.poll(_BATCH_MESSAGES, _POLL_S):
                clicks += self.apply(batch)
                if int(batch.offsets[-1]) + 1 >= ends[batch.partition]:
                    behind.discard(batch.partition)
        _logger.info(
            "topic %s: session index learned %d clicks in %.1f s",
            self._topic,
            clicks,
            time.monotonic() - started_s,
        )
        return reader

    def follow(self, reader: LogReader) -> threading.Thread:
        """Go on learning in a thread, which ends when nobody else holds this table."""
        thread = threading.Thread(
            target=_follow,
            args=(weakref.ref(self), reader),
            name=f"table {self._topic}",
            daemon=True,
        )
        thread.start()
        return thread

    def apply(self, batch: RawBatch) -> int:
        """Learn one batch of records, but for our own; returns how many clicks."""
        values = [value for i, value in enumerate(batch.values) if batch.detail(i).key != self._own]
        if not values:
            return 0
        decoded = self._decoder.decode(values)
        for failure in decoded.failures:
            _logger.error("topic %s: record passed over: %s", self._topic, failure.message)
        keys, times = _longs(decoded.columns["session_keys"]), _longs(decoded.columns["timestamps"])
        lists = decoded.columns["item_ids"]
        assert isinstance(lists, Lists)
        ids = lists.items[""]
        assert isinstance(ids, Bytes)
        if not len(keys) == len(times) == len(ids):
            _logger.error(
                "topic %s: records passed over: expected columns of one length, got %d, %d and %d",
                self._topic,
                len(keys),
                len(times),
                len(ids),
            )
            return 0
        self._learn(batch.partition, keys, times, ids)
        return len(keys)

    def _learn(
        self, partition: int, keys: NDArray[np.int64], times: NDArray[np.int64], ids: Bytes
    ) -> None:
        n = len(keys)
        matrix = np.zeros((kernels.CLICK_ROWS, n), np.int64)
        matrix[kernels.HASH_LOW] = keys
        matrix[kernels.ITEM] = hash64(ids)
        matrix[kernels.SESSION] = 1
        matrix[kernels.TIME_MS] = times
        matrix[kernels.PRICE_CENTS] = kernels.NO_PRICE
        matrix[kernels.PARTITION] = partition
        scratch = np.empty((n, len(_FEATURES)), np.float32), np.empty(n, np.int8)
        after = self._sessions.update(matrix, np.arange(n), ids, *scratch, partition + 1)
        assert after is not None
        shared = self._shared()
        if shared is None:
            return  # the flow has ended
        recommender = shared.recommender
        with shared.lock:
            rows = after.rows
            clicked = Bytes(ids.data, ids.starts[rows], ids.lengths[rows])
            recommender.items.numbers(matrix[kernels.ITEM, rows], clicked, add=True)
            recommender.learn(
                Sessions(
                    keys=keys[rows],
                    items=recommender.items.numbers(after.items, None, add=False),
                    times_ms=after.times_ms,
                    bounds=after.bounds,
                    positions=after.positions,
                    user_features=np.zeros((len(rows), 0), np.float32),
                )
            )


def _follow(table_ref: "weakref.ref[SessionTable]", reader: LogReader) -> None:
    while True:
        try:
            batches = reader.poll(_BATCH_MESSAGES, _POLL_S)
        except LogError as error:
            # The flow goes on with what it learns itself; the log may come back.
            _logger.error("session index does not hear of other processes: %s", error)
            time.sleep(_RETRY_S)
            continue
        table = table_ref()
        if table is None:
            break
        for batch in batches:
            table.apply(batch)
        del table
    reader.close()


def _longs(column: Column) -> NDArray[np.int64]:
    assert isinstance(column, Lists)
    values = column.items[""]
    assert isinstance(values, Numbers)
    return values.values.astype(np.int64)
