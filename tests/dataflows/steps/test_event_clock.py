"""The clock of a shard: what moves it, what does not, and what it says after a restart."""

import json
import random

import numpy as np

from streamrec.dataflows.steps.event_clock import EventClock

LATE_MS = 10_000
HOUR_MS = 3_600_000
START_MS = 1_000 * HOUR_MS

Move = tuple[list[tuple[int, int]], int]  # times and keys, and the tick's time


def move(
    clock: EventClock, records: list[tuple[int, int]], tick_ms: int
) -> list[tuple[int, int, int]]:
    """Records as (time, key)."""
    records = sorted(records)
    hashes = np.array([(key, key) for _, key in records], np.int64).reshape(-1, 2)
    return clock.move(np.array([ms for ms, _ in records], np.int64), hashes, tick_ms)


def founded(ms: int = START_MS, tick_ms: int = 0) -> EventClock:
    clock = EventClock(LATE_MS)
    move(clock, [(ms, 1_000 + key) for key in range(11)], tick_ms)
    assert clock.now_ms == ms
    return clock


def late(clock: EventClock, *times_ms: int) -> list[bool]:
    found: list[bool] = clock.are_late(np.array(times_ms, np.int64), LATE_MS).tolist()
    return found


def test_time_passes_by_records_and_without_them_by_ticks() -> None:
    clock = founded(tick_ms=50)
    move(clock, [], 1_050)
    assert clock.now_ms == START_MS + 1_000
    move(clock, [(START_MS + 9_000, 1)], 2_050)
    assert clock.now_ms == START_MS + 9_000
    move(clock, [(START_MS + 8_000, 1)], 3_050)
    assert clock.now_ms == START_MS + 10_000
    assert late(clock, START_MS - 1, START_MS) == [True, False]


def test_time_does_not_go_back_for_a_record_that_is_a_little_newer() -> None:
    clock = founded()
    move(clock, [], 5_000)
    move(clock, [(START_MS + 1_000, 1)], 6_000)
    assert clock.now_ms == START_MS + 5_000
    move(clock, [], 9_000)  # three seconds since
    assert clock.now_ms == START_MS + 5_000
    move(clock, [], 13_000)
    assert clock.now_ms == START_MS + 8_000


def test_times_of_ticks_that_go_back_add_nothing() -> None:
    """Of two writers, one with a clock that is behind."""
    clock = founded(tick_ms=1_000_000)
    move(clock, [], 400_000)
    move(clock, [(START_MS + 1, 1)], 400_000)
    move(clock, [], 1_000_700)
    assert clock.now_ms == START_MS + 701


def test_a_first_record_of_a_wrong_clock_makes_no_other_late() -> None:
    clock = EventClock(LATE_MS)
    assert late(clock, 0, START_MS) == [False, False]
    move(clock, [(START_MS + 9_000 * HOUR_MS, 1)], 1)
    for key in range(2, 30):
        assert late(clock, START_MS + key) == [False]
        move(clock, [(START_MS + key, key)], key)
    assert clock.now_ms == START_MS + 29


def test_what_is_late_by_less_than_an_hour_is_late_from_the_second_key_on() -> None:
    clock = EventClock(LATE_MS)
    move(clock, [(START_MS, 1)], 0)
    assert late(clock, START_MS - LATE_MS - 1, START_MS - LATE_MS) == [True, False]


def test_all_that_a_wrong_clock_sent_is_refuted() -> None:
    clock = founded()
    far_ms = START_MS + 9_000 * HOUR_MS
    assert move(clock, [(far_ms, 1), (far_ms + 5, 1)], 1) == []
    refuted = move(clock, [(START_MS + n, 100 + n) for n in range(9)], 2)
    assert refuted == [(far_ms + 5, 1, 1)]
    assert clock.far_ms < far_ms


def test_a_key_that_says_otherwise_refutes_its_own_wrong_time() -> None:
    clock = founded()
    far_ms = START_MS + 9_000 * HOUR_MS
    move(clock, [(far_ms, 1)], 1)
    assert move(clock, [(START_MS + 1, 1)], 2) == [(far_ms, 1, 1)]
    assert move(clock, [(START_MS + n, n) for n in range(20)], 3) == []


def test_a_time_that_others_bear_out_refutes_nobody() -> None:
    clock = founded()
    far_ms = START_MS + 3 * HOUR_MS
    for key in range(1, 11):
        assert move(clock, [(far_ms, key)], key) == []
    assert clock.now_ms == far_ms


def test_a_clock_that_was_saved_goes_on_as_if_it_had_not_been() -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)  # noqa: T201  # it reproduces a failure
    chance = random.Random(seed)
    for _ in range(60):
        whole, parts = EventClock(LATE_MS), EventClock(LATE_MS)
        now_ms, tick_ms = START_MS, 0
        for _ in range(80):
            now_ms += chance.choice((0, 500, HOUR_MS // 2, 2 * HOUR_MS))
            tick_ms += chance.choice((-700, 0, 300, 2_000))
            records = [
                (
                    now_ms + chance.choice((0, -300, 40 * HOUR_MS, -30 * HOUR_MS)),
                    chance.randrange(15),
                )
                for _ in range(chance.randrange(5))
            ]
            ms = np.array([ms for ms, _ in records], np.int64)
            kept = [r for r, no in zip(records, whole.are_late(ms, LATE_MS), strict=True) if not no]
            assert whole.are_late(ms, LATE_MS).tolist() == parts.are_late(ms, LATE_MS).tolist()
            assert move(whole, kept, tick_ms) == move(parts, kept, tick_ms)
            assert whole.now_ms == parts.now_ms
            if chance.random() < 0.4:
                facts = json.loads(json.dumps(parts.facts()))
                parts = EventClock(LATE_MS)
                parts.restore(facts)
