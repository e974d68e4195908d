"""A table at ticks: what its topic holds up to the ends that a tick has for it, in every run."""

import gc
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from streamrec.connectors.embedded.compaction import compact
from streamrec.connectors.embedded.file import partition_ids
from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.connectors.log import Log, Outgoing, TopicSpec, UnreachableError
from streamrec.connectors.patience import Patience
from streamrec.connectors.ticks import timed_table
from streamrec.connectors.ticks.timed_table import TimedTable
from streamrec.schemas.json_codec import decode_json
from tests.connectors.tick_feeds import codec_of

LAG_MS = str(24 * 60 * 60 * 1000)


class Prices:
    """A topic of prices, and one of ticks that hold its ends."""

    def __init__(self, log: Log, topic: str) -> None:
        self.log = log
        self.topic = topic
        self.codec = codec_of(f"{topic}-ticks", ())
        self.count = 0
        with closing(log.admin()) as admin:
            configs = {"cleanup.policy": "compact", "min.compaction.lag.ms": LAG_MS}
            admin.create(TopicSpec(topic, 2, configs=configs))
            admin.create(TopicSpec(self.codec.topic, 1))

    def write(self, topic: str, *messages: Outgoing) -> None:
        with closing(self.log.writer()) as writer:
            writer.write(topic, messages)
            writer.flush(30.0)

    def set(self, partition: int = 0, log_ms: int | None = None, **prices: int | None) -> None:
        """None removes."""
        self.write(
            self.topic,
            *(
                Outgoing(
                    key.encode(),
                    None if price is None else json.dumps(price).encode(),
                    timestamp_ms=log_ms,
                    partition=partition,
                )
                for key, price in prices.items()
            ),
        )

    def tick(self, *, knows_it: bool = True) -> int:
        """Writes a tick; its number."""
        with closing(self.log.admin()) as admin:
            ends = {self.topic: admin.ends(self.topic)} if knows_it else {"clicks": {0: 5}}
        value = self.codec.value(self.count, ends)
        self.write(self.codec.topic, Outgoing(None, value, partition=0))
        self.count += 1
        return self.count - 1

    def open(self, log: Log | None = None) -> TimedTable:
        return TimedTable(log or self.log, self.topic, self.codec, decode_json).open()


class Step:
    """What goes by ticks."""

    def __init__(self, tick: int = -1) -> None:
        self.tick = tick


@pytest.fixture
def prices(log: Log, topic_name: str) -> Prices:
    return Prices(log, topic_name)


@pytest.fixture
def embedded_prices(embedded_log: Log, topic_name: str) -> Prices:
    return Prices(embedded_log, topic_name)


def await_true(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_each_tick_has_the_table_of_its_ends_now_and_when_read_again(prices: Prices) -> None:
    prices.set(a=1, b=1)
    first = prices.tick()
    prices.set(a=2)
    table = prices.open()
    second = prices.tick()
    prices.set(b=None, c=3)
    third = prices.tick()
    prices.set(a=9, b=9)  # behind the last tick

    for each in (table, prices.open()):
        seen = [[each.get(key, tick) for key in "abc"] for tick in (first, second, third)]
        assert seen == [[1, 1, None], [2, 1, None], [2, None, 3]]
        assert each.get("b", third, default=0) == 0
        assert [each.version(tick) for tick in (first, second, third)] == [[2, 0], [3, 0], [5, 0]]
        assert each.get(b"a", first) == 1


def test_a_tick_that_is_not_there_yet_is_waited_for(prices: Prices) -> None:
    table = prices.open()
    prices.set(a=1)
    prices.tick()
    assert table.get("a", 0) == 1
    prices.set(a=2)
    prices.tick()
    assert table.get("a", 1) == 2


def test_a_tick_of_another_dataflow_changes_nothing(prices: Prices) -> None:
    prices.tick(knows_it=False)  # nor is any known before it: the table of the next
    prices.set(a=1)
    prices.tick()
    prices.set(a=2)
    for _ in range(150):
        prices.tick(knows_it=False)
    prices.tick()
    for order in ((0, 1, 2, 151, 152), (152, 151, 2, 1, 0), (151, 0)):
        table = prices.open()
        expected = {0: 1, 1: 1, 2: 1, 151: 1, 152: 2}
        assert [table.get("a", tick) for tick in order] == [expected[tick] for tick in order]


def test_a_wait_ends_when_the_process_is_to_stop(
    embedded_prices: Prices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamrec.connectors.patience.STOPPING_S", 0.2)
    log = embedded_prices.log
    assert isinstance(log, EmbeddedLog)
    log.patience = Patience(None, lambda: True)
    table = embedded_prices.open()
    with pytest.raises(
        UnreachableError, match=r"asked to stop while topic .* up to tick 7, got no"
    ):
        table.get("a", 7)


def test_a_wait_says_what_it_waits_for(
    embedded_prices: Prices, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(timed_table, "TELL_EVERY_S", 0.1)
    log = embedded_prices.log
    assert isinstance(log, EmbeddedLog)
    log.patience = Patience(0.5)
    table = embedded_prices.open()
    ends = {embedded_prices.topic: {0: 4}}  # further than there is
    value = embedded_prices.codec.value(0, ends)
    embedded_prices.write(embedded_prices.codec.topic, Outgoing(None, value, partition=0))
    with pytest.raises(UnreachableError, match=r"gave up while .* partition 0 at offset 0 of 4"):
        table.get("a", 0)
    assert "up to tick 0, got partition 0 at offset 0 of 4; waiting" in caplog.text


def test_partitions_that_come_later_are_read_whole(prices: Prices) -> None:
    prices.set(a=1, log_ms=1_000)
    prices.tick()
    table = prices.open()
    assert table.get("a", 0) == 1
    with closing(prices.log.admin()) as admin:
        admin.add_partitions(prices.topic, 4)
    prices.set(partition=3, log_ms=2_000, a=5, z=1)
    prices.tick()
    prices.set(partition=3, log_ms=3_000, a=None)
    prices.tick()
    for each in (table, prices.open()):
        seen = [[each.get("a", tick), each.get("z", tick)] for tick in (0, 1, 2)]
        assert seen == [[1, None], [5, 1], [None, 1]]
        assert [each.version(tick) for tick in (0, 1)] == [[1, 0], [1, 0, 0, 2]]


def test_a_value_that_cannot_be_decoded_leaves_the_one_before(
    prices: Prices, caplog: pytest.LogCaptureFixture
) -> None:
    prices.set(a=1)
    prices.write(prices.topic, Outgoing(b"a", b"{nope", partition=0))
    prices.tick()
    prices.set(a=3)
    prices.tick()
    table = prices.open()
    assert [table.get("a", tick) for tick in (0, 1)] == [1, 3]
    assert "partition 0, offset 1: passed over: expected JSON, got '{nope'" in caplog.text


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed_table, "SETTLE_S", 0.0)
    monkeypatch.setattr(timed_table, "_LET_GO_EVERY_S", 0.0)


def held(table: TimedTable) -> dict[bytes, list[int]]:
    return {key: [v.offset for v in of] for key, of in table._held._of.items()}


@pytest.mark.usefixtures("at_once")
def test_versions_are_let_go_of_once_no_step_needs_them(embedded_prices: Prices) -> None:
    prices = embedded_prices
    for number in range(5):
        prices.set(a=number, gone=None if number else 0)
        prices.tick()
    table = prices.open()
    slow, fast = Step(), Step()
    views = table.at_tick_of(slow), table.at_tick_of(fast)
    slow.tick, fast.tick = 1, 4
    assert [view.get("a") for view in views] == [1, 4]
    await_true(lambda: held(table) == {b"a": [2, 4, 6, 8], b"gone": [3, 5, 7, 9]})
    assert [view.version() for view in views] == [[4, 0], [10, 0]]
    slow.tick = 4
    await_true(lambda: held(table) == {b"a": [8]})
    del slow, fast, views
    gc.collect()
    assert table.get("a", 4) == 4


@pytest.mark.usefixtures("at_once")
def test_a_shard_that_comes_later_still_finds_its_versions(embedded_prices: Prices) -> None:
    prices = embedded_prices
    for number in range(5):
        prices.set(a=number)
        prices.tick()
    table = prices.open()
    fast = Step(4)
    assert table.at_tick_of(fast).get("a") == 4
    await_true(lambda: held(table) == {b"a": [4]})
    late = Step(1)
    view = table.at_tick_of(late)
    assert view.get("a") == 1
    assert table.at_tick_of(fast).get("a") == 4


def test_a_step_is_asked_for_its_tick_at_once(embedded_prices: Prices) -> None:
    with pytest.raises(
        TypeError, match=r"at_tick_of expected a step that goes by ticks, .* object"
    ):
        embedded_prices.open().at_tick_of(object())  # type: ignore[arg-type]


def compacted(prices: Prices) -> None:
    """As a broker does once all is older than min.compaction.lag.ms."""
    assert isinstance(prices.log, EmbeddedLog)
    with closing(prices.log._file.connect()) as db:
        ids, admin = partition_ids(db, prices.topic, prices.topic), prices.log.admin()
        for partition, end in admin.ends(prices.topic).items():
            compact(db, ids[partition], end)
        admin.close()


def test_a_version_that_compaction_removed_is_seen_to_be_missing(
    embedded_prices: Prices, caplog: pytest.LogCaptureFixture
) -> None:
    prices = embedded_prices
    prices.set(a=1, b=1)
    prices.tick()
    prices.set(a=2)
    prices.tick()
    prices.set(partition=1, new=1)
    prices.tick()
    table = prices.open()
    assert table.get("new", 0) is None
    assert not table.may_miss("new", 0)
    assert "may miss" not in caplog.text
    compacted(prices)
    table = prices.open()
    assert [table.get(key, 0) for key in ("a", "b", "new")] == [None, 1, None]
    assert [table.may_miss(key, 0) for key in ("a", "b", "new")] == [True, False, False]
    assert not table.may_miss("a", 2)
    assert not table.may_miss("nobody", 2)
    assert "at tick 0 key 'a' expected a version, or none yet; compaction may have" in caplog.text


def test_a_topic_that_is_compacted_at_once_is_told(
    embedded_log: Log, topic_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    prices = Prices(embedded_log, topic_name)
    prices.open()
    assert "min.compaction.lag.ms" not in caplog.text
    with closing(embedded_log.admin()) as admin:
        admin.create(TopicSpec(f"{topic_name}-b", 1, configs={"cleanup.policy": "compact"}))
    TimedTable(embedded_log, f"{topic_name}-b", prices.codec, decode_json).open()
    assert f"topic {topic_name}-b: min.compaction.lag.ms expected to be longer" in caplog.text


def test_its_thread_ends_with_it(embedded_prices: Prices) -> None:
    import threading

    def threads() -> Iterator[threading.Thread]:
        return (t for t in threading.enumerate() if t.name == f"table {embedded_prices.topic}")

    table = embedded_prices.open()
    assert len(list(threads())) == 1
    del table
    await_true(lambda: not list(threads()))
