"""What every log promises, on each back end."""

import time
from contextlib import closing

import numpy as np
import pytest

from streamrec.connectors.batch_part import part
from streamrec.connectors.log import (
    Log,
    LogError,
    OffsetBounds,
    OffsetOutOfRangeError,
    Outgoing,
    Place,
    TooLargeError,
    TopicSpec,
    UnknownTopicError,
    WriteError,
)
from streamrec.connectors.partitioner import partition_for_key
from streamrec.schemas.columns import Bytes
from streamrec.schemas.hashing import murmur2
from tests.connectors.log_reading import create, read, read_from, wait_until, write


def test_records_come_back_as_they_were_written(log: Log, topic_name: str) -> None:
    create(log, topic_name)
    headers: list[tuple[str, bytes | None]] = [("a", b"1"), ("a", b""), ("none", None)]
    written = [
        Outgoing(b"key", b"value", headers, 1_700_000_000_000),
        Outgoing(None, b"no key", None, 1_600_000_000_000),
        Outgoing(b"tombstone", None, [("h", bytes(range(256)))], 1_700_000_000_001),
        Outgoing(b"", b"", None, 1),
        Outgoing(None, None, None, 2),
    ]
    write(log, topic_name, written)
    records = read_from(log, topic_name, {0: 0}, len(written))
    assert [(r.key, r.value, r.headers or None, r.timestamp_ms) for r in records] == [
        (m.key, m.value, m.headers or None, m.timestamp_ms) for m in written
    ]
    assert [r.offset for r in records] == [0, 1, 2, 3, 4]


def test_a_batch_says_which_messages_have_headers(log: Log, topic_name: str) -> None:
    create(log, topic_name)
    headers: list[list[tuple[str, bytes | None]] | None] = [None, [("a", b"1")], [], [("b", None)]]
    for start in (0, 2):  # in two rows
        write(log, topic_name, [Outgoing(None, b"v", each) for each in headers[start : start + 2]])
    write(log, topic_name, [Outgoing(None, b"v")])
    with closing(log.reader()) as reader:
        reader.assign(topic_name, {0: 1})
        found: list[int] = []

        def poll() -> bool:
            for batch in reader.poll(10, 0.05):
                offsets = batch.offsets.tolist()
                found.extend(offsets[index] for index in batch.with_headers())
                last = part(batch, len(batch) - 1, len(batch))
                assert list(last.with_headers()) == [0] * (offsets[-1] in (1, 3))
            return reader.position(topic_name, 0) == 5

        wait_until(poll)
    assert found == [1, 3]


def test_a_topic_that_was_made_anew_is_another(log: Log, topic_name: str) -> None:
    create(log, topic_name)
    with closing(log.admin()) as admin:
        first = admin.identity(topic_name)
        assert first is not None and admin.identity(topic_name) == first
        admin.delete(topic_name)
        with pytest.raises(UnknownTopicError):
            admin.identity(topic_name)
        admin.create(TopicSpec(topic_name))
        assert admin.identity(topic_name) not in (first, None)


def test_a_message_without_a_timestamp_gets_the_time_of_writing(log: Log, topic_name: str) -> None:
    create(log, topic_name)
    before_ms = int(time.time() * 1000)
    write(log, topic_name, [Outgoing(b"k", b"v")])
    record = read_from(log, topic_name, {0: 0}, 1)[0]
    assert before_ms <= record.timestamp_ms <= time.time() * 1000 + 1


def test_columns_come_back_in_order_per_partition(log: Log, topic_name: str) -> None:
    create(log, topic_name, partitions=3)
    expected: dict[int, list[tuple[bytes | None, bytes | None]]] = {0: [], 1: [], 2: []}
    with closing(log.writer()) as writer:
        for number in range(60):
            partition = number % 3
            size = (1, 7, 150)[number % 3 - 1]
            keys = [None if i % 5 == 0 else b"k%d" % i for i in range(size)]
            values = [None if i % 11 == 3 else b"%d-%d" % (number, i) for i in range(size)]
            writer.write_columns(topic_name, partition, keys, values)
            expected[partition] += zip(keys, values, strict=True)
        writer.flush(20)
    total = sum(map(len, expected.values()))
    for max_messages in (7, 1_000):
        records = read_from(log, topic_name, {0: 0, 1: 0, 2: 0}, total, max_messages)
        for partition, pairs in expected.items():
            part = [r for r in records if r.partition == partition]
            assert [r.offset for r in part] == list(range(len(pairs)))
            assert [(r.key, r.value) for r in part] == pairs


def test_keys_go_where_kafkas_partitioner_sends_them(log: Log, topic_name: str) -> None:
    create(log, topic_name, partitions=7)
    keys = [b"%d" % i * (i % 6 + 1) for i in range(50)] + ["ключ".encode()]
    write(log, topic_name, [Outgoing(key, b"v") for key in keys])
    records = read_from(log, topic_name, dict.fromkeys(range(7), 0), len(keys))
    assert {r.key: r.partition for r in records} == {k: partition_for_key(k, 7) for k in keys}


def test_the_kernel_and_the_writers_partitioner_agree() -> None:
    keys = [bytes(range(length)) for length in range(40)]
    lengths = np.array([len(key) for key in keys])
    column = Bytes(np.frombuffer(b"".join(keys), np.uint8), lengths.cumsum() - lengths, lengths)
    for partitions in (1, 8, 13):
        in_kernel = (murmur2(column) & 0x7FFFFFFF) % partitions
        assert in_kernel.tolist() == [partition_for_key(key, partitions) for key in keys]


def test_messages_without_a_key_are_spread_and_none_is_lost(log: Log, topic_name: str) -> None:
    create(log, topic_name, partitions=3)
    write(log, topic_name, [Outgoing(None, b"%d" % i) for i in range(30)])
    records = read_from(log, topic_name, {0: 0, 1: 0, 2: 0}, 30)
    assert sorted(int(r.value or b"") for r in records) == list(range(30))


def test_poll_returns_at_once_with_nothing_new_and_waits_when_asked(
    log: Log, topic_name: str
) -> None:
    create(log, topic_name)
    with closing(log.reader()) as reader:
        reader.assign(topic_name, {0: 0})
        reader.poll(10, 0.5)
        start = time.monotonic()
        assert reader.poll(10) == []
        assert time.monotonic() - start < 0.2
        assert reader.poll(10, 0.3) == []
        assert 0.25 < time.monotonic() - start < 1.5


def test_a_waiting_poll_returns_what_has_come_without_waiting_for_more(
    log: Log, topic_name: str
) -> None:
    create(log, topic_name)
    with closing(log.reader()) as reader, closing(log.writer()) as writer:
        reader.assign(topic_name, {0: 0})
        writer.write(topic_name, [Outgoing(None, b"v")])
        writer.flush(20)
        start = time.monotonic()
        assert len(reader.poll(1_000, 10.0)) == 1
        assert time.monotonic() - start < 5


def test_what_is_written_becomes_visible_without_a_flush(log: Log, topic_name: str) -> None:
    create(log, topic_name)
    with closing(log.reader()) as reader, closing(log.writer()) as writer:
        reader.assign(topic_name, {0: 0})
        for number in range(3):
            writer.write_columns(topic_name, 0, [None], [b"%d" % number])
            assert [r.value for r in read(reader, 1)] == [b"%d" % number]


def test_reading_starts_at_any_offset(log: Log, topic_name: str) -> None:
    create(log, topic_name)
    write(log, topic_name, [Outgoing(None, b"%d" % i) for i in range(50)])
    for start in (0, 1, 25, 49):
        records = read_from(log, topic_name, {0: start}, 50 - start)
        assert [r.offset for r in records] == list(range(start, 50))
        assert records[0].value == b"%d" % start
    with closing(log.reader()) as reader:
        reader.assign(topic_name, {0: 50})
        write(log, topic_name, [Outgoing(None, b"later")])
        assert [(r.offset, r.value) for r in read(reader, 1)] == [(50, b"later")]


def test_an_offset_beyond_the_log_is_refused(log: Log, topic_name: str) -> None:
    create(log, topic_name)
    write(log, topic_name, [Outgoing(None, b"v")])
    with closing(log.reader()) as reader:
        for offset in (2, 1_000):
            with pytest.raises(OffsetOutOfRangeError, match=f"from 0 to 1, got {offset}"):
                reader.assign(topic_name, {0: offset})


def test_offsets_are_found_by_time(log: Log, topic_name: str) -> None:
    create(log, topic_name, partitions=2)
    stamps = [1_000, 2_000, 2_000, 3_000]
    for ms in stamps:
        write(log, topic_name, [Outgoing(None, b"v", None, ms, 0)])
    with closing(log.admin()) as admin:
        found = [admin.offsets_at(topic_name, ms)[0] for ms in (0, 1_001, 2_000, 3_000, 3_001)]
        assert found == [0, 1, 1, 3, 4]
        assert admin.offsets_at(topic_name, 0) == {0: 0, 1: 0}


def test_a_time_within_one_batch_is_found(log: Log, topic_name: str) -> None:
    create(log, topic_name)
    write(log, topic_name, [Outgoing(None, b"v", None, 1_000 + i) for i in range(20)])
    with closing(log.admin()) as admin:
        assert admin.offsets_at(topic_name, 1_013) == {0: 13}


def test_a_topic_can_grow_while_it_is_read_and_written(log: Log, topic_name: str) -> None:
    create(log, topic_name)
    with (
        closing(log.reader()) as reader,
        closing(log.writer()) as writer,
        closing(log.admin()) as admin,
    ):
        reader.assign(topic_name, {0: 0})
        writer.write(topic_name, [Outgoing(None, b"0", partition=0)])
        writer.flush(20)
        assert len(read(reader, 1)) == 1
        admin.add_partitions(topic_name, 3)
        assert sorted(admin.bounds(topic_name)) == [0, 1, 2]
        reader.assign(topic_name, {1: 0, 2: 0})
        deadline = time.monotonic() + 10
        for partition in (0, 1, 2):
            while True:  # A writer may take a moment to learn of new partitions.
                try:
                    writer.write_columns(topic_name, partition, [None], [b"new"])
                    break
                except WriteError:
                    assert time.monotonic() < deadline
                    time.sleep(0.2)
        writer.flush(20)
        assert sorted((r.partition, r.offset) for r in read(reader, 3)) == [(0, 1), (1, 0), (2, 0)]
        with pytest.raises(LogError, match="partitions cannot be removed"):
            admin.add_partitions(topic_name, 2)


def test_one_reader_reads_several_topics(log: Log, topic_name: str) -> None:
    names = [f"{topic_name}-{suffix}" for suffix in "ab"]
    with closing(log.reader()) as reader:
        for name in names:
            create(log, name, partitions=2)
            write(log, name, [Outgoing(None, name.encode(), partition=i % 2) for i in range(10)])
            reader.assign(name, {0: 0, 1: 0})
        records = read(reader, 20)
    assert len(records) == 20
    assert all(r.value == r.topic.encode() for r in records)


def test_assigning_again_moves_the_position(log: Log, topic_name: str) -> None:
    create(log, topic_name)
    write(log, topic_name, [Outgoing(None, b"%d" % i) for i in range(10)])
    with closing(log.reader()) as reader:
        reader.assign(topic_name, {0: 0})
        assert len(read(reader, 10)) == 10
        reader.assign(topic_name, {0: 4})
        assert [r.offset for r in read(reader, 6)] == [4, 5, 6, 7, 8, 9]


def test_committed_offsets_show_under_their_group(log: Log, topic_name: str) -> None:
    create(log, topic_name, partitions=3)
    write(log, topic_name, [Outgoing(None, b"v", partition=i % 3) for i in range(9)])
    group = f"{topic_name}-group"
    with closing(log.admin()) as admin:
        assert admin.committed(group, topic_name) == {}
        with closing(log.reader()) as reader:
            reader.assign(topic_name, {0: 0, 1: 0, 2: 0})
            reader.commit(group, topic_name, {0: 1, 2: 3})
        assert admin.committed(group, topic_name) == {0: 1, 2: 3}
        with closing(log.reader()) as reader:
            reader.commit(group, topic_name, {0: 1})
            reader.commit(group, topic_name, {0: 2})
        assert admin.committed(group, topic_name) == {0: 2, 2: 3}
        assert admin.committed(f"{topic_name}-other", topic_name) == {}


def test_a_message_too_large_is_refused_and_its_neighbours_are_not_harmed(
    log: Log, topic_name: str
) -> None:
    create(log, topic_name, max_message_bytes="300000")
    with closing(log.writer()) as writer:
        writer.write(topic_name, [Outgoing(None, b"before")])
        with pytest.raises(WriteError, match=r"max\.message\.bytes"):
            writer.write(topic_name, [Outgoing(None, bytes(300_001))])
        with pytest.raises(WriteError, match=r"max\.message\.bytes"):
            writer.write_columns(topic_name, 0, [None, None], [b"small", bytes(300_001)])
        writer.write_columns(topic_name, 0, [None], [b"after"])
        writer.flush(20)
    assert [r.value for r in read_from(log, topic_name, {0: 0}, 2)] == [b"before", b"after"]


def test_a_message_as_large_as_allowed_passes(log: Log, topic_name: str) -> None:
    create(log, topic_name, max_message_bytes="5000000")
    write(log, topic_name, [Outgoing(None, bytes(4_999_000)), Outgoing(None, b"after")])
    assert [len(r.value or b"") for r in read_from(log, topic_name, {0: 0}, 2)] == [4_999_000, 5]


def test_an_unknown_topic_is_named(log: Log, topic_name: str) -> None:
    with (
        closing(log.reader()) as reader,
        closing(log.writer()) as writer,
        closing(log.admin()) as admin,
    ):
        for attempt in (
            lambda: reader.assign(topic_name, {0: 0}),
            lambda: writer.write(topic_name, [Outgoing(None, b"v")]),
            lambda: writer.write_columns(topic_name, 0, [None], [b"v"]),
            lambda: admin.describe(topic_name),
            lambda: admin.bounds(topic_name),
            lambda: admin.delete(topic_name),
            lambda: admin.offsets_at(topic_name, 0),
        ):
            with pytest.raises(UnknownTopicError, match=topic_name):
                attempt()
        assert topic_name not in admin.topics()


def test_an_unknown_partition_is_named(log: Log, topic_name: str) -> None:
    create(log, topic_name, partitions=2)
    with closing(log.reader()) as reader, closing(log.writer()) as writer:
        with pytest.raises(LogError, match="expected partition 0 to 1"):
            reader.assign(topic_name, {2: 0})
        with pytest.raises(WriteError, match="expected partition 0 to 1"):
            writer.write(topic_name, [Outgoing(None, b"v", partition=2)])
        with pytest.raises(WriteError, match="expected partition 0 to 1"):
            writer.write_columns(topic_name, 2, [None], [b"v"])


def test_a_deleted_topic_stops_its_reader(log: Log, topic_name: str) -> None:
    create(log, topic_name)
    write(log, topic_name, [Outgoing(None, b"v")])
    with closing(log.reader()) as reader, closing(log.admin()) as admin:
        reader.assign(topic_name, {0: 0})
        assert len(read(reader, 1)) == 1
        admin.delete(topic_name)
        assert topic_name not in admin.topics()
        deadline = time.monotonic() + 30
        with pytest.raises(UnknownTopicError, match=topic_name):
            while time.monotonic() < deadline:
                reader.poll(10, 0.2)


def test_topics_are_described_as_created(log: Log, topic_name: str) -> None:
    create(log, topic_name, partitions=4, retention_ms="86400000")
    write(log, topic_name, [Outgoing(None, b"v", partition=1)])
    with closing(log.admin()) as admin:
        assert topic_name in admin.topics()
        info = admin.describe(topic_name)
        assert info.bounds == {
            0: OffsetBounds(0, 0),
            1: OffsetBounds(0, 1),
            2: OffsetBounds(0, 0),
            3: OffsetBounds(0, 0),
        }
        assert info.replication == 1
        assert info.configs == {"retention.ms": "86400000"}
        with pytest.raises(LogError, match="expected no such topic, got one"):
            admin.create(TopicSpec(topic_name))


def test_a_misspelt_option_is_refused(log: Log, topic_name: str) -> None:
    with closing(log.admin()) as admin:
        with pytest.raises(LogError, match=r"retention\.millis"):
            admin.create(TopicSpec(topic_name, configs={"retention.millis": "1"}))
        assert topic_name not in admin.topics()


def test_a_reader_behind_retention_is_told(log: Log, topic_name: str) -> None:
    create(log, topic_name, retention_ms="1500", segment_ms="200")
    with closing(log.reader()) as reader, closing(log.admin()) as admin:
        reader.assign(topic_name, {0: 0})
        write(log, topic_name, [Outgoing(None, b"%d" % i) for i in range(100)])
        assert read(reader, 100)[-1].offset == 99
        deadline = time.monotonic() + 40
        while admin.bounds(topic_name)[0].low == 0:
            assert time.monotonic() < deadline
            write(log, topic_name, [Outgoing(None, b"new")])
            time.sleep(0.3)
        with pytest.raises(OffsetOutOfRangeError, match="got 0"):
            reader.assign(topic_name, {0: 0})


def test_a_closed_writer_takes_nothing_and_closing_twice_is_harmless(
    log: Log, topic_name: str
) -> None:
    create(log, topic_name)
    writer = log.writer()
    writer.write(topic_name, [Outgoing(None, b"v")])
    writer.close()  # flushes
    writer.close()
    with pytest.raises(WriteError, match="closed"):
        writer.write(topic_name, [Outgoing(None, b"v")])
    assert len(read_from(log, topic_name, {0: 0}, 1)) == 1
    reader = log.reader()
    reader.close()
    reader.close()


def test_the_target_is_described_without_secrets(log: Log) -> None:
    assert log.describe_target().startswith(("embedded log '", "kafka '"))


def test_what_is_appended_is_told_where_it_stands(log: Log, topic_name: str) -> None:
    create(log, topic_name, partitions=3)
    create(log, f"{topic_name}-b")
    write(
        log, topic_name, [Outgoing(None, b"before", partition=partition) for partition in (0, 1, 2)]
    )
    messages = [
        (topic_name, Outgoing(b"%d" % i, b"v%d" % i, [("n", b"%d" % i)] if i % 2 else None))
        for i in range(60)
    ]
    messages.insert(7, (f"{topic_name}-b", Outgoing(None, b"other")))
    with closing(log.appender()) as appender:
        appending = appender.begin(messages)
        assert appender.wait(appending, 20)
        again = appender.begin(messages[:1])
        assert appender.wait(again, 20)
    assert appending.results[7] == Place(0, 0)
    places = [p for i, p in enumerate(appending.results) if i != 7] + again.results
    records = read_from(log, topic_name, dict.fromkeys(range(3), 0), 64)
    by_place = {Place(r.partition, r.offset): r for r in records}
    assert len(set(places)) == 61
    for (_, message), place in zip(
        [m for m in messages if m[0] == topic_name], places, strict=False
    ):
        assert isinstance(place, Place)
        record = by_place[place]
        assert (record.key, record.value) == (message.key, message.value)
        assert (record.headers or None) == message.headers


def test_an_append_that_is_not_taken_leaves_the_others_alone(log: Log, topic_name: str) -> None:
    create(log, topic_name, max_message_bytes="300000")
    with closing(log.appender()) as appender:
        appending = appender.begin(
            [
                (topic_name, Outgoing(None, b"first")),
                (topic_name, Outgoing(None, bytes(300_001))),
                (f"{topic_name}-none", Outgoing(None, b"nowhere")),
                (topic_name, Outgoing(None, b"last")),
            ]
        )
        assert appender.wait(appending, 20)
    assert [type(result) for result in appending.results] == [
        Place,
        TooLargeError,
        UnknownTopicError,
        Place,
    ]
    assert [r.value for r in read_from(log, topic_name, {0: 0}, 2)] == [b"first", b"last"]


def test_an_appender_is_prepared_for_topics_that_are_there(log: Log, topic_name: str) -> None:
    create(log, topic_name)
    appender = log.appender()
    appender.prepare(topic_name)
    with pytest.raises(UnknownTopicError, match=topic_name):
        appender.prepare(f"{topic_name}-none")
    appender.close()
    appender.close()
    with pytest.raises(WriteError, match="closed"):
        appender.begin([(topic_name, Outgoing(None, b"v"))])
