"""`InEventTime` by hand: the order of calls, timers, what is refused, and what a restart keeps."""

import heapq
import random
from typing import Any

import pytest

from streamrec.schemas.reasons import Reason
from tests.dataflows.steps.timed_steps import (
    LATE_MS,
    RAW,
    START_MS,
    A,
    B,
    C,
    Feed,
    Script,
    at,
    found,
)

FAR_MS = 10 * 365 * 86_400_000


def of(feed: Feed, *keys: str) -> list[tuple[Any, ...]]:
    """Calls for keys: what, after the start, topic and offset, and what more."""
    return [
        (c[0], c[2] - START_MS, c[1], c[5], c[6]) for c in feed.step.called if c[3] in keys
    ]  # fmt: skip


def test_records_of_a_time_come_by_topic_partition_and_offset_and_before_timers() -> None:
    feed = Feed()
    feed.send(B, at("u", 500), at("u", 0), partition=1)
    feed.send(B, at("u", 500), partition=0)
    feed.send(A, at("u", 500), at("u", 100, call=[[400, "x"], [0, "now"], [-50, "past"]]))
    feed.tick(0)
    found(feed, ms=5_000)
    feed.tick(1)
    said = [(what, c[2] - START_MS, c[1], c[4], c[5]) for what, c in
            ((c[0], c) for c in feed.step.called if c[3] == "u")]  # fmt: skip
    assert said == [
        ("record", 0, "tb", 1, 1),
        ("record", 100, "ta", 0, 1),
        ("timer", 100, "ta", 0, 1),
        ("timer", 100, "ta", 0, 1),
        ("record", 500, "ta", 0, 0),
        ("record", 500, "tb", 0, 0),
        ("record", 500, "tb", 1, 0),
        ("timer", 500, "ta", 0, 1),
    ]
    assert [c[6][0] for c in feed.step.called if c[0] == "timer"] == ["now", "past", "x"]


@pytest.mark.parametrize("restarts", [False, True])
def test_a_timer_is_cancelled_while_it_is_held_while_it_is_due_and_while_it_is_new(
    restarts: bool,
) -> None:
    feed = Feed()
    feed.send(A, at("u", 0, call=[[90_000, "held"], [3_000, "due"], [3_000, "kept"]]))
    feed.send(A, at("v", 0, call=[[3_000, "due"]]))
    found(feed, ms=2_000)
    feed.tick(0)
    feed.tick(500)
    assert ("record", 0, "ta", 0, 1) in of(feed, "u")
    if restarts:
        feed.restart()
    # In the same run as the timers at 3,000, before them.
    feed.send(B, at("u", 2_500, call=[[400, "new"]], cancel=["due", "held"]))
    feed.send(B, at("u", 2_700, cancel=["new"], ask=True))
    found(feed, B, 100_000)
    feed.tick(501)
    if restarts:
        feed.restart()
    feed.tick(200_000)
    timers = [c for c in feed.step.called if c[0] == "timer"]
    assert [(c[3], c[6][0]) for c in timers] == [("u", "kept"), ("v", "due")]
    asked = [c[6] for c in feed.step.called if c[0] == "asked"]
    assert asked == [[(START_MS + 3_000, "kept", 0)]]
    assert len(feed.step.rows) == 0
    assert feed.step._held_bytes == 0


def test_timers_of_a_key_tells_those_held_and_new_in_order_of_time() -> None:
    feed = Feed()
    feed.send(A, at("u", 0, call=[[50_000, "b"], [9_000, "a"]]), at("u", 10, call=[[9_990, "c"]]))
    feed.send(A, at("other", 10, call=[[5_000, "z"]]))
    found(feed, ms=2_000)
    feed.tick(0)
    feed.send(A, at("u", 1_500, call=[[20_000, "d"]], ask=True))
    feed.tick(1)
    feed.tick(3_000)
    [asked] = [c[6] for c in feed.step.called if c[0] == "asked"]
    assert [(ms - START_MS, name) for ms, name, _ in asked] == [
        (9_000, "a"),
        (10_000, "c"),
        (21_500, "d"),
        (50_000, "b"),
    ]


def test_a_record_that_comes_later_than_the_delay_is_refused_with_its_original() -> None:
    feed = Feed()
    found(feed, ms=5_000)
    feed.tick(0)
    headers: list[tuple[str, bytes | None]] = [("n", None), ("n", b""), ("", b"\xff"), ("n", b"x")]
    late, just = at("u", 5_000 - LATE_MS - 1), at("u", 5_000 - LATE_MS)
    feed.send(A, late, just, key=None, headers=headers, log_ms=-1)
    feed.tick(0)
    [failed] = feed.failed
    assert (failed.reason, failed.offset, failed.key) == (Reason.TOO_LATE.value, 11, None)
    assert (failed.headers, failed.timestamp_ms) == (headers, -1)
    assert f"got {START_MS + 3_999} (topic 'ta', partition 0, offset 11)" in failed.message
    feed.tick(1)
    assert feed.places() == [("ta", 0, 12)]


def test_the_first_key_of_a_shard_with_a_wrong_clock_costs_no_other_its_records() -> None:
    feed = Feed()
    feed.send(A, at("wrong", FAR_MS))
    feed.tick(0)
    found(feed)
    feed.tick(1)
    found(feed, ms=5_000)
    feed.tick(2)
    assert [(f.reason, f.offset) for f in feed.failed] == [(Reason.INVALID_VALUE.value, 0)]
    assert len(feed.places("record")) == 11


@pytest.mark.parametrize("mends", [False, True])
@pytest.mark.parametrize("restarts", [False, True])
def test_what_a_wrong_clock_sent_is_not_held_for_ever(mends: bool, restarts: bool) -> None:
    feed = Feed()
    found(feed)
    feed.tick(0)
    for number in range(5):
        feed.send(B, at("wrong", FAR_MS + 1_000 * number))
        feed.tick(number)
    if restarts:
        feed.restart()
    if mends:  # it refutes itself
        feed.send(A, at("wrong", 100))
    else:
        found(feed, ms=100)
    feed.tick(5)
    assert [(f.reason, f.topic, f.offset) for f in feed.failed] == [
        (Reason.INVALID_VALUE.value, "tb", number) for number in range(5)
    ]
    assert "far ahead of them" in feed.failed[0].message
    feed.tick(100_000)
    assert (len(feed.step.rows), feed.step._held_bytes) == (0, 0)


def test_no_timer_is_overtaken_by_a_record_of_an_earlier_time() -> None:
    """A record that is a little newer does not take back what time had passed without any."""
    feed = Feed()
    feed.send(A, at("u", 0, call=[[4_000, "x"]]))
    found(feed)
    feed.tick(0)
    feed.tick(6_000)  # the timer is called
    feed.send(A, at("u", 100))
    feed.tick(6_001)
    feed.send(A, at("u", 50), at("u", 5_500))
    feed.tick(6_002)
    feed.tick(20_000)
    times = [c[2] for c in feed.step.called]
    assert times == sorted(times)
    assert [f.offset for f in feed.failed if f.topic == "ta"] == [12, 13]


def test_a_shard_that_sees_no_record_takes_ticks_and_restarts() -> None:
    feed = Feed()
    for number in range(3):
        feed.tick(number * 10_000)
        feed.restart()
    found(feed)
    feed.tick(40_000)
    feed.tick(42_000)
    assert (len(feed.places()), feed.failed) == (11, [])


def test_a_tick_counts_when_all_lanes_have_come_to_it_and_takes_what_was_before_it() -> None:
    feed = Feed()
    found(feed, ms=9_000)
    lanes = [(topic, lane) for topic in (A, B) for lane in (0, 1)]
    feed.tick(0, lanes[:3])
    feed.send(A, at("u", 9_001), partition=0)  # behind the tick in its lane
    feed.send(B, at("u", 8_000), partition=1)  # before it
    feed.restart()
    assert feed.step.tick == -1
    feed.tick_number -= 1
    feed.tick(0, lanes[3:])
    assert feed.step.tick == 1
    feed.tick(LATE_MS + 2)
    assert of(feed, "u") == [("record", 8_000, "tb", 0, 1)]
    feed.tick(3 * LATE_MS)
    assert of(feed, "u")[1:] == [("record", 9_001, "ta", 11, 2)]


def test_ticks_that_lanes_skipped_or_took_apart_make_no_difference() -> None:
    """A lane that resumed behind the others comes to ticks that they have behind them."""
    feed = Feed()
    feed.tick(0)
    ahead = [(A, 0), (A, 1), (B, 0)]
    for _ in range(3):
        feed.tick(1, ahead)
    found(feed, ms=1)
    feed.restart()
    for number in (2, 3, 4):
        feed.tick_number = number - 1
        feed.tick(1, [(B, 1)])
        assert feed.step.taken_in == list(range(2, number + 1))


def test_topics_read_in_another_order_after_a_restart_are_the_same_topics() -> None:
    feed = Feed(topics=(A, B))
    records = [at("u", 500, call=[[2_000, "x"]]), at("u", 500)]
    feed.send(A, *records)
    feed.send(B, *records)
    found(feed, ms=0)
    feed.tick(0)
    feed.restart(topics=(B, A))
    feed.send(A, *records)
    feed.send(B, *records)
    feed.tick(1)
    feed.restart(topics=(B, A))  # what was written of it alone
    feed.restart(topics=(A, B))
    feed.restart(topics=(B, A))
    feed.tick(50_000)
    assert feed.failed == []
    mine = [c for c in feed.step.called if c[3] == "u"]
    assert [(c[1], c[5]) for c in mine if c[0] == "record"] == [
        ("tb", 0), ("tb", 1), ("tb", 13 - 11), ("tb", 14 - 11),
        ("ta", 0), ("ta", 1), ("ta", 13), ("ta", 14),
    ]  # fmt: skip
    assert [(c[1], c[5]) for c in mine if c[0] == "timer"] == [
        ("tb", 0), ("tb", 2), ("ta", 0), ("ta", 13),
    ]  # fmt: skip


def test_an_input_may_come_to_saved_state_and_none_may_go() -> None:
    feed = Feed(topics=(A, B))
    feed.send(A, at("u", 500, call=[[2_000, "x"]]))
    found(feed)
    feed.tick(0)
    feed.restart(topics=(C, A, B))
    feed.send(C, at("u", 400))
    for number in (1, 2, 3):  # its lanes are new, and come to all ticks from the first on
        feed.tick_number = number - 1
        lanes = [(C, 0), (C, 1)] if number == 1 else None
        feed.tick(number * 1_000, lanes)
    feed.tick(50_000)
    assert [(c[0], c[1]) for c in feed.step.called if c[3] == "u"] == [
        ("record", "tc"),
        ("record", "ta"),
        ("timer", "ta"),
    ]
    with pytest.raises(ValueError, match=r"saved state expected the inputs tc, ta, tb, got ta, tb"):
        feed.restart(topics=(A, B))


def test_what_is_held_has_a_bound_and_room_is_given_back() -> None:
    feed = Feed(lambda job: Script(job, max_bytes=5_000))
    found(feed)
    feed.tick(0)
    feed.send(A, *[at("u", 100 + n, pad="x" * 800) for n in range(9)])
    feed.tick(0)
    failed = [(f.reason, f.offset - 11) for f in feed.failed]
    assert failed == [(Reason.STATE_FULL.value, n) for n in range(failed[0][1], 9)]
    assert 1 <= failed[0][1] <= 4
    assert feed.step._held_bytes <= 5_000
    feed.restart()
    feed.tick(10_000)
    assert (len(feed.step.rows), feed.step._held_bytes) == (0, 0)
    found(feed, ms=12_000)
    feed.send(A, at("u", 12_000))
    feed.tick(10_001)
    assert len(feed.failed) == 9 - failed[0][1]


def test_without_a_key_that_is_text_or_a_time_a_record_fails_and_no_other() -> None:
    feed = Feed(topics=(RAW,))
    for key in (b"\xff", b"\xfe", None, "ключ".encode(), b""):
        feed.send(RAW, b"v", key=key, log_ms=START_MS)
    feed.send(RAW, b"v", None, key=b"w", log_ms=START_MS)
    for log_ms in (-1, -(2**63), 2**63 - 1, 2**53 + 1, 2**53):
        feed.send(RAW, b"v", key=b"t", log_ms=log_ms)
    # The two halves of a letter, which only together are text.
    feed.send(RAW, b"v", b"v", key=[b"\xc3", b"\xa9"], log_ms=START_MS)
    feed.tick(0)
    for number in range(11):
        feed.send(RAW, b"v", key=b"f%d" % number, log_ms=START_MS + 2_000)
    feed.tick(1)
    feed.tick(5_000)
    reasons = {f.offset: f.reason for f in feed.failed}
    assert reasons == {
        **dict.fromkeys((0, 1, 2, 7, 8, 9, 10, 12, 13), Reason.INVALID_VALUE.value),
        6: Reason.UNDECODABLE.value,
    }
    texts = [f.message.partition(" (topic")[0] for f in feed.failed]
    assert r"key expected UTF-8, got b'\xff'" in texts
    assert "event time expected Unix milliseconds >= 0, got -1" in texts
    called = {c[5]: c[3] for c in feed.step.called}
    assert {offset: called[offset] for offset in called if offset < 14} == {
        3: "ключ",
        4: "",
        5: "w",
    }
    feed.restart()


def test_a_call_takes_whole_milliseconds() -> None:
    feed = Feed()
    feed.send(A, at("u", 0, call=[[0.5, "x"]]))
    found(feed, ms=2_000)
    with pytest.raises(TypeError, match="integer"):
        feed.tick(0)


def test_very_many_records_before_one_tick_are_called_in_order() -> None:
    feed = Feed()
    chance = random.Random(3)
    times = [chance.randrange(20_000) for _ in range(20_000)]
    for start in range(0, 20_000, 1_000):
        feed.send(A, *[at(f"u{ms % 50}", ms) for ms in times[start : start + 1_000]])
        if start == 9_000:
            feed.restart()
    feed.tick(0)
    feed.tick(30_000)
    assert feed.failed == []
    places = [(START_MS + ms, offset) for offset, ms in enumerate(times)]
    assert [(c[2], c[5]) for c in feed.step.called] == sorted(places)


def plain(runs: list[tuple[list[tuple[Any, ...]], int]]) -> list[tuple[Any, ...]]:
    """What `Script` is called for, one event after the other: of each run the records that are
    taken in, and the time until which is called."""
    waiting: list[tuple[Any, ...]] = []
    counts: dict[str, int] = {}
    cancelled: set[int] = set()
    timers: dict[int, tuple[str, str]] = {}  # by number, key and name
    numbers = iter(range(10**9))
    called: list[tuple[Any, ...]] = []
    for records, until_ms in runs:
        for topic, partition, offset, value in records:
            due = (value["t"], 0, topic.name, partition, offset, 0)
            heapq.heappush(waiting, (*due, next(numbers), value, ""))
        while waiting and waiting[0][0] < until_ms:
            ms, kind, topic, partition, offset, number, _, value, name = heapq.heappop(waiting)
            key = value["k"]
            place = (topic, ms, key, partition, offset)
            if kind == 1:
                if number in cancelled:
                    continue
                del timers[number]
                called.append(("timer", *place, (name, ms)))
                asked = [(ms + 700, "once more")] if name == "again" and value["times"] else []
            else:
                counts[key] = counts.get(key, 0) + 1
                called.append(("record", *place, counts[key]))
                for own in value["cancel"]:
                    gone = [n for n, t in timers.items() if t[0] == key and own in (None, t[1])]
                    cancelled.update(gone)
                    for each in gone:
                        del timers[each]
                asked = [(value["t"] + delay, each) for delay, each in value["call"]]
            for at_ms, wanted in asked:
                number = next(numbers) + 1
                timers[number] = (key, wanted)
                timer = (max(at_ms, ms), 1, topic, partition, offset, number)
                heapq.heappush(waiting, (*timer, number, value, wanted))
    return called


def test_random_scripts_are_called_as_a_plain_program_calls_them_restarts_or_not() -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)  # noqa: T201  # it reproduces a failure
    chance = random.Random(seed)
    for _ in range(12):
        feed = Feed()
        runs: list[tuple[list[tuple[Any, ...]], int]] = []
        offsets: dict[Any, int] = {}
        founders = [at(f"founder{n}", 0, cancel=[], call=[], times=0) for n in range(11)]
        feed.send(A, *founders)
        offsets[A, 0] = 11
        feed.tick(0)
        runs.append(([(A, 0, n, value) for n, value in enumerate(founders)], START_MS - LATE_MS))
        newest_ms = START_MS
        for _ in range(25):
            records = []
            now_ms = newest_ms
            for _ in range(chance.randrange(12)):
                ms = newest_ms - START_MS + 100 * chance.randrange(-5, 12)
                names = ["a", "b", "again"]
                delays = (-500, 0, 0, 100, 900, 5_000)
                value = at(
                    f"u{chance.randrange(4)}",
                    max(0, ms),
                    call=[
                        [chance.choice(delays), chance.choice(names)]
                        for _ in range(chance.choice((0, 0, 1, 3)))
                    ],
                    cancel=[chance.choice((None, "a", "b"))] if chance.random() < 0.2 else [],
                    times=chance.randrange(2),
                )
                topic, partition = chance.choice((A, B)), chance.randrange(3)
                offset = offsets.get((topic, partition), 0)
                offsets[topic, partition] = offset + 1
                feed.send(topic, value, partition=partition)
                records.append((topic, partition, offset, value))
                now_ms = max(now_ms, value["t"])
            newest_ms = now_ms
            if chance.random() < 0.4:
                feed.restart(whole=chance.random() < 0.2)
            feed.tick(0)
            runs.append((records, newest_ms - LATE_MS))
            if chance.random() < 0.4:
                feed.restart()
        feed.tick(60_000)
        runs.append(([], newest_ms + 60_000 - LATE_MS))
        assert feed.failed == []
        assert feed.step.called == plain(runs)
        assert len(feed.step.rows) == 0
