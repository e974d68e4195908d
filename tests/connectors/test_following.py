"""Following a topic: what is loaded before the first record, and that loading ends."""

from contextlib import closing

import pytest

from streamrec.connectors import table
from streamrec.connectors.log import Log, Outgoing, RawBatch, UnreachableError
from streamrec.connectors.table import Follower
from tests.connectors.log_reading import Silent, create, read, wait_until, write


class Values(Follower):
    """Keeps every value in the order in which it came."""

    def __init__(self, log: Log, topic: str) -> None:
        super().__init__(log, topic)
        self.values: list[bytes | None] = []

    def apply(self, batch: RawBatch) -> int:
        self.values += batch.values
        return len(batch)


def test_loading_ends_at_the_end_and_the_reader_goes_on_there(log: Log, topic_name: str) -> None:
    create(log, topic_name)
    write(log, topic_name, [Outgoing(b"k", b"%d" % i) for i in range(3)])
    follower = Values(log, topic_name)
    with closing(follower.load()) as reader:
        assert (follower.values, follower.positions) == ([b"0", b"1", b"2"], {0: 3})
        write(log, topic_name, [Outgoing(b"k", b"3")])
        assert [record.value for record in read(reader, 1)] == [b"3"]


def test_an_empty_topic_is_loaded_at_once(log: Log, topic_name: str) -> None:
    create(log, topic_name, partitions=2)
    follower = Values(log, topic_name)
    follower.load().close()
    assert (follower.values, follower.positions) == ([], {0: 0, 1: 0})


def test_loading_does_not_wait_for_ever(
    log: Log, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(log, topic_name)
    write(log, topic_name, [Outgoing(b"k", b"v")])
    monkeypatch.setattr(table, "STALLED_S", 1.0)
    with pytest.raises(UnreachableError, match="partition 0 from offset 0 to 0, got none for 1 s"):
        Values(Silent(log), topic_name).load()


@pytest.mark.kafka
@pytest.mark.parametrize("committed", [True, False])
def test_markers_at_the_end_hold_no_message_and_are_not_waited_for(
    kafka_log: Log, topic_name: str, committed: bool
) -> None:
    create(kafka_log, topic_name)
    write(kafka_log, topic_name, [Outgoing(b"k", b"before")])
    writer = kafka_log.transactional_writer(topic_name, 60.0)
    writer.write(topic_name, [Outgoing(b"k", b"within")])
    if committed:
        writer.commit(20.0)
    else:
        writer.flush(20.0)
        # The next writer of the name aborts it: a record and a marker that hold no message.
        kafka_log.transactional_writer(topic_name, 60.0).close()
    with closing(kafka_log.admin()) as admin:
        wait_until(lambda: admin.ends(topic_name, committed=True) == {0: 3})

    follower = Values(kafka_log, topic_name)
    follower.load().close()

    assert follower.values == [b"before", b"within"][: 1 + committed]
    writer.close()
