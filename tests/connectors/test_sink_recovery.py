"""The sink after a crash, driven by hand: what it drops, and what its snapshots must hold.

Values are `partition:offset` of the input that they answer.
"""

from collections.abc import Sequence
from contextlib import closing

import numpy as np
import pytest

from streamrec.connectors.log import Log, Outgoing, RawBatch, UnreachableError, WriteError
from streamrec.connectors.out import Out
from streamrec.connectors.reading import read_batches
from streamrec.connectors.sink import (
    LogSink,
    OutputStart,
    SinkLane,
    SinkOptions,
    SinkPosition,
    Source,
    Transactions,
)
from tests.connectors.log_reading import Silent, create, write

LANES = 1


def sources_of(batch: RawBatch) -> list[tuple[Source, int]]:
    found = []
    for value, at in zip(batch.values, batch.offsets.tolist(), strict=True):
        assert value is not None
        partition, offset = value.split(b":")
        found.append(((int(partition), int(offset)), at))
    return found


def lane(log: Log, topic: str, resume: SinkPosition | None, transactions: bool) -> SinkLane:
    """Lane 0 as a start of the dataflow builds it."""
    options = SinkOptions(
        topic,
        LANES,
        sources_of=lambda: sources_of,
        start=lambda: OutputStart(1, {0: 0}),
        transactions=Transactions(topic, 60.0) if transactions else None,
    )
    return LogSink(log, options).open_lane("lane-000", resume)


def answers(offsets: Sequence[int], partition: int = 0) -> list[Out]:
    values = [b"%d:%d" % (partition, offset) for offset in offsets]
    sources = np.array([(partition, offset) for offset in offsets], np.int64)
    return [Out(0, [None] * len(values), values, sources=sources)]


def values_in(log: Log, topic: str) -> list[bytes | None]:
    with closing(log.admin()) as admin:
        stops = admin.ends(topic)
    return [value for batch in read_batches(log, topic, {0: 0}, stops) for value in batch.values]


def assert_at_end(log: Log, topic: str, position: SinkPosition) -> None:
    """No record stands behind it; the marker of a transaction may still be on its way."""
    with closing(log.admin()) as admin:
        assert position[0] in (admin.bounds(topic)[0].high - 1, admin.bounds(topic)[0].high)


def in_order(*offsets: int) -> list[bytes]:
    return [b"0:%d" % offset for offset in offsets]


@pytest.fixture(params=["read_back", "transactions"])
def transactions(request: pytest.FixtureRequest) -> bool:
    if request.param == "transactions":
        if "embedded" in request.node.name:
            pytest.skip("the embedded log has no transactions")
        return True
    return False


def test_what_a_crash_repeats_is_dropped(log: Log, topic_name: str, transactions: bool) -> None:
    create(log, topic_name, 1)
    first = lane(log, topic_name, None, transactions)
    first.write_batch(answers([0, 1]))
    snapshot = first.snapshot()
    first.write_batch(answers([2, 3]))
    first.snapshot()  # acknowledged, but the engine's own snapshot is never durable

    second = lane(log, topic_name, snapshot, transactions)
    second.write_batch(answers([2, 3, 4]))
    second.snapshot()

    assert values_in(log, topic_name) == in_order(0, 1, 2, 3, 4)
    second.close()


def test_answers_ahead_of_a_snapshot_are_found_after_a_second_crash(
    log: Log, topic_name: str, transactions: bool
) -> None:
    """Seen with 20 kills: the first life came further in its epoch than the second one did."""
    create(log, topic_name, 1)
    first = lane(log, topic_name, None, transactions)
    first.write_batch(answers([0, 1, 2, 3]))
    first.snapshot()
    second = lane(log, topic_name, None, transactions)
    second.write_batch(answers([0, 1]))
    snapshot = second.snapshot()

    third = lane(log, topic_name, snapshot, transactions)
    third.write_batch(answers([2, 3, 4]))
    end = third.snapshot()

    assert values_in(log, topic_name) == in_order(0, 1, 2, 3, 4)
    assert_at_end(log, topic_name, end)
    third.close()


def test_answers_that_do_not_come_again_are_not_waited_for(
    log: Log, topic_name: str, transactions: bool
) -> None:
    create(log, topic_name, 1)
    first = lane(log, topic_name, None, transactions)
    first.write_batch(answers([0, 1]))
    first.snapshot()

    second = lane(log, topic_name, None, transactions)
    second.write_batch(answers([0, 2]))  # 1 came out another way
    end = second.snapshot()

    assert_at_end(log, topic_name, end)
    second.close()


@pytest.mark.kafka
def test_stalled_worker_is_shut_out_and_what_it_had_open_is_never_seen(
    kafka_log: Log, topic_name: str
) -> None:
    create(kafka_log, topic_name, 1)
    stalled = lane(kafka_log, topic_name, None, transactions=True)
    stalled.write_batch(answers([0, 1]))

    successor = lane(kafka_log, topic_name, None, transactions=True)
    successor.write_batch(answers([0, 1]))
    successor.snapshot()

    with pytest.raises(WriteError, match=r"another instance .* has taken over"):
        stalled.snapshot()
    assert values_in(kafka_log, topic_name) == in_order(0, 1)
    stalled.close()
    successor.close()


def test_reading_back_does_not_wait_for_ever(log: Log, topic_name: str) -> None:
    create(log, topic_name, 1)
    write(log, topic_name, [Outgoing(None, b"0:0")])
    options = SinkOptions(
        topic_name,
        LANES,
        flush_timeout_s=1.0,
        sources_of=lambda: sources_of,
        start=lambda: OutputStart(1, {0: 0}),
    )
    with pytest.raises(UnreachableError, match="partition 0 from offset 0 to 0, got none for 1 s"):
        LogSink(Silent(log), options).open_lane("lane-000", None)
