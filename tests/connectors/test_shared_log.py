"""Views of one reader, one writer and one admin: each sees what a client of its own would."""

import threading
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from streamrec.connectors import shared_log
from streamrec.connectors.log import Log, LogError, LogReader, Outgoing
from streamrec.connectors.out import Out, Sources
from streamrec.connectors.reading import read_all
from streamrec.connectors.shared_log import SharedLog
from streamrec.connectors.sink import LogSink, SinkLane, SinkOptions, SinkPosition, Transactions
from tests.connectors.log_reading import create, wait_until, write
from tests.connectors.test_sink_recovery import in_order, values_in, written


def numbers(first: int, count: int) -> list[Outgoing]:
    return [Outgoing(None, b"%d" % n, partition=n % 2) for n in range(first, first + count)]


@pytest.fixture
def topics(log: Log, topic_name: str) -> list[str]:
    names = [f"{topic_name}-{letter}" for letter in "ab"]
    for name in names:
        create(log, name, 2)
    return names


def offsets_read(
    reader: LogReader, topic: str, count: int, most: int = 40
) -> list[tuple[int, int]]:
    """Poll until so many have come, of this topic alone."""
    found: list[tuple[int, int]] = []

    def poll() -> bool:
        batches = reader.poll(most, 0.05)
        assert sum(map(len, batches)) <= most
        for batch in batches:
            assert batch.topic == topic
            for index, offset in enumerate(batch.offsets.tolist()):
                assert batch.values[index] == b"%d" % (2 * offset + batch.partition)
                assert batch.detail(index).key is None
                found.append((batch.partition, offset))
        return len(found) >= count

    wait_until(poll)
    return found


class CountsReaders:
    """A log that keeps the readers that were opened."""

    def __init__(self, log: Log, opened: list[LogReader]) -> None:
        self._log = log
        self._opened = opened

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def reader(self, ends: bool = False) -> LogReader:
        self._opened.append(self._log.reader(ends))
        return self._opened[-1]


def all_of(count: int) -> list[tuple[int, int]]:
    return sorted((n % 2, n // 2) for n in range(count))


def test_each_view_reads_its_topic_whatever_waits_for_the_others(
    log: Log, topics: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is not polled while the second reads: more waits for it than may."""
    monkeypatch.setattr(shared_log, "_WAITING_MESSAGES", 50)
    shared = SharedLog(log)
    slow, fast = shared.reader(), shared.reader()
    slow.assign(topics[0], {0: 0, 1: 0})
    fast.assign(topics[1], {0: 0, 1: 0})
    for round_ in range(3):
        for topic in topics:
            write(log, topic, numbers(200 * round_, 200))
        found = offsets_read(fast, topics[1], 200)
        assert sorted(found) == [(p, at + 100 * round_) for p, at in all_of(200)]
    found = offsets_read(slow, topics[0], 600)
    assert sorted(found) == all_of(600)
    for partition in (0, 1):
        own = [at for p, at in found if p == partition]
        assert own == sorted(own)
    assert slow.position(topics[0], 0) == 300
    slow.close()
    write(log, topics[1], numbers(600, 10))
    assert len(offsets_read(fast, topics[1], 10)) == 10
    fast.close()


def test_a_position_is_before_what_waits(log: Log, topics: list[str]) -> None:
    shared = SharedLog(log)
    one, other = shared.reader(ends=True), shared.reader(ends=True)
    one.assign(topics[0], {0: 0})
    other.assign(topics[1], {0: 0})
    write(log, topics[0], [Outgoing(None, b"0", partition=0), Outgoing(None, b"2", partition=0)])
    other.poll(10, 1.0)
    assert one.position(topics[0], 0) == 0
    assert offsets_read(one, topics[0], 1, most=1) == [(0, 0)]
    assert one.position(topics[0], 0) == 1
    assert offsets_read(one, topics[0], 1) == [(0, 1)]
    assert one.position(topics[0], 0) == 2
    one.close()
    other.close()


def test_a_partition_that_two_views_want_is_read_by_both(log: Log, topics: list[str]) -> None:
    shared = SharedLog(log)
    write(log, topics[0], numbers(0, 20))
    first, second = shared.reader(), shared.reader()
    first.assign(topics[0], {0: 0, 1: 0})
    second.assign(topics[0], {0: 0, 1: 0})
    assert sorted(offsets_read(second, topics[0], 20)) == all_of(20)
    second.close()
    assert sorted(offsets_read(first, topics[0], 20)) == all_of(20)
    first.close()


def test_views_of_a_partition_read_each_from_its_own_place(
    log: Log, topics: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is near shares the reader, which goes back for it; one that is far, or that takes
    too little while the others go on, reads by a reader of its own. None misses any, or gets one
    twice."""
    monkeypatch.setattr(shared_log, "_WAITING_MESSAGES", 120)
    monkeypatch.setattr(shared_log, "_BACK_MESSAGES", 60)
    opened: list[LogReader] = []
    shared = SharedLog(CountsReaders(log, opened))
    write(log, topics[0], numbers(0, 400))
    ahead, near, far, slow = (shared.reader() for _ in range(4))
    ahead.assign(topics[0], {0: 150, 1: 150})
    slow.assign(topics[0], {0: 150, 1: 150})
    assert sorted(offsets_read(ahead, topics[0], 100)) == all_of(400)[150:200] + all_of(400)[350:]
    near.assign(topics[0], {0: 140, 1: 200})
    assert len(opened) == 1
    far.assign(topics[0], {0: 0, 1: 0})
    assert len(opened) == 2

    whole = all_of(800)
    assert sorted(offsets_read(near, topics[0], 60)) == whole[140:200]
    for first in range(400, 800, 100):
        write(log, topics[0], numbers(first, 100))
        new = [(p, at) for p, at in whole if first // 2 <= at < first // 2 + 50]
        for each in (ahead, near):
            assert sorted(offsets_read(each, topics[0], 100)) == new
    assert len(opened) == 2
    assert sorted(offsets_read(slow, topics[0], 500)) == whole[150:400] + whole[550:]
    assert len(opened) == 3  # the slow one was left behind
    assert sorted(offsets_read(far, topics[0], 800)) == whole
    assert [each.position(topics[0], 0) for each in (ahead, near, far, slow)] == [400] * 4
    for each in (ahead, near, far, slow):
        each.close()


def test_what_views_write_stands_when_one_flushes_and_closing_one_leaves_the_others(
    log: Log, topics: list[str]
) -> None:
    shared = SharedLog(log)
    one, other = shared.writer(), shared.writer()
    one.write_columns(topics[0], 0, [b"k"], [b"0"], [[("h", b"1")]])
    one.write_columns(topics[0], 0, [None], [b"1"], None, np.array([1_700_000_000_000]))
    one.close()
    other.write(topics[1], [Outgoing(None, b"0", partition=0)])
    other.flush(10.0)
    with closing(shared.admin()) as admin:
        assert [admin.ends(topic)[0] for topic in topics] == [2, 1]
    other.close()
    first, second = read_all(log, topics[0])
    assert (first.key, first.headers) == (b"k", [("h", b"1")])
    assert (second.headers, second.timestamp_ms) == ([], 1_700_000_000_000)


def lane(log: SharedLog, topic: str, other: str, resume: SinkPosition | None) -> SinkLane:
    options = SinkOptions(
        topic,
        1,
        written=written(topic),
        others=lambda: [written(other)],
        transactions=Transactions(f"{topic[:-2]}", 60.0, shared=True),
    )
    return LogSink(log, options).open_lane("lane-000", resume)


def answers(offsets: Sequence[int]) -> list[Out]:
    values = [b"0:%d" % offset for offset in offsets]
    places = np.array([(0, offset) for offset in offsets], np.int64)
    return [Out(0, [None] * len(values), values, sources=Sources(places, "in"))]


@pytest.mark.kafka
@pytest.mark.parametrize("log", ["kafka"], indirect=True)
def test_two_topics_in_one_transaction_are_each_written_once_over_crashes(
    log: Log, topics: list[str]
) -> None:
    """The first sink's commit makes a part of the second's epoch visible: it is read back."""
    a, b = topics
    first = SharedLog(log)
    one, other = lane(first, a, b, None), lane(first, b, a, None)
    one.write_batch(answers([0]))
    other.write_batch(answers([1]))
    saved = one.snapshot(), other.snapshot()
    other.write_batch(answers([2]))
    one.write_batch(answers([3]))
    one.snapshot()  # commits 2 and 3; the engine's snapshot is never durable
    other.write_batch(answers([4]))  # open

    second = SharedLog(log)
    one, other = lane(second, a, b, saved[0]), lane(second, b, a, saved[1])
    other.write_batch(answers([2, 4]))
    one.write_batch(answers([3, 5]))
    one.snapshot()
    other.snapshot()
    assert values_in(log, a) == in_order(0, 3, 5)
    assert values_in(log, b) == in_order(1, 2, 4)
    one.close()
    other.close()


@pytest.mark.kafka
def test_a_lane_of_two_workers_is_refused(kafka_log: Log, topic_name: str) -> None:
    shared = SharedLog(kafka_log)
    told: list[str] = []

    def open_it() -> None:
        try:
            shared.transactional_writer(topic_name, 60.0)
        except LogError as error:
            told.append(str(error))

    writer = shared.transactional_writer(topic_name, 60.0)
    thread = threading.Thread(target=open_it)
    thread.start()
    thread.join()
    writer.close()
    assert "expected to be written by one worker, got two" in told[0]
