"""Where the source begins, how its lanes share partitions, and how it finds new ones, on both logs.

The source is driven by hand, as the engine drives it, so that a test says when each lane is polled.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from streamrec.connectors.log import Log, Outgoing
from streamrec.connectors.source import LogSource, SourceLane, SourceOptions, lane_name
from streamrec.connectors.starts import Positions, Start, parse_start
from tests.connectors.log_reading import create, write

Found = dict[int, list[int]]  # partition to offsets, in the order in which they came


@contextmanager
def lanes_of(
    log: Log, options: SourceOptions, resume: dict[int, Positions] | None = None
) -> Iterator[list[SourceLane]]:
    source = LogSource(log, options)
    names = source.list_parts()
    assert names == [lane_name(lane) for lane in range(options.lanes)]
    states = resume or {}
    opened = [source.open_lane(n, states.get(i)) for i, n in enumerate(names)]
    try:
        yield opened
    finally:
        for lane in opened:
            lane.close()


def poll_until(
    lanes: list[SourceLane], done: Callable[[Found], bool], patience_s: float = 20.0
) -> Found:
    found: Found = {}
    give_up = time.monotonic() + patience_s
    while not done(found) and time.monotonic() < give_up:
        for number, lane in enumerate(lanes):
            for batch in lane.next_batch():
                assert batch.partition % len(lanes) == number
                found.setdefault(batch.partition, []).extend(batch.offsets.tolist())
        time.sleep(0.002)
    return found


def count(found: Found) -> int:
    return sum(map(len, found.values()))


def fill(log: Log, topic: str, partitions: int = 3, each: int = 10) -> None:
    """Offset n of partition p has the timestamp 1,000,000 + 1,000 n + p, which is long ago."""
    create(log, topic, partitions, retention_ms="-1")
    write(
        log,
        topic,
        [
            Outgoing(None, b"%d" % n, timestamp_ms=1_000_000 + 1_000 * n + p, partition=p)
            for n in range(each)
            for p in range(partitions)
        ],
    )


@pytest.mark.parametrize(
    ("start", "first"),
    [
        (Start("earliest"), {0: 0, 1: 0, 2: 0}),
        (Start("committed"), {0: 0, 1: 4, 2: 0}),
        (Start("timestamp", timestamp_ms=1_005_001), {0: 6, 1: 5, 2: 5}),
        (Start("timestamp", timestamp_ms=1), {0: 0, 1: 0, 2: 0}),
        (Start("offsets", offsets={0: 9, 2: 3}), {0: 9, 1: 0, 2: 3}),
    ],
)
def test_partitions_begin_where_the_start_says(
    log: Log, topic_name: str, start: Start, first: dict[int, int]
) -> None:
    fill(log, topic_name)
    with closing(log.reader()) as reader:
        reader.commit(topic_name, topic_name, {1: 4})
    options = SourceOptions(topic_name, topic_name, start, lanes=2, commit=False)
    expected = {p: list(range(at, 10)) for p, at in first.items()}
    with lanes_of(log, options) as lanes:
        found = poll_until(lanes, lambda found: count(found) >= count(expected))
    assert found == expected


@pytest.mark.parametrize(
    "start", [Start("latest"), Start("timestamp", timestamp_ms=9_000_000_000_000)]
)
def test_latest_and_a_time_to_come_begin_with_what_is_written_next(
    log: Log, topic_name: str, start: Start
) -> None:
    fill(log, topic_name)
    with lanes_of(log, SourceOptions(topic_name, topic_name, start, lanes=2)) as lanes:
        write(log, topic_name, [Outgoing(None, b"new", partition=p) for p in range(3)])
        found = poll_until(lanes, lambda found: count(found) >= 3)
    assert found == {0: [10], 1: [10], 2: [10]}


def test_snapshot_resumes_at_the_next_message_whatever_the_start_says(
    log: Log, topic_name: str
) -> None:
    fill(log, topic_name)
    options = SourceOptions(topic_name, topic_name, Start("latest"), lanes=2)
    resume = {0: {0: 7, 2: 10}, 1: {1: 2}}
    with lanes_of(log, options, resume) as lanes:
        assert lanes[0].snapshot() == {0: 7, 2: 10}
        found = poll_until(lanes, lambda found: count(found) >= 11)
        assert [lane.snapshot() for lane in lanes] == [{0: 10, 2: 10}, {1: 10}]
    assert found == {0: [7, 8, 9], 1: list(range(2, 10))}


def test_partition_added_while_stopped_is_read_whole(log: Log, topic_name: str) -> None:
    fill(log, topic_name, partitions=2)
    with closing(log.admin()) as admin:
        admin.add_partitions(topic_name, 4)
    write(log, topic_name, [Outgoing(None, b"v", partition=p) for p in (2, 3)])
    options = SourceOptions(topic_name, topic_name, Start("committed"), lanes=2)
    with lanes_of(log, options, {0: {0: 10}, 1: {1: 10}}) as lanes:
        found = poll_until(lanes, lambda found: count(found) >= 2)
    assert found == {2: [0], 3: [0]}


def test_partition_added_in_mid_run_is_found_and_read_whole(log: Log, topic_name: str) -> None:
    fill(log, topic_name, partitions=2)
    options = SourceOptions(topic_name, topic_name, Start("latest"), lanes=2, discover_s=0.2)
    with lanes_of(log, options) as lanes:
        poll_until(lanes, lambda found: False, patience_s=0.3)
        with closing(log.admin()) as admin:
            admin.add_partitions(topic_name, 5)
        write(log, topic_name, [Outgoing(None, b"v", partition=p) for p in (2, 3, 4, 0)])
        found = poll_until(lanes, lambda found: count(found) >= 4)
        snapshots = [lane.snapshot() for lane in lanes]
    assert found == {0: [10], 2: [0], 3: [0], 4: [0]}
    assert snapshots == [{0: 11, 2: 1, 4: 1}, {1: 10, 3: 1}]


def test_group_shows_what_the_snapshot_before_held(log: Log, topic_name: str) -> None:
    fill(log, topic_name, partitions=1, each=12)
    options = SourceOptions(topic_name, topic_name, lanes=1, batch_messages=4)
    with closing(log.admin()) as admin:
        with lanes_of(log, options) as (lane,):
            committed = []
            for _ in range(3):
                before = lane.snapshot()
                committed.append((before, admin.committed(topic_name, topic_name)))
                poll_until([lane], lambda found: count(found) >= 4)
        assert [before[0] for before, _ in committed] == [0, 4, 8]
        assert committed[-1][1].get(0, 0) <= 4, "what is not durable yet does not show"


def test_finite_run_ends_each_lane_at_the_ends_that_it_found(log: Log, topic_name: str) -> None:
    fill(log, topic_name, partitions=3)
    options = SourceOptions(topic_name, topic_name, Start("earliest"), follow=False, lanes=4)
    found: Found = {}
    with lanes_of(log, options) as lanes:
        write(log, topic_name, [Outgoing(None, b"later", partition=0)])
        running = dict(enumerate(lanes))
        give_up = time.monotonic() + 20
        while running and time.monotonic() < give_up:
            for number, lane in list(running.items()):
                try:
                    batches = lane.next_batch()
                except StopIteration:
                    del running[number]
                    continue
                for batch in batches:
                    found.setdefault(batch.partition, []).extend(batch.offsets.tolist())
    assert not running
    assert found[1] == found[2] == list(range(10))
    assert found[0][:10] == list(range(10))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("earliest", Start("earliest")),
        ("latest", Start("latest")),
        ("committed", Start("committed")),
        ("1767225600000", Start("timestamp", timestamp_ms=1_767_225_600_000)),
        ("2026-01-01T01:00:00+01:00", Start("timestamp", timestamp_ms=1_767_225_600_000)),
        ("2026-01-01", Start("timestamp", timestamp_ms=1_767_225_600_000)),
        ("0:17,3:5", Start("offsets", offsets={0: 17, 3: 5})),
        (
            "2nd.clicks-x:0:17,3:5,b:1:2,b:0:9",
            Start("offsets", offsets={3: 5}, by_topic={"2nd.clicks-x": {0: 17}, "b": {1: 2, 0: 9}}),
        ),
    ],
)
def test_start_is_read(text: str, expected: Start) -> None:
    assert parse_start(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "0:1,", "0:-1", "1.5", "2026-13-01", "0:1:2"])
def test_start_that_is_none_is_told_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"start expected earliest, latest, .* got ") as raised:
        parse_start(text)
    assert repr(text) in str(raised.value)
