"""Read a range of a topic record by record, for the command line and other edges."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import closing

from streamrec.connectors.log import Log, LogReader, RawBatch, Record, UnreachableError
from streamrec.connectors.patience import Patience

_logger = logging.getLogger(__name__)

STALLED_S = 30.0  # how long a range that was not read to its end may bring nothing
_BATCH = 1_000
_POLL_S = 0.1
_PATIENCE = Patience()


def read_range(
    log: Log, topic: str, starts: Mapping[int, int], stops: Mapping[int, int]
) -> Iterator[Record]:
    """Records from `starts` up to, not including, `stops`; in order within a partition."""
    for batch in read_batches(log, topic, starts, stops):
        for record in records_of(batch):
            if record.offset < stops[batch.partition]:
                yield record


def read_batches(
    log: Log,
    topic: str,
    starts: Mapping[int, int],
    stops: Mapping[int, int],
    patience: Patience | None = None,
) -> Iterator[RawBatch]:
    """The same as batches, whose last may go beyond `stops`, with the log's patience or another.

    Raises UnreachableError where messages are missing and none come: what was read is not all.
    """
    positions = {p: start for p, start in starts.items() if start < stops.get(p, start)}
    if not positions:
        return
    # The last offsets below an end may hold no message (transaction markers, compaction): only the
    # reader knows that it got there.
    with closing(log.reader(ends=True)) as reader:
        reader.assign(topic, positions)
        yield from read_to(reader, topic, positions, stops, patience or log.patience)


def read_to(
    reader: LogReader,
    topic: str,
    starts: Mapping[int, int],
    stops: Mapping[int, int],
    patience: Patience = _PATIENCE,
    batch_messages: int = _BATCH,
    stalled_s: float | None = None,
) -> Iterator[RawBatch]:
    """What a reader that stands at `starts`, and was made with `ends`, finds up to `stops`, and
    what may come with it beyond. The reader stays open.

    When nothing comes for `stalled_s` it is waited on, and said, where `patience` has no limit;
    else raises UnreachableError.
    """
    stalled_s = STALLED_S if stalled_s is None else stalled_s
    positions = {p: start for p, start in starts.items() if start < stops.get(p, start)}
    give_up = time.monotonic() + stalled_s
    wait = patience.wait()  # since something came
    while positions:
        batches = reader.poll(batch_messages, _POLL_S)
        for batch in batches:
            if batch.partition in positions:
                positions[batch.partition] = int(batch.offsets[-1]) + 1
            yield batch
        reached = {p: max(at, reader.position(topic, p)) for p, at in positions.items()}
        positions = {p: at for p, at in reached.items() if at < stops[p]}
        if batches:
            give_up = time.monotonic() + stalled_s
            wait = patience.wait()
        elif positions and time.monotonic() > give_up:
            spans = (f"{p} from offset {at} to {stops[p] - 1}" for p, at in positions.items())
            stalled = (
                f"topic {topic!r}: expected messages of partition {', '.join(spans)}, got none "
                f"for {stalled_s:.0f} s; the broker may be away, or a transaction open"
            )
            if patience.limit_s is not None:
                raise UnreachableError(stalled)
            _logger.warning("%s; waiting", stalled)
            give_up = time.monotonic() + stalled_s
        elif positions and patience.stopping() and not wait.left_s():
            raise UnreachableError(f"topic {topic!r}: asked to stop before it was read to its end")


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


def has_messages(log: Log, topic: str) -> bool:
    """Whether a topic holds anything now."""
    with closing(log.admin()) as admin:
        return any(bounds.high > bounds.low for bounds in admin.bounds(topic).values())
