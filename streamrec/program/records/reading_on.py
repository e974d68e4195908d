"""Records of a topic from some place on: to its end, until none come, or for ever."""

import time
from collections.abc import Iterator
from contextlib import closing

from streamrec.connectors.log import Log, LogAdmin, OffsetBounds, Record
from streamrec.connectors.reading import read_range, read_to, records_of
from streamrec.program.shared import UsageError
from streamrec.program.times import parse_time_ms

_BATCH = 1_000
_POLL_S = 0.5


def records_from(
    log: Log, topic: str, start: str, follow: bool, wait_s: float | None = None
) -> Iterator[Record]:
    """Records from `start` (as `--from` says it) to what is the topic's end now; with `follow` for
    ever; with `wait_s` until nothing more has come for so long. Raises UsageError, LogError."""
    with closing(log.admin()) as admin:
        bounds = admin.bounds(topic)
        starts = _starts(admin, topic, start, bounds)
        ends = admin.ends(topic, committed=True)
    if not follow and wait_s is None:
        yield from read_range(log, topic, starts, ends)
        return
    # Ends may hold no message (transaction markers): only the reader knows that it got there.
    with closing(log.reader(ends=True)) as reader:
        reader.assign(topic, starts)
        # What is there already is waited for as long as it takes: silence begins at the end.
        for batch in read_to(reader, topic, starts, ends, log.patience):
            yield from records_of(batch)
        silent_from_s = time.monotonic()
        while wait_s is None or (left_s := silent_from_s + wait_s - time.monotonic()) > 0:
            for batch in reader.poll(_BATCH, _POLL_S if wait_s is None else min(_POLL_S, left_s)):
                yield from records_of(batch)
                silent_from_s = time.monotonic()


def _starts(
    admin: LogAdmin, topic: str, start: str, bounds: dict[int, OffsetBounds]
) -> dict[int, int]:
    if start == "earliest":
        return {p: bound.low for p, bound in bounds.items()}
    if start == "latest":
        return {p: bound.high for p, bound in bounds.items()}
    try:
        if ":" in start and "T" not in start:
            return _parse_offsets(start, topic, bounds)
        return admin.offsets_at(topic, parse_time_ms(start))
    except ValueError as error:
        raise UsageError(
            f"--from expected earliest, latest, PARTITION:OFFSET,... or a time: {error}"
        ) from None


def _parse_offsets(text: str, topic: str, bounds: dict[int, OffsetBounds]) -> dict[int, int]:
    starts = {}
    for part in text.split(","):
        partition, _, offset = part.partition(":")
        if not (partition.isdecimal() and offset.isdecimal()):
            raise ValueError(f"expected PARTITION:OFFSET, got {part!r}")
        if int(partition) not in bounds:
            raise ValueError(
                f"topic {topic!r} expected partition 0 to {len(bounds) - 1}, got {partition}"
            )
        low, high = bounds[int(partition)]
        if not low <= int(offset) <= high:
            raise ValueError(
                f"partition {partition} of topic {topic!r} expected offset {low} to {high}, "
                f"got {offset}"
            )
        starts[int(partition)] = int(offset)
    return starts


__all__ = ["records_from"]
