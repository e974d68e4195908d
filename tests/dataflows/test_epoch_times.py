"""Epochs as their lanes tell of them, by a clock that is handed in."""

from streamrec.dataflows.engine.epoch_times import EpochTimes


class Told:
    """An epoch is told of at times of its own."""

    def __init__(self) -> None:
        self.now_s, self.read = 0.0, 0
        self.times = EpochTimes(lambda: self.read, lambda: self.now_s)

    def epoch(self, at_s: float, read: int, closed_s: float | None = None, saved: int = 0) -> None:
        """All of two lanes come to the end; a sink, if one has written, `closed_s` later."""
        self.now_s, self.read = at_s, read
        self.times.closing(1)
        self.now_s += 0.001
        self.times.closing(2)
        self.times.saved(saved)
        if closed_s is not None:
            self.now_s = at_s + closed_s
            self.times.closed()


def test_epoch_lasts_from_one_end_to_the_next_and_holds_what_was_read() -> None:
    told = Told()
    told.epoch(10.0, read=100)
    told.epoch(20.0, read=350, closed_s=0.25, saved=7)
    told.epoch(31.0, read=351)

    times = told.times
    assert times.closed_count == 3
    assert (sum(times.durations.counts), times.durations.total) == (2, 21.0)
    assert (sum(times.closings.counts), times.closings.total) == (1, 0.25)
    assert times.records == 1
    assert times.saved_bytes == 7


def test_epoch_in_which_nothing_was_written_has_no_closing() -> None:
    told = Told()
    for at_s in (1.0, 2.0, 3.0):
        told.epoch(at_s, read=0)

    assert sum(told.times.durations.counts) == 2
    assert sum(told.times.closings.counts) == 0
