"""The session index as a global table: every process learns from the topic `sessions`.

The flow learns from its own clicks at once; this learns, in a thread, from what other processes
wrote, and at the start from everything that any process wrote before, its own last run included.
So an index that is shared needs no snapshot; what it costs is a lag of some 10 ms plus the
writers' linger, and that it is not part of exactly-once: a click that a crash repeats may be
learned twice, or, lost with the last unsent batch, not at all.
"""

import logging
import weakref

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import Log, RawBatch
from streamrec.connectors.table import Follower
from streamrec.dataflows.steps.serving import Serving
from streamrec.models.contract import Sessions
from streamrec.models.users import kernels
from streamrec.models.users.features import HOUR_MS, WindowCount, compile_features
from streamrec.models.users.state import UserState
from streamrec.schemas.columns import Bytes, Column, Lists, Numbers, constant, take
from streamrec.schemas.hashing import hash64
from streamrec.schemas.plain import ValueDecoder

_logger = logging.getLogger(__name__)

# Only the sessions are wanted of the state, but it counts something in some window.
_FEATURES = compile_features([WindowCount("clicks_1h", ("view",), HOUR_MS, buckets=1)])


class SessionTable(Follower):
    """Applies what others learned to the recommender of this process."""

    def __init__(
        self,
        log: Log,
        topic: str,
        own: str,
        serving: "weakref.ref[Serving]",  # which keeps this
        decoder: ValueDecoder,
        session_items: int,
    ) -> None:
        super().__init__(log, topic)
        self._own = own.encode()  # key of our own records, which the flow has learned already
        self._serving = serving
        self._decoder = decoder
        # Sessions have their key here, and no gap: whoever wrote them has told them apart.
        self._sessions = UserState(_FEATURES, session_gap_ms=24 * HOUR_MS, kept_items=session_items)

    def apply(self, batch: RawBatch) -> int:
        """Learn one batch of records, but for our own; returns how many clicks."""
        values = [value for i, value in enumerate(batch.values) if batch.detail(i).key != self._own]
        if not values:
            return 0
        decoded = self._decoder.decode(values)
        for failure in decoded.failures:
            _logger.error("topic %s: record passed over: %s", self.topic, failure.message)
        keys, times = _longs(decoded.columns["session_keys"]), _longs(decoded.columns["timestamps"])
        lists = decoded.columns["item_ids"]
        assert isinstance(lists, Lists)
        ids = lists.items[""]
        assert isinstance(ids, Bytes)
        if not len(keys) == len(times) == len(ids):
            _logger.error(
                "topic %s: records passed over: expected columns of one length, got %d, %d and %d",
                self.topic,
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
        serving = self._serving()
        if serving is None:
            return  # the flow has ended
        rows = after.rows
        serving.learn_from_others(
            Sessions(
                keys=keys[rows],
                item_ids=take(ids, rows),
                user_ids=constant("", len(rows)),
                item_keys=after.items,
                times_ms=after.times_ms,
                bounds=after.bounds,
                positions=after.positions,
                user_features=np.zeros((len(rows), 0), np.float32),
            ),
            f"topic {self.topic!r}, partition {partition}",
        )


def _longs(column: Column) -> NDArray[np.int64]:
    assert isinstance(column, Lists)
    values = column.items[""]
    assert isinstance(values, Numbers)
    return values.values.astype(np.int64)
