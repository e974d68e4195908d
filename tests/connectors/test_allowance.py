"""How many records a lane may hand out: by what waits, by bytes, by time, and in turn."""

from collections import Counter
from itertools import repeat

from streamrec.connectors.allowance import Allowance

ONE_BYTE = repeat(1)


class Clock:
    def __init__(self) -> None:
        self.at_s = 0.0

    def __call__(self) -> float:
        return self.at_s


def test_what_waits_and_what_is_on_its_way_is_bounded_by_count() -> None:
    allowance = Allowance(records_max=10)
    assert allowance.share("w", 0, 7, ONE_BYTE) == 7
    assert allowance.share("w", 1, 7, ONE_BYTE) == 3
    allowance.begin_round("w")
    allowance.waits("step", 8, 8, dict)
    assert allowance.share("w", 1, 4, ONE_BYTE) == 2


def test_what_never_comes_to_the_step_holds_nobody_up() -> None:
    allowance = Allowance(records_max=10)
    for _ in range(5):  # all of them broken
        allowance.begin_round("w")
        assert allowance.share("w", 0, 10, ONE_BYTE) == 10


def test_a_worker_that_has_no_more_to_read_takes_nothing_from_the_others() -> None:
    allowance = Allowance(records_max=10)
    assert allowance.share("gone", 0, 10, ONE_BYTE) == 10
    allowance.begin_round("gone")
    assert allowance.share("w", 1, 10, ONE_BYTE) == 10


def test_bytes_are_bounded_and_a_record_larger_than_that_goes_alone() -> None:
    allowance = Allowance(bytes_max=100)
    assert allowance.share("w", 0, 3, [40, 40, 40]) == 2
    allowance.begin_round("w")
    allowance.waits("step", 2, 80, dict)
    assert allowance.share("w", 0, 1, [500]) == 0
    assert allowance.share("w", 1, 1, [10]) == 0  # or the large one would never go
    allowance.waits("step", 0, 0, dict)
    assert allowance.share("w", 0, 1, [500]) == 1
    allowance.begin_round("w")
    assert allowance.share("w", 1, 1, [10]) == 1


def test_of_lanes_that_all_have_more_none_starves() -> None:
    allowance = Allowance(records_max=1)
    got = Counter[int]()
    for _ in range(80):
        allowance.begin_round("w")
        for lane in range(8):
            got[lane] += allowance.share("w", lane, 5, ONE_BYTE)
    assert got == dict.fromkeys(range(8), 10)


def test_two_workers_share_though_one_of_them_always_asks_first() -> None:
    allowance = Allowance(records_max=4)
    got = Counter[str]()
    for _ in range(100):
        for worker, lane in (("first", 0), ("second", 1)):
            allowance.begin_round(worker)
            got[worker] += allowance.share(worker, lane, 100, ONE_BYTE)
    assert got["second"] >= 0.3 * got.total()


def test_a_lane_that_asks_no_more_is_not_waited_for() -> None:
    clock = Clock()
    allowance = Allowance(records_max=1, now_s=clock)
    assert allowance.share("w", 0, 5, ONE_BYTE) == 1
    allowance.share("w", 1, 5, ONE_BYTE)
    allowance.begin_round("w")
    assert allowance.share("w", 0, 5, ONE_BYTE) == 0  # it is the other's turn
    clock.at_s = 1.5
    assert allowance.share("w", 0, 5, ONE_BYTE) == 1


def test_calls_are_cut_by_the_time_that_a_record_takes() -> None:
    allowance = Allowance(records_max=None, cut_s=0.1)
    assert allowance.share("w", 0, 1_000, ()) == 1  # nothing is known yet
    allowance.took(1, 0.01)
    allowance.begin_round("w")
    assert allowance.share("w", 0, 1_000, ()) == 10
    assert allowance.share("w", 1, 1_000, ()) == 0
    assert allowance.share("another", 2, 1_000, ()) == 10  # which calls it in its own thread
    allowance.begin_round("w")
    assert allowance.share("w", 1, 1_000, ()) == 5
    assert allowance.share("w", 0, 1_000, ()) == 5


def test_a_slow_first_call_is_forgotten_soon() -> None:
    allowance = Allowance(records_max=None, cut_s=0.1)
    allowance.took(1, 3.0)
    given = 1
    for _ in range(20):
        allowance.took(given, given * 0.000_01)
        allowance.begin_round("w")
        given = allowance.share("w", 0, 5_000, ())
    assert given == 5_000


def test_a_record_that_takes_longer_than_a_cut_goes_alone() -> None:
    allowance = Allowance(records_max=None, cut_s=0.1)
    allowance.took(1, 2.0)
    assert allowance.share("w", 0, 10, ()) == 1


def test_first_offsets_are_those_of_all_holders() -> None:
    allowance = Allowance()
    assert allowance.is_idle()
    allowance.waits("a", 2, 20, lambda: {0: 7, 1: 3})
    allowance.waits("b", 1, 10, lambda: {0: 5})
    assert allowance.unanswered() == {0: 5, 1: 3}
    allowance.waits("b", 0, 0, dict)
    assert allowance.unanswered() == {0: 7, 1: 3}
    assert not allowance.is_idle()
    allowance.waits("a", 0, 0, dict)
    assert allowance.is_idle()
