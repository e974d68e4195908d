"""Reading a range of a topic: to its end, or an error that says what is missing."""

from contextlib import closing

import pytest

from streamrec.connectors import reading
from streamrec.connectors.log import Log, Outgoing, UnreachableError
from streamrec.connectors.reading import read_all, read_range, whole
from tests.connectors.log_reading import create, wait_until, write


def test_a_range_is_read_to_its_end(log: Log, topic_name: str) -> None:
    create(log, topic_name, partitions=2)
    write(log, topic_name, [Outgoing(b"k", b"%d" % i, partition=i % 2) for i in range(10)])

    starts, stops = whole(log, topic_name)

    assert (starts, stops) == ({0: 0, 1: 0}, {0: 5, 1: 5})
    assert sorted(int(r.value or b"") for r in read_all(log, topic_name)) == list(range(10))
    assert [r.offset for r in read_range(log, topic_name, {0: 2}, {0: 4})] == [2, 3]
    assert list(read_range(log, topic_name, {0: 5}, {0: 5})) == []


def test_messages_that_do_not_come_are_not_passed_over(
    log: Log, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(log, topic_name)
    write(log, topic_name, [Outgoing(b"k", b"v")] * 3)
    monkeypatch.setattr(reading, "STALLED_S", 1.0)
    found = read_range(log, topic_name, {0: 0}, {0: 5})  # two more than there are

    assert [next(found).offset for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UnreachableError, match="partition 0 from offset 3 to 4, got none for 1 s"):
        next(found)


@pytest.mark.kafka
def test_an_open_transaction_ends_what_can_be_read(kafka_log: Log, topic_name: str) -> None:
    create(kafka_log, topic_name)
    write(kafka_log, topic_name, [Outgoing(b"k", b"before")])
    writer = kafka_log.transactional_writer(topic_name, 60.0)
    writer.write(topic_name, [Outgoing(b"k", b"open")])

    with closing(kafka_log.admin()) as admin:
        wait_until(lambda: admin.ends(topic_name) == {0: 2})
    assert whole(kafka_log, topic_name) == ({0: 0}, {0: 1})
    assert [r.value for r in read_all(kafka_log, topic_name)] == [b"before"]

    # The next writer of the name aborts it. Record and marker take offsets and are no messages.
    kafka_log.transactional_writer(topic_name, 60.0).close()
    wait_until(lambda: whole(kafka_log, topic_name)[1] == {0: 3})
    assert [r.value for r in read_all(kafka_log, topic_name)] == [b"before"]
    writer.close()
