"""The step `decode`: raw messages to valid clicks, split by shard, and those that are not."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import kernel
from streamrec.connectors.log import NO_TIMESTAMP_MS, RawBatch
from streamrec.dataflows.errors.failed import Failed, Origins
from streamrec.dataflows.job.topics import CLICKS
from streamrec.dataflows.steps.batches import Clicks, ShardClicks, click_rows
from streamrec.dataflows.steps.click_rules import MAX_ID_BYTES, MAX_PRICE_CENTS, RULES
from streamrec.dataflows.steps.records import fill_places
from streamrec.dataflows.steps.rules import (
    MAX_TIME_MS,
    SECONDS,
    Rule,
    message_of,
    settled,
)
from streamrec.dataflows.steps.shards import shard_name, split_by_shard
from streamrec.models.users import kernels
from streamrec.models.users.features import FeatureSet
from streamrec.schemas.columns import Bytes, Columns, Numbers
from streamrec.schemas.hashing import hash64, hash128
from streamrec.schemas.plain import ValueDecoder
from streamrec.schemas.row_values import AvroRows

if TYPE_CHECKING:  # steps run without the engine, which a job wires
    from streamrec.dataflows.job.job import Job

# By what the kernel answers (0: valid), the row of RULES and which of what it expects.
BROKEN = {1: (0, 1), 2: (1, 1), 3: (2, 1), 7: (2, 2), 4: (2, 3), 6: (2, 4), 5: (3, 1)}


@kernel(
    "void(int64[:, ::1], int64[:, ::1], int64[::1], int64[::1], int64[:, ::1], int64[:],"
    " int64[:], int32[:], int64[::1], int8[::1])",
)
def _fill(
    matrix: NDArray[np.int64],
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    sessions: NDArray[np.int64],
    lengths: NDArray[np.int64],
    times_ms: NDArray[np.generic],
    written_ms: NDArray[np.int64],
    event_types: NDArray[np.generic],
    limits: NDArray[np.int64],
    broken: NDArray[np.int8],
) -> None:
    """Fill the click matrix and say which rule each click breaks.

    `users` (n, 2), `items` and `sessions` (n,) are hashes. `lengths` is (4, n): bytes of user, item
    and session (0: none), then the price (-1: null). `written_ms` (n,) are the log's times.
    `limits` is the longest id, the largest price, the largest time, how far a time may be ahead of
    the log's, and from where up to where a time is taken for seconds.

    How far ahead a time is goes by its own record and by nothing else, no clock and no neighbour:
    a replay judges as the first run did, whatever the batches.
    """
    for row in range(len(times_ms)):
        price = lengths[3, row]
        rule = 0
        if lengths[0, row] < 1 or lengths[0, row] > limits[0]:
            rule = 1
        elif lengths[1, row] < 1 or lengths[1, row] > limits[0]:
            rule = 2
        elif times_ms[row] <= 0:
            rule = 3
        elif times_ms[row] >= limits[4] and times_ms[row] < limits[5]:
            rule = 7
        elif price < -1 or price > limits[1]:
            rule = 5
        elif written_ms[row] != NO_TIMESTAMP_MS and times_ms[row] - limits[3] > written_ms[row]:
            rule = 4
        elif times_ms[row] > limits[2]:
            rule = 6
        broken[row] = rule
        matrix[kernels.HASH_HIGH, row] = users[row, 1]
        matrix[kernels.HASH_LOW, row] = users[row, 0]
        matrix[kernels.ITEM, row] = items[row]
        matrix[kernels.SESSION, row] = sessions[row] if lengths[2, row] else kernels.NO_SESSION
        matrix[kernels.TIME_MS, row] = times_ms[row]
        matrix[kernels.PRICE_CENTS, row] = price
        matrix[kernels.EVENT_TYPE, row] = event_types[row]


Decoded = ShardClicks | Failed


@dataclass
class DecodeClicks:
    """Called with what one activation brought: joins it, decodes and checks it, splits it by shard.

    Emits `ShardClicks` and `Failed`.
    """

    decoder: Callable[[], ValueDecoder]  # one for each worker
    n_features: int
    shards: int
    max_ahead_s: int
    feature_set: str = ""  # digest of the features that will be filled in
    _names: list[str] = field(init=False)
    _limits: NDArray[np.int64] = field(init=False)
    _rules: tuple[Rule, ...] = field(init=False)
    _reader: AvroRows = field(init=False)

    def __post_init__(self) -> None:
        self._names = [shard_name(shard) for shard in range(self.shards)]
        self._rules = settled(RULES, self.max_ahead_s)
        self._reader = click_rows()
        ahead_ms = self.max_ahead_s * 1_000
        self._limits = np.array([MAX_ID_BYTES, MAX_PRICE_CENTS, MAX_TIME_MS, ahead_ms, *SECONDS])

    def __call__(self, batches: list[RawBatch]) -> list[Decoded]:
        out: list[Decoded] = []
        by_topic = batches[0].topic
        origins = Origins(batches)
        values = batches[0].values
        if len(batches) > 1:
            values = list(chain.from_iterable(batch.values for batch in batches))
        decoded = self.decoder().decode(values, origins.headers)
        for failure in decoded.failures:
            out.append(
                origins.fail(
                    failure.row, failure.reason, failure.message, exception=failure.exception
                )
            )
        if len(decoded.rows):
            self._check_and_split(by_topic, origins, decoded.rows, decoded.columns, out)
        return out

    def _check_and_split(
        self,
        topic: str,
        origins: Origins,
        origin_rows: NDArray[np.int64],
        columns: Columns,
        out: list[Decoded],
    ) -> None:
        n = len(origin_rows)
        matrix = np.empty((kernels.CLICK_ROWS, n), np.int64)
        user, item = columns["user_id"], columns["item_id"]
        session, price = columns["session_id"], columns["price_cents"]
        times, event_types = columns["timestamp"], columns["event_type"]
        assert isinstance(user, Bytes) and isinstance(item, Bytes) and isinstance(session, Bytes)
        assert isinstance(price, Numbers) and isinstance(times, Numbers)
        assert isinstance(event_types, Numbers)
        lengths = np.empty((4, n), np.int64)
        lengths[0], lengths[1], lengths[2] = user.lengths, item.lengths, session.lengths
        if session.valid is not None:
            lengths[2][~session.valid] = 0
        lengths[3] = price.values
        if price.valid is not None:
            # A negative price is told from a null one: -1 is "null", so -1 itself becomes -2.
            lengths[3][lengths[3] == kernels.NO_PRICE] = -2
            lengths[3][~price.valid] = kernels.NO_PRICE
        broken = np.empty(n, np.int8)
        _fill(
            matrix,
            hash128(user),
            hash64(item),
            hash64(session),
            lengths,
            times.values,
            origins.times_ms(origin_rows),
            event_types.values,
            self._limits,
            broken,
        )
        partitions = matrix[kernels.PARTITION]
        offsets, partition_count = fill_places(origins, origin_rows, partitions)
        clicks = Clicks(
            topic=topic,
            origins=origins,
            origin_rows=origin_rows,
            columns=columns,
            keys=user,
            times_ms=matrix[kernels.TIME_MS],
            partitions=partitions,
            offsets=offsets,
            reader=self._reader,
            matrix=matrix,
            item_ids=item,
            partition_count=partition_count,
            features=np.empty((n, self.n_features), np.float32),
            status=np.zeros(n, np.int8),
            feature_set=self.feature_set,
        )
        invalid = np.flatnonzero(broken).tolist()
        for row in invalid:
            out.append(self._invalid(clicks, row, int(broken[row])))
        rows, ends = split_by_shard(user, self.shards)
        if invalid:
            self._emit_valid(clicks, rows, ends, broken, out)
            return
        start = 0
        for shard, end in enumerate(ends.tolist()):
            if end > start:
                name = self._names[shard]
                out.append(ShardClicks(name, clicks, rows[start:end]))
            start = end

    def _emit_valid(
        self,
        clicks: Clicks,
        rows: NDArray[np.int64],
        ends: NDArray[np.int64],
        broken: NDArray[np.int8],
        out: list[Decoded],
    ) -> None:
        start = 0
        for shard, end in enumerate(ends.tolist()):
            own = rows[start:end]
            own = own[broken[own] == 0]
            if len(own):
                out.append(ShardClicks(self._names[shard], clicks, own))
            start = end

    def _invalid(self, clicks: Clicks, row: int, code: int) -> Failed:
        index, which = BROKEN[code]
        rule = self._rules[index]
        got = self._reader.value(clicks.columns, rule.field, row)
        return clicks.fail(row, rule.reason, message_of(rule, which, got))


def decode_clicks(job: "Job", features: FeatureSet | None = None) -> DecodeClicks:
    """The step for a job: clicks as `schemas/clicks.avsc` has them, by shard of their user.

    `features` says what a later step fills in; None: nothing.
    """
    return DecodeClicks(
        job.decoder(CLICKS),
        n_features=0 if features is None else len(features),
        shards=job.settings.shards,
        max_ahead_s=job.settings.max_ahead_s,
        feature_set="" if features is None else features.digest,
    )


__all__ = ["RULES", "DecodeClicks", "decode_clicks"]
