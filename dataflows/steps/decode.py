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
from streamrec.dataflows.steps.batches import Clicks, ShardClicks
from streamrec.dataflows.steps.shards import shard_name, split_by_shard
from streamrec.models.users import kernels
from streamrec.models.users.features import FeatureSet
from streamrec.schemas.columns import Bytes, Columns, Numbers
from streamrec.schemas.hashing import hash64, hash128
from streamrec.schemas.reasons import Reason
from streamrec.schemas.wire import WireDecoder

if TYPE_CHECKING:  # steps run without the engine, which a job wires
    from streamrec.dataflows.job.job import Job

MAX_ID_BYTES = 256
MAX_PRICE_CENTS = 10**12  # so that a session's sum cannot overflow
MAX_TIME_MS = 253_402_300_799_999  # the end of year 9999: no reader of dates goes further
# From 1973 on in seconds, and up to 1973 in milliseconds: no click is as old as that.
SECONDS = (10**8, 10**11)

# What a valid click is, beyond its schema: field, what is expected, and the reason of those that
# are not so. Codes are what the kernel answers, 0 is valid.
RULES = {
    1: ("user_id", f"a string of 1 to {MAX_ID_BYTES} bytes", Reason.INVALID_VALUE),
    2: ("item_id", f"a string of 1 to {MAX_ID_BYTES} bytes", Reason.INVALID_VALUE),
    3: ("timestamp", "Unix milliseconds > 0", Reason.INVALID_VALUE),
    4: (
        "timestamp",
        "a time at most {max_ahead_s} s ahead of the record's own in the log",
        Reason.INVALID_VALUE,
    ),
    5: ("price_cents", f"an integer from 0 to {MAX_PRICE_CENTS}", Reason.INVALID_VALUE),
    6: ("timestamp", "Unix milliseconds before the year 10000", Reason.INVALID_VALUE),
    7: ("timestamp", "Unix milliseconds", Reason.INVALID_VALUE),
}


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

    decoder: Callable[[], WireDecoder]  # one for each worker
    n_features: int
    shards: int
    max_ahead_s: int
    feature_set: str = ""  # digest of the features that will be filled in
    _names: list[str] = field(init=False)
    _limits: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self._names = [shard_name(shard) for shard in range(self.shards)]
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
        offsets, partitions = _places(origins, matrix[kernels.PARTITION], origin_rows)
        clicks = Clicks(
            topic=topic,
            origins=origins,
            origin_rows=origin_rows,
            matrix=matrix,
            offsets=offsets,
            user_ids=user,
            item_ids=item,
            partitions=partitions,
            features=np.empty((n, self.n_features), np.float32),
            status=np.zeros(n, np.int8),
            feature_set=self.feature_set,
        )
        for row in np.flatnonzero(broken).tolist():
            out.append(self._invalid(clicks, columns, row, int(broken[row])))
        rows, ends = split_by_shard(user, self.shards)
        if broken.any():
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

    def _invalid(self, clicks: Clicks, columns: Columns, row: int, rule: int) -> Failed:
        name, expected, reason = RULES[rule]
        column = columns[name]
        got: object
        hint = ""
        if isinstance(column, Bytes):
            got = column.bytes_at(row).decode()
            if len(got) > MAX_ID_BYTES:
                got = got[:40] + "..."
        else:
            assert isinstance(column, Numbers)
            got = int(column.values[row])
            if name == "timestamp" and (unit := _unit_of(got)):
                hint = f", which looks like {unit}"
        return clicks.fail(
            row,
            reason,
            f"field {name} expected {expected.format(max_ahead_s=self.max_ahead_s)}, got {got!r}"
            f"{hint}",
        )


def _unit_of(time: int) -> str:
    """The unit of a time of these decades, where it is not milliseconds.

    >>> _unit_of(1_767_225_600), _unit_of(1_767_225_600_000), _unit_of(1_767_225_600_000_000)
    ('seconds', '', 'microseconds')
    """
    units = ((SECONDS[0], ""), (SECONDS[1], "seconds"), (10**14, ""), (10**17, "microseconds"))
    for end, unit in units:
        if time < end:
            return unit
    return "nanoseconds"


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


def _places(
    origins: Origins, partition_row: NDArray[np.int64], origin_rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """Offsets of the rows and one more than the largest partition; writes `partition_row`."""
    batches = origins.batches
    largest = max(batch.partition for batch in batches)
    whole = len(origin_rows) == int(origins.ends[-1])
    if len(batches) == 1:
        partition_row[:] = batches[0].partition
        return batches[0].offsets if whole else batches[0].offsets[origin_rows], largest + 1
    offsets = np.concatenate([batch.offsets for batch in batches])
    partitions = np.repeat(
        np.array([batch.partition for batch in batches]), [len(batch) for batch in batches]
    )
    if whole:
        partition_row[:] = partitions
        return offsets, largest + 1
    partition_row[:] = partitions[origin_rows]
    return offsets[origin_rows], largest + 1


__all__ = ["RULES", "DecodeClicks", "decode_clicks"]
