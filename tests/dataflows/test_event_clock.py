"""What time it is for a shard."""

import json

import numpy as np
from numpy.typing import NDArray

from streamrec.dataflows.steps.event_clock import EventClock

START_MS = 1_767_225_600_000
LATE_MS = 10_000
YEAR_MS = 365 * 24 * 3_600_000


def moved(clock: EventClock, times_ms: list[int], tick_ms: int) -> int:
    """At a tick, with records of users who have one each."""
    hashes: NDArray[np.int64] = np.array([(0, each) for each in times_ms], np.int64).reshape(-1, 2)
    assert not clock.move(np.array(times_ms, np.int64), hashes, tick_ms)
    return clock.now_ms - START_MS


def test_time_passes_with_the_ticks_where_no_record_comes() -> None:
    clock = EventClock(LATE_MS)
    assert clock.now_ms < 0
    assert moved(clock, [START_MS], 1_000) == 0
    assert moved(clock, [], 9_000) == 8_000


def test_a_record_after_a_silence_does_not_turn_the_clock_back() -> None:
    """Or one might be called after timers of a later time."""
    clock = EventClock(LATE_MS)
    moved(clock, [START_MS], 1_000)
    assert moved(clock, [], 9_000) == 8_000
    assert moved(clock, [START_MS + 3_000], 9_500) == 8_000
    assert moved(clock, [], 14_000) == 8_000
    assert moved(clock, [], 15_000) == 8_500


def test_the_first_record_of_a_wrong_clock_does_not_hold_the_time_that_others_show() -> None:
    clock = EventClock(LATE_MS)
    assert moved(clock, [START_MS + YEAR_MS], 1_000) == YEAR_MS
    assert moved(clock, [START_MS], 2_000) == 0


def test_a_tick_that_is_older_than_those_before_does_not_turn_the_clock_back() -> None:
    clock = EventClock(LATE_MS)
    moved(clock, [START_MS], 1_000)
    assert moved(clock, [], 9_000) == 8_000
    again = EventClock(LATE_MS)
    again.restore(json.loads(json.dumps(clock.facts())))
    for each in (clock, again):
        assert moved(each, [], 4_000) == 8_000
        assert moved(each, [], 9_500) == 8_500
