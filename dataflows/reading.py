"""Read a range of a topic record by record, for the command line and other edges."""

from collections.abc import Iterator, Mapping
from contextlib import closing

from connectors.log import Log, RawBatch, Record

# After this long without a message a range counts as read: the last offsets below a partition's end
# may hold none (transaction markers, compaction), so its end is not always reached.
IDLE_S = 5.0
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
    """The same as batches, whose last may go beyond `stops`."""
    positions = {p: start for p, start in starts.items() if start < stops.get(p, start)}
    if not positions:
        return
    idle_s = 0.0
    with closing(log.reader()) as reader:
        reader.assign(topic, positions)
        while any(position < stops[p] for p, position in positions.items()):
            batches = reader.poll(_BATCH, _POLL_S)
            idle_s = 0.0 if batches else idle_s + _POLL_S
            if idle_s >= IDLE_S:
                return
            for batch in batches:
                positions[batch.partition] = int(batch.offsets[-1]) + 1
                yield batch


def read_all(log: Log, topic: str) -> Iterator[Record]:
    """Every record that the topic holds now. Raises UnknownTopicError."""
    starts, stops = whole(log, topic)
    return read_range(log, topic, starts, stops)


def whole(log: Log, topic: str) -> tuple[dict[int, int], dict[int, int]]:
    """Where the partitions of a topic start and stop. Raises UnknownTopicError."""
    with closing(log.admin()) as admin:
        bounds = admin.bounds(topic)
    starts = {p: bound.low for p, bound in bounds.items()}
    return starts, {p: bound.high for p, bound in bounds.items()}


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
