"""Ticks: they cut inputs at the same places however these are read, and nothing that stands in
their topic, or is gone from it, stops a lane or makes it wait for ever."""

import random
import threading
import time
from contextlib import closing
from itertools import pairwise
from typing import Any

import pytest

from streamrec.connectors.log import Log, OffsetOutOfRangeError, Outgoing
from streamrec.connectors.source import SourceLane
from streamrec.connectors.starts import Positions
from streamrec.connectors.ticks import writer as writing
from streamrec.connectors.ticks.tick import Tick, first_tick, last_tick
from streamrec.connectors.ticks.writer import TickOptions, TickWriter
from tests.connectors.log_reading import create, wait_until, write
from tests.connectors.tick_feeds import (
    Cuts,
    codec_of,
    drive,
    ends_of,
    lanes_of,
    places_in,
    plain_cuts,
    ticked,
    ticks_in,
    write_tick,
)


def fill(log: Log, topic: str, counts: list[int], ms: int | None = None) -> None:
    """So many records of each partition."""
    messages = [
        Outgoing(None, b"x", timestamp_ms=ms, partition=p)
        for p, count in enumerate(counts)
        for _ in range(count)
    ]
    write(log, topic, messages)


@pytest.mark.parametrize(("partitions", "lanes"), [(5, 2), (2, 5), (3, 3)])
def test_ticks_cut_at_the_same_places_however_lanes_are_read_and_resumed(
    log: Log, topic_name: str, partitions: int, lanes: int
) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)  # noqa: T201  # it reproduces a failure
    chance = random.Random(seed)
    codec = codec_of(f"{topic_name}-ticks", [topic_name])
    create(log, topic_name, partitions)
    create(log, codec.topic)
    ends = dict.fromkeys(range(partitions), 0)
    for number in range(30):
        fill(log, topic_name, [chance.choice((0, 0, 3, 40)) for _ in range(partitions)])
        now = ends_of(log, topic_name)
        ends = {p: chance.randint(ends[p], now[p]) for p in ends}
        told = dict(ends)
        if number % 7 == 3:  # a second writer, which is behind
            told = {p: max(0, end - 5) for p, end in ends.items() if p}
        write_tick(log, codec, number, {topic_name: told})
    ticks = ticks_in(log, codec)
    expected = plain_cuts(ticks, topic_name, places_in(log, topic_name), lanes)
    assert any(cut for of_lane in expected for _, cut in of_lane)

    cuts = Cuts(lanes)
    resume: dict[int, Any] = {}
    for stop in (7, 15, 16, 29):
        options = ticked(log, topic_name, codec, lanes, batch_messages=chance.choice((1, 7, 1_000)))
        with lanes_of(log, options, resume) as opened:
            drive(cuts, opened, stop, chance)
            # Some come further than others before they stop.
            for _ in range(chance.randrange(20)):
                number = chance.randrange(lanes)
                cuts.take(number, opened[number])
            resume = {n: (lane.snapshot(), lane.tick) for n, lane in enumerate(opened)}
    assert cuts.of_lane == expected


def test_what_is_no_tick_or_cuts_other_inputs_is_passed_over(log: Log, topic_name: str) -> None:
    codec = codec_of(f"{topic_name}-ticks", [topic_name])
    create(log, topic_name, 2)
    create(log, codec.topic)
    fill(log, topic_name, [4, 4])
    garbage = [
        None,
        b"",
        b"\0\0\0\0\x63hello",
        b'{"time": 1}',
        b'{"time": "x", "topics": [], "partitions": [], "ends": []}',
        b'{"time": 1, "ends": [1]}',
        b'{"time": 1, "topics": ["%s"], "partitions": [2], "ends": [1]}' % topic_name.encode(),
        b'{"time": 1, "topics": ["%s"], "partitions": [1], "ends": ["a"]}' % topic_name.encode(),
        b"[]",
        codec.value(9, {"another": {0: 1}}),
        codec.value(9, {}),
    ]

    def litter() -> None:
        write(log, codec.topic, [Outgoing(b"k", each, partition=0) for each in garbage])

    litter()
    write_tick(log, codec, 5, {topic_name: {0: 1, 1: 2}})
    litter()
    write_tick(log, codec, 6, {topic_name: {0: 4, 1: 4}, "another": {0: 1}})
    for _ in range(15):  # more than is looked back upon at first
        litter()
    numbers = [tick.number for tick in ticks_in(log, codec)]
    first, second = len(garbage), 2 * len(garbage) + 1
    assert numbers == [first, second]

    with lanes_of(log, ticked(log, topic_name, codec, 1)) as lanes:
        cuts = Cuts(1)
        drive(cuts, lanes, second)
    assert cuts.of_lane == [
        [(first, [(0, 0), (1, 0), (1, 1)]), (second, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)])]
    ]
    newest = last_tick(log, codec)
    assert newest is not None
    assert (newest.number, newest.time_ms) == (second, 6)
    assert first_tick(log, codec, {topic_name: {0: 0, 1: 0}}) in range(first + 1)
    assert first_tick(log, codec, {topic_name: {0: 1, 1: 2}}) in range(first + 1, second + 1)
    end = 17 * len(garbage) + 2
    assert first_tick(log, codec, {topic_name: {0: 4, 1: 4}}) in range(second + 1, end + 1)


def test_the_first_tick_is_the_one_that_comes_after_what_is_read(log: Log, topic_name: str) -> None:
    codec = codec_of(topic_name, ["a", "b"])
    create(log, topic_name)
    assert last_tick(log, codec) is None
    assert first_tick(log, codec, {"a": {0: 0}}) == 0
    steps = [(0, 0), (0, 3), (2, 3), (2, 3), (5, 9), (7, 9), (7, 9)]
    for number, (a, b) in enumerate(steps):
        write_tick(log, codec, number, {"a": {0: a}, "b": {0: b}})
    for a in range(9):
        for b in (0, 3, 8, 9):
            after = [n for n, (x, y) in enumerate(steps) if x > a or y > b]
            found = first_tick(log, codec, {"a": {0: a}, "b": {0: b}})
            assert found == (after or [len(steps)])[0], (a, b)


@pytest.mark.kafka
def test_a_tick_may_end_where_no_record_stands(kafka_log: Log, topic_name: str) -> None:
    """Markers of transactions, committed and not."""
    codec = codec_of(f"{topic_name}-ticks", [topic_name])
    create(kafka_log, topic_name)
    create(kafka_log, codec.topic)
    with lanes_of(kafka_log, ticked(kafka_log, topic_name, codec, 1)) as lanes:
        cuts = Cuts(1)
        for number in range(3):
            with closing(kafka_log.transactional_writer(topic_name, 30.0)) as writer:
                writer.write_columns(topic_name, 0, [None] * 2, [b"x"] * 2)
                writer.commit(20.0)
            ends = ends_of(kafka_log, topic_name)
            assert ends[0] > places_in(kafka_log, topic_name)[-1][1] + 1
            write_tick(kafka_log, codec, number, {topic_name: ends})
            drive(cuts, lanes, number)
    assert [len(cut) for _, cut in cuts.of_lane[0]] == [2, 2, 2]


def test_a_tick_may_end_where_compaction_left_a_gap(embedded_log: Log) -> None:
    codec = codec_of("ticks", ["in"])
    create(embedded_log, "in", cleanup_policy="compact")
    create(embedded_log, "ticks")
    messages = [Outgoing(b"%d" % (n % 97), b"v", partition=0) for n in range(30_000)]
    for start in range(0, 30_000, 500):
        write(embedded_log, "in", messages[start : start + 500])
    ends = [5_000, 10_000, 29_000, 30_000]
    for number, end in enumerate(ends):
        write_tick(embedded_log, codec, number, {"in": {0: end}})
    places = places_in(embedded_log, "in")
    assert len(places) < 20_000
    with lanes_of(embedded_log, ticked(embedded_log, "in", codec, 1)) as lanes:
        cuts = Cuts(1)
        drive(cuts, lanes, 3)
    assert cuts.of_lane == plain_cuts(ticks_in(embedded_log, codec), "in", places, 1)


def test_partitions_that_come_between_ticks_are_read_before_the_next(
    log: Log, topic_name: str
) -> None:
    codec = codec_of(f"{topic_name}-ticks", [topic_name])
    create(log, topic_name, 1)
    create(log, codec.topic)
    options = ticked(log, topic_name, codec, 2, discover_s=3_600.0)
    with lanes_of(log, options) as lanes:
        cuts = Cuts(2)
        fill(log, topic_name, [2])
        write_tick(log, codec, 0, {topic_name: {0: 2}})
        drive(cuts, lanes, 0)
        with closing(log.admin()) as admin:
            admin.add_partitions(topic_name, 4)
        fill(log, topic_name, [1, 1, 3, 0])
        write_tick(log, codec, 1, {topic_name: {0: 3, 1: 1, 2: 2, 3: 0}})
        write_tick(log, codec, 2, {topic_name: {0: 3, 1: 1, 2: 3, 3: 0}})
        drive(cuts, lanes, 2)
        states = {n: (lane.snapshot(), lane.tick) for n, lane in enumerate(lanes)}
    assert cuts.of_lane == [
        [(0, [(0, 0), (0, 1)]), (1, [(0, 2), (2, 0), (2, 1)]), (2, [(2, 2)])],
        [(0, []), (1, [(1, 0)]), (2, [])],
    ]
    fill(log, topic_name, [0, 0, 1, 1])
    write_tick(log, codec, 3, {topic_name: {0: 3, 1: 1, 2: 4, 3: 1}})
    with lanes_of(log, options, states) as lanes:
        drive(cuts, lanes, 3)
    assert [of_lane[-1] for of_lane in cuts.of_lane] == [(3, [(2, 3)]), (3, [(3, 0)])]


def test_ticks_that_retention_removed_leave_their_records_to_the_next(
    embedded_log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    codec = codec_of("ticks", ["in"])
    create(embedded_log, "in")
    create(embedded_log, "ticks", retention_bytes="300")
    fill(embedded_log, "in", [20])
    for number in range(20):
        write_tick(embedded_log, codec, number, {"in": {0: number + 1}})
    with closing(embedded_log.admin()) as admin:
        low = admin.bounds("ticks")[0].low
    assert 5 < low < 20
    resumes: list[tuple[dict[int, Any], int]] = [({}, 0), ({0: ({0: 4}, 3)}, 4)]
    for resume, begins in resumes:
        caplog.clear()
        with lanes_of(embedded_log, ticked(embedded_log, "in", codec, 1), resume) as lanes:
            cuts = Cuts(1)
            drive(cuts, lanes, 19)
        assert cuts.of_lane[0][0] == (low, [(0, n) for n in range(begins, low + 1)])
        assert [number for number, _ in cuts.of_lane[0]] == list(range(low, 20))
        assert f"ticks {begins} to {low - 1} are gone" in caplog.text


def test_an_input_that_was_deleted_and_made_anew_is_told(log: Log, topic_name: str) -> None:
    codec = codec_of(f"{topic_name}-ticks", [topic_name])
    create(log, topic_name)
    create(log, codec.topic)
    fill(log, topic_name, [3])
    write_tick(log, codec, 0, {topic_name: {0: 9}})
    with (
        lanes_of(log, ticked(log, topic_name, codec, 1)) as lanes,
        pytest.raises(
            OffsetOutOfRangeError, match="partition 0: expected offsets up to 9, as tick"
        ),
    ):
        lanes[0].next_batch()
        lanes[0].next_batch()


def test_of_many_ticks_few_are_held_at_a_time(embedded_log: Log) -> None:
    codec = codec_of("ticks", ["in"])
    create(embedded_log, "in")
    create(embedded_log, "ticks")
    values = [codec.value(number, {"in": {0: 0}}) for number in range(12_000)]
    write(embedded_log, "ticks", [Outgoing(None, value, partition=0) for value in values])
    held = 0
    with lanes_of(embedded_log, ticked(embedded_log, "in", codec, 2)) as lanes:
        cuts = Cuts(2)
        gate = lanes[0]._shared.gate
        assert gate is not None
        give_up = time.monotonic() + 20.0
        while not cuts.have_come_to(11_999):
            assert time.monotonic() < give_up
            for number, lane in enumerate(lanes):
                cuts.take(number, lane)
            held = max(held, len(gate._ticks))
    assert held <= 2_000
    assert [number for number, _ in cuts.of_lane[1]] == list(range(12_000))


def ended(cuts: Cuts, lanes: list[SourceLane]) -> bool:
    """Whether all lanes of a finite run have come to their end; polls each once."""
    for number, lane in enumerate(lanes):
        if not lane.ended:
            try:
                cuts.take(number, lane)
            except StopIteration:
                assert lane.ended
    return all(lane.ended for lane in lanes)


def test_a_finite_run_ends_with_the_newest_tick_and_else_the_first_that_covers_it(
    log: Log, topic_name: str
) -> None:
    codec = codec_of(f"{topic_name}-ticks", [topic_name])
    create(log, topic_name, 3)
    create(log, codec.topic)
    fill(log, topic_name, [2, 0, 1])
    for number, ends in enumerate(([1, 0, 0], [2, 0, 0], [2, 0, 1], [2, 0, 1])):
        write_tick(log, codec, number, {topic_name: dict(enumerate(ends))})
    until = {topic_name: {0: 2, 1: 0, 2: 1}}
    options = ticked(log, topic_name, codec, 3, until=lambda: until)
    states: dict[int, tuple[Positions, int | None]]
    with lanes_of(log, options) as lanes:
        cuts = Cuts(3)
        wait_until(lambda: ended(cuts, lanes))
        states = {n: (lane.snapshot(), lane.tick) for n, lane in enumerate(lanes)}
    # The third covers it, and what passed until the fourth is told by that one alone.
    assert [[number for number, _ in cut] for cut in cuts.of_lane] == [[0, 1, 2, 3]] * 3
    with lanes_of(log, options, states) as lanes:
        again = Cuts(3)
        wait_until(lambda: ended(again, lanes))
    assert [[number for number, _ in cut] for cut in again.of_lane] == [[]] * 3
    fill(log, topic_name, [0, 1, 0])
    until[topic_name] = {0: 2, 1: 1, 2: 1}
    with lanes_of(log, options, states) as lanes:
        later = Cuts(3)
        assert not ended(later, lanes)
        write_tick(log, codec, 4, {topic_name: {0: 2, 1: 1, 2: 1}})
        wait_until(lambda: ended(later, lanes))
    assert [[number for number, _ in cut] for cut in later.of_lane] == [[4]] * 3


class Writing:
    """A writer of ticks, in its thread until the end of the block."""

    def __init__(self, log: Log, codec: Any, **given: Any) -> None:
        self._stop = threading.Event()
        self._log, self._codec = log, codec
        defaults: dict[str, Any] = {"every_s": 0.01, "records_max": 1_000}
        self._options = TickOptions(**(defaults | given), stopping=self._stop.is_set)

    def __enter__(self) -> None:
        before = {thread.ident for thread in threading.enumerate()}
        TickWriter(self._log, self._codec, self._options).start()
        self._threads = [t for t in threading.enumerate() if t.ident not in before]

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.name == "ticks":
                thread.join(20.0)
                assert not thread.is_alive()


def covered(log: Log, codec: Any, topics: list[str]) -> bool:
    newest = last_tick(log, codec)
    return newest is not None and newest.covers({name: ends_of(log, name) for name in topics})


def grow(ticks: list[Tick]) -> list[int]:
    """How many records lie between each tick and the one before. Neither time nor ends go back."""
    counts = []
    before = Tick(-1, 0, {})
    for tick in ticks:
        assert tick.time_ms >= before.time_ms
        count = 0
        for topic, ends in tick.ends.items():
            old = before.ends.get(topic, {})
            assert all(end >= old.get(p, 0) for p, end in ends.items())
            count += sum(end - old.get(p, 0) for p, end in ends.items())
        counts.append(count)
        before = tick
    return counts


def test_a_backlog_is_cut_by_the_time_of_the_log_and_by_count(log: Log, topic_name: str) -> None:
    names = [f"{topic_name}-a", f"{topic_name}-b"]
    codec = codec_of(f"{topic_name}-ticks", names)
    create(log, codec.topic)
    now_ms = int(time.time() * 1_000)
    for number, name in enumerate(names):
        create(log, name, 2)
        for step in range(100):  # 100 minutes, one topic with four times as many as the other
            count = 40 if number else 10
            fill(log, name, [count, count], now_ms - 6_000_000 + 60_000 * step)
    with Writing(log, codec, topics=names):
        wait_until(lambda: covered(log, codec, names))
    ticks = ticks_in(log, codec)
    counts = grow(ticks)
    assert sum(counts) == 10_000
    assert max(counts) <= 1_000
    for tick in ticks:  # abreast: as many minutes of one topic as of the other
        minutes = [
            tick.ends[names[0]].get(p, 0) / 10 - tick.ends[names[1]].get(p, 0) / 40 for p in (0, 1)
        ]
        assert max(map(abs, minutes)) <= 1


def test_a_record_of_a_time_to_come_holds_up_no_other(log: Log, topic_name: str) -> None:
    """Of its partition, while another goes on by time."""
    codec = codec_of(f"{topic_name}-ticks", [topic_name])
    # Brokers from 4.0 on take it only if told to.
    create(log, topic_name, 2, message_timestamp_after_max_ms=str(2**63 - 1))
    create(log, codec.topic)
    now_ms = int(time.time() * 1_000)
    ahead = [Outgoing(None, b"x", timestamp_ms=now_ms + 86_400_000, partition=0)]
    write(log, topic_name, ahead)
    fill(log, topic_name, [3_000, 0], now_ms - 1_000)
    writer = TickWriter(log, codec, TickOptions([topic_name], 1.0, 1_000))
    tick = Tick(-1, now_ms - 500, {topic_name: {0: 0, 1: 0}})
    with closing(log.admin()) as admin:
        for number in range(1, 6):
            fill(log, topic_name, [0, 20], now_ms - 500)
            tick, _ = writer._next(admin, tick)
            assert tick.ends[topic_name] == {0: 500 * number, 1: 20 * number}


@pytest.mark.parametrize("jump_s", [-86_400.0, 86_400.0 * 365])
def test_a_wall_clock_that_is_set_neither_stops_time_nor_lets_it_leap(
    embedded_log: Log, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    codec = codec_of("ticks", ["in"])
    create(embedded_log, "in")
    create(embedded_log, "ticks")
    real, jump = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + jump[0])
    with Writing(embedded_log, codec, topics=["in"]):
        wait_until(lambda: len(ticks_in(embedded_log, codec)) >= 5)
        jump[0] = jump_s
        until = len(ticks_in(embedded_log, codec)) + 10
        wait_until(lambda: len(ticks_in(embedded_log, codec)) >= until)
    times_ms = [tick.time_ms for tick in ticks_in(embedded_log, codec)]
    steps = [after - before for before, after in pairwise(times_ms)]
    assert min(steps) > 0
    assert max(steps) < 10_000


def test_a_clock_that_was_ahead_at_the_last_start_stops_no_time(embedded_log: Log) -> None:
    codec = codec_of("ticks", ["in"])
    create(embedded_log, "in")
    create(embedded_log, "ticks")
    ahead_ms = int(time.time() * 1_000) + 86_400_000
    write_tick(embedded_log, codec, ahead_ms, {"in": {0: 0}})
    with Writing(embedded_log, codec, topics=["in"]):
        wait_until(lambda: len(ticks_in(embedded_log, codec)) >= 10)
    times_ms = [tick.time_ms for tick in ticks_in(embedded_log, codec)]
    assert times_ms == sorted(times_ms)
    assert ahead_ms < times_ms[-1] < ahead_ms + 60_000


def test_a_writer_waits_for_what_is_away_and_goes_on(
    embedded_log: Log, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writing, "_RETRY_S", 0.05)
    codec = codec_of("ticks", ["in"])
    create(embedded_log, "ticks")
    with Writing(embedded_log, codec, topics=["in"]):
        wait_until(lambda: "ticks wait:" in caplog.text)
        create(embedded_log, "in")
        fill(embedded_log, "in", [7])
        wait_until(lambda: covered(embedded_log, codec, ["in"]))


def test_what_a_writer_did_not_foresee_does_not_end_it(
    embedded_log: Log, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writing, "_RETRY_S", 0.05)
    codec = codec_of("ticks", ["in"])
    create(embedded_log, "ticks")
    create(embedded_log, "in")
    fails = iter([True])

    def encode(tick: dict[str, Any]) -> bytes:
        if next(fails, False):
            raise ZeroDivisionError("once")
        return codec.encode(tick)

    with Writing(embedded_log, codec._replace(encode=encode), topics=["in"]):
        wait_until(lambda: covered(embedded_log, codec, ["in"]))
    assert "ticks wait: ZeroDivisionError('once')" in caplog.text


def test_several_writers_at_once_let_lanes_hand_over_each_record_once(
    embedded_log: Log,
) -> None:
    codec = codec_of("ticks", ["in"])
    create(embedded_log, "ticks")
    create(embedded_log, "in", 3)
    with (
        Writing(embedded_log, codec, topics=["in"]),
        Writing(embedded_log, codec, topics=["in"], every_s=0.003),
        lanes_of(embedded_log, ticked(embedded_log, "in", codec, 2)) as lanes,
    ):
        cuts = Cuts(2)
        for _ in range(20):
            fill(embedded_log, "in", [5, 0, 9])
            for number, lane in enumerate(lanes):
                cuts.take(number, lane)
        wait_until(lambda: covered(embedded_log, codec, ["in"]))
        drive(cuts, lanes, ticks_in(embedded_log, codec)[-1].number)
    ticks = ticks_in(embedded_log, codec)
    expected = plain_cuts(ticks, "in", places_in(embedded_log, "in"), 2)
    for found, plain in zip(cuts.of_lane, expected, strict=True):
        assert found == plain[: len(found)]
    assert sum(len(cut) for of_lane in cuts.of_lane for _, cut in of_lane) == 280


def test_a_finite_run_over_nothing_ends(embedded_log: Log) -> None:
    """No tick was there, nor anything that one would cut."""
    codec = codec_of("ticks", ["in"])
    create(embedded_log, "ticks")
    create(embedded_log, "in", 2)
    until = {"in": {0: 0, 1: 0}}
    with (
        Writing(embedded_log, codec, topics=["in"], until=lambda: until),
        lanes_of(embedded_log, ticked(embedded_log, "in", codec, 2, until=lambda: until)) as lanes,
    ):
        cuts = Cuts(2)
        wait_until(lambda: ended(cuts, lanes))


def test_each_process_of_a_finite_run_gets_a_tick_that_covers_what_it_saw(
    embedded_log: Log,
) -> None:
    codec = codec_of("ticks", ["in"])
    create(embedded_log, "ticks")
    create(embedded_log, "in")
    fill(embedded_log, "in", [3])
    early, late = {"in": {0: 3}}, {"in": {0: 5}}
    with Writing(embedded_log, codec, topics=["in"], until=lambda: early):
        wait_until(lambda: covered(embedded_log, codec, ["in"]))
        fill(embedded_log, "in", [2])  # and then another process begins
        options = ticked(embedded_log, "in", codec, 1, until=lambda: late)
        with lanes_of(embedded_log, options) as lanes:
            cuts = Cuts(1)
            wait_until(lambda: ended(cuts, lanes))
    assert sum(len(cut) for _, cut in cuts.of_lane[0]) == 5
