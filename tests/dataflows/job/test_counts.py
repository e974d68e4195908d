"""What is counted of a batch, and what latency is taken from it."""

import numpy as np

from streamrec.connectors.log import NO_TIMESTAMP_MS, Detail, RawBatch
from streamrec.connectors.out import Out, Sources
from streamrec.dataflows.job.counts import FlowCounts

NOW_MS = 1_000_000.0


def batch(first: int, times_ms: list[int], partition: int = 0) -> RawBatch:
    offsets = np.arange(first, first + len(times_ms))
    detail = Detail(None, [], NO_TIMESTAMP_MS)
    times = np.array(times_ms, np.int64)
    return RawBatch("clicks", partition, offsets, [b""] * len(offsets), lambda _: detail, times)


def out(*places: tuple[int, int], topic: str = "clicks") -> Out:
    sources = Sources(np.array(places, np.int64).reshape(-1, 2), topic)
    return Out(0, [None] * len(places), [b""] * len(places), sources=sources)


def latencies(counts: FlowCounts) -> tuple[int, float]:
    """How many values were observed, and their sum in seconds."""
    found = counts.latencies.get("recommendations")
    return (0, 0.0) if found is None else (sum(found.counts), round(found.total, 6))


def test_first_and_last_of_what_is_written_count_for_half_each() -> None:
    counts = FlowCounts()
    counts.took(("clicks", ""), [batch(100, [999_000] * 4), batch(104, [999_900])])

    counts.gave("recommendations", False, out(*((0, n) for n in range(100, 105))), NOW_MS)

    assert counts.written == {"recommendations": 5}
    assert latencies(counts) == (5, 3 * 1.0 + 2 * 0.1)


def test_time_within_a_batch_is_taken_to_run_evenly() -> None:
    counts = FlowCounts()
    counts.took(("clicks", ""), [batch(0, [990_000, 0, 0, 0, 994_000])])

    counts.gave("recommendations", False, out((0, 2)), NOW_MS)

    assert latencies(counts) == (1, 8.0)


def test_batches_read_again_or_in_another_order_are_found_by_their_place() -> None:
    counts = FlowCounts()
    for first in (50, 40, 50, 45):
        counts.took(("clicks", ""), [batch(first, [900_000 + 1_000 * first] * 5)])

    for offset in (40, 45, 54):
        counts.gave("recommendations", False, out((0, offset)), NOW_MS)

    assert latencies(counts) == (3, 60.0 + 55.0 + 50.0)


def test_input_of_which_the_time_is_not_known_is_left_out() -> None:
    counts = FlowCounts()
    counts.took(("clicks", ""), [batch(0, [NO_TIMESTAMP_MS]), batch(1, [999_000])])

    elsewhere = out((0, 1), topic="orders")
    for each in (out((0, 0)), out((0, 2)), out((1, 1)), elsewhere, out()):
        counts.gave("recommendations", False, each, NOW_MS)
    counts.gave("sessions", False, Out(0, [None], [b""]), NOW_MS)  # answers no input

    assert latencies(counts) == (0, 0.0)
    assert counts.written == {"recommendations": 4, "sessions": 1}


def test_what_is_kept_to_measure_by_is_bounded() -> None:
    counts = FlowCounts()
    for first in range(10_000):
        counts.took(("clicks", ""), [batch(first, [999_000])])

    counts.gave("recommendations", False, out((0, 9_999), (0, 0)), NOW_MS)  # the last is forgotten

    assert latencies(counts) == (1, 1.0)
    (spans,) = counts._times._spans.values()
    assert len(spans.firsts) == len(spans.rest) <= 2_048


def test_many_partitions_share_what_is_kept() -> None:
    counts = FlowCounts()
    for first in range(400):
        for partition in range(1_000):
            counts._times.note([batch(first, [999_000], partition)])

    assert sum(len(s.firsts) for s in counts._times._spans.values()) <= 2 * 64 * 1_000
    assert counts._times.time_ms("clicks", 999, 399) == 999_000
