"""Read a range of a topic record by record, for the command line and other edges."""

import time
from collections.abc import Iterator, Mapping
from contextlib import closing

from streamrec.connectors.log import Log, RawBatch, Record, UnreachableError

STALLED_S = 30.0  # how long a range that was not read to its end may bring nothing
_BATCH = 1_000
_POLL_S = 0.1


def read_range(
    log: Log, topic: str, starts: Mapping[int, int], stops: Mapping[int, int]
) -> Iterator[Record]:
    """Records from `starts` up to, not including, `stops`; in order within a partition."""
    for batch in read_batches(log, topic, starts, stops):
        for record in records_of(batch):
            if record.offset < stops[batch.partition]:
                yield record


def read_batches(
    log: Log, topic: str, starts: Mapping[int, int], stops: Mapping[int, int]
) -> Iterator[RawBatch]:
    """The same as batches, whose last may go beyond `stops`.

    Raises UnreachableError where messages are missing and none come: what was read is not all.
    """
    positions = {p: start for p, start in starts.items() if start < stops.get(p, start)}
    if not positions:
        return
    # The last offsets below an end may hold no message (transaction markers, compaction): only the
    # reader knows that it got there.
    with closing(log.reader(ends=True)) as reader:
        reader.assign(topic, positions)
        give_up = time.monotonic() + STALLED_S
        while True:
            batches = reader.poll(_BATCH, _POLL_S)
            for batch in batches:
                positions[batch.partition] = int(batch.offsets[-1]) + 1
                yield batch
            reached = {p: max(at, reader.position(topic, p)) for p, at in positions.items()}
            missing = {p: at for p, at in reached.items() if at < stops[p]}
            if not missing:
                return
            if batches:
                give_up = time.monotonic() + STALLED_S
            elif time.monotonic() > give_up:
                spans = (f"{p} from offset {at} to {stops[p] - 1}" for p, at in missing.items())
                raise UnreachableError(
                    f"topic {topic!r}: expected messages of partition {', '.join(spans)}, got none "
                    f"for {STALLED_S:.0f} s; the broker may be away, or a transaction open"
                )


def read_all(log: Log, topic: str) -> Iterator[Record]:
    """Every record that the topic holds now. Raises UnknownTopicError."""
    starts, stops = whole(log, topic)
    return read_range(log, topic, starts, stops)


def whole(log: Log, topic: str) -> tuple[dict[int, int], dict[int, int]]:
    """Where the partitions of a topic start and stop. Raises UnknownTopicError."""
    with closing(log.admin()) as admin:
        bounds = admin.bounds(topic)
        return {p: bound.low for p, bound in bounds.items()}, admin.ends(topic, committed=True)


def records_of(batch: RawBatch) -> Iterator[Record]:
    for i, (offset, value) in enumerate(zip(batch.offsets.tolist(), batch.values, strict=True)):
        detail = batch.detail(i)
        yield Record(
            batch.topic,
            batch.partition,
            offset,
            detail.key,
            value,
            detail.headers,
            detail.timestamp_ms,
        )
