"""The sink after a crash, driven by hand: what it drops, and what its snapshots must hold.

Values are `partition:offset` of the input that they answer.
"""

import time
from collections.abc import Sequence
from contextlib import closing

import numpy as np
import pytest

from streamrec.connectors.log import Log, Outgoing, RawBatch, UnreachableError, WriteError
from streamrec.connectors.out import Out, OutputId, Sources
from streamrec.connectors.reading import read_batches
from streamrec.connectors.sink import (
    LogSink,
    OutputStart,
    SinkLane,
    SinkOptions,
    SinkPosition,
    Transactions,
    Written,
)
from tests.connectors.log_reading import Silent, create, wait_until, write

LANES = 1


def ids_of(batch: RawBatch) -> list[OutputId]:
    found = []
    for value in batch.values:
        assert value is not None
        partition, offset, *more = value.split(b":")
        kind, number = (more[0].decode(), int(more[1])) if more else ("", 0)
        found.append(OutputId("in", int(partition), int(offset), kind, number))
    return found


def written(topic: str) -> Written:
    return Written(topic, lambda: ids_of, lambda: OutputStart(1, {0: 0}))


def lane(
    log: Log,
    topic: str,
    resume: SinkPosition | None,
    transactions: bool,
    late: bool = False,
    other: str | None = None,
) -> SinkLane:
    """Lane 0 as a start of the dataflow builds it."""
    options = SinkOptions(
        topic,
        LANES,
        written=written(topic),
        others=lambda: [] if other is None else [written(other)],
        late=late,
        transactions=Transactions(topic, 60.0) if transactions else None,
    )
    return LogSink(log, options).open_lane("lane-000", resume)


def answers(offsets: Sequence[int], partition: int = 0) -> list[Out]:
    values = [b"%d:%d" % (partition, offset) for offset in offsets]
    places = np.array([(partition, offset) for offset in offsets], np.int64)
    return [Out(0, [None] * len(values), values, sources=Sources(places, "in"))]


def outputs(*named: tuple[int, str, int]) -> list[Out]:
    """By offset of their input, kind and number."""
    values = [b"0:%d:%s:%d" % (offset, kind.encode(), number) for offset, kind, number in named]
    sources = Sources(
        np.array([(0, offset) for offset, _, _ in named], np.int64),
        "in",
        [kind for _, kind, _ in named],
        np.array([number for _, _, number in named], np.int64),
    )
    return [Out(0, [None] * len(values), values, sources=sources)]


def values_in(log: Log, topic: str) -> list[bytes | None]:
    with closing(log.admin()) as admin:
        stops = admin.ends(topic)
    return [value for batch in read_batches(log, topic, {0: 0}, stops) for value in batch.values]


def assert_at_end(log: Log, topic: str, position: SinkPosition) -> None:
    """No record stands behind it; the marker of a transaction may still be on its way."""
    with closing(log.admin()) as admin:
        assert position.ends[0] in (admin.bounds(topic)[0].high - 1, admin.bounds(topic)[0].high)


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
        written=written(topic_name),
    )
    with pytest.raises(UnreachableError, match="partition 0 from offset 0 to 0, got none for 1 s"):
        LogSink(Silent(log), options).open_lane("lane-000", None)


def test_outputs_that_come_late_and_several_to_one_input_are_written_once(
    log: Log, topic_name: str, transactions: bool
) -> None:
    """Killed between two outputs of one input, and again before what was there came once more: the
    older input's output comes after snapshots that had passed it."""
    create(log, topic_name, 1)
    first = lane(log, topic_name, None, transactions, late=True)
    first.write_batch(outputs((5, "hit", 0), (1, "closed", 0), (5, "hit", 1)))
    first.snapshot()
    second = lane(log, topic_name, None, transactions, late=True)
    second.write_batch(outputs((5, "hit", 0), (7, "hit", 0)))
    snapshot = second.snapshot()
    assert {(each.offset, each.number) for each in snapshot.awaited} == {(1, 0), (5, 1)}
    plain = SinkPosition.of_plain(snapshot.ends, snapshot.beside())
    assert plain == snapshot

    third = lane(log, topic_name, plain, transactions, late=True)
    third.write_batch(outputs((8, "hit", 0), (5, "hit", 1), (5, "hit", 2)))
    third.snapshot()
    third.write_batch(outputs((1, "closed", 0), (1, "correction", 0)))
    end = third.snapshot()

    assert not end.awaited
    assert values_in(log, topic_name) == [
        b"0:5:hit:0", b"0:1:closed:0", b"0:5:hit:1", b"0:7:hit:0", b"0:8:hit:0", b"0:5:hit:2",
        b"0:1:correction:0",
    ]  # fmt: skip
    third.close()


def test_an_input_has_one_fate_whatever_becomes_of_it_the_second_time(
    log: Log, topic_name: str, transactions: bool
) -> None:
    """Answered before the crash, refused after it, and the other way round."""
    errors_name = f"{topic_name}-errors"
    create(log, topic_name, 1)
    create(log, errors_name, 1)
    answered = lane(log, topic_name, None, transactions, other=errors_name)
    refused = lane(log, errors_name, None, transactions, other=topic_name)
    answered.write_batch(answers([0, 1]))
    refused.write_batch(answers([2]))
    saved = answered.snapshot(), refused.snapshot()
    answered.write_batch(answers([3]))
    refused.write_batch(answers([4]))
    answered.snapshot()
    refused.snapshot()

    answered = lane(log, topic_name, saved[0], transactions, other=errors_name)
    refused = lane(log, errors_name, saved[1], transactions, other=topic_name)
    answered.write_batch(answers([4, 5]))
    refused.write_batch(answers([3, 6]))
    answered.snapshot()
    refused.snapshot()

    assert values_in(log, topic_name) == in_order(0, 1, 3, 5)
    assert values_in(log, errors_name) == in_order(2, 4, 6)
    answered.close()
    refused.close()


@pytest.mark.kafka
def test_an_open_transaction_in_another_topic_holds_no_start_up(
    kafka_log: Log, topic_name: str
) -> None:
    """It is of a lane that was killed and is not opened yet, or of one that goes on and waits for
    this one: seen as starts that took the two minutes after which the broker takes it back."""
    other = f"{topic_name}-other"
    for topic in (topic_name, other):
        create(kafka_log, topic, 1)
    killed = lane(kafka_log, other, None, transactions=True)
    killed.write_batch(answers([0]))
    killed.snapshot()
    killed.write_batch(answers([1]))
    with closing(kafka_log.admin()) as admin:  # the marker of the first is at 1
        wait_until(lambda: admin.ends(other) == {0: 3})

    began_s = time.monotonic()
    opened = lane(kafka_log, topic_name, None, transactions=True, other=other)
    took_s = time.monotonic() - began_s
    opened.write_batch(answers([0, 1, 2]))
    opened.snapshot()

    assert values_in(kafka_log, topic_name) == in_order(1, 2)
    assert took_s < 20.0
    opened.close()
