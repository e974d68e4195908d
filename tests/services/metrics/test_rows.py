"""What `top` makes of two looks at a process."""

import pytest

from streamrec.services.metrics.looking import Looked, looked
from streamrec.services.metrics.notes import Note
from streamrec.services.metrics.rows import quantile, row_of

NOTE = Note(pid=7, kind="dataflow", name="recommender", index=1, address="-", started=1_000.0)
TEXT = """
streamrec_records_read_total{{topic="clicks"}} {read}
streamrec_records_read_total{{topic="sessions"}} {read}
streamrec_record_errors_total{{reason="late"}} 3
streamrec_lag_records{{topic="clicks"}} 12
streamrec_source_to_sink_seconds_bucket{{le="0.01"}} {quick}
streamrec_source_to_sink_seconds_bucket{{le="0.1"}} {all}
streamrec_source_to_sink_seconds_bucket{{le="+Inf"}} {all}
streamrec_epoch_duration_seconds_sum 30
streamrec_epoch_duration_seconds_count 3
streamrec_model_info{{model="trees",version="0123456789"}} 1
streamrec_model_made_timestamp_seconds{{model="trees"}} 900
process_cpu_seconds_total {cpu}
process_resident_memory_bytes 1000
"""


def at(at_s: float, **values: float) -> Looked:
    found = looked(TEXT.format(**values))
    return Looked(at_s, found.series, found.reasons)


def test_rates_are_those_between_two_looks() -> None:
    before = at(10.0, read=100, quick=0, all=0, cpu=5.0)
    now = at(12.0, read=200, quick=90, all=100, cpu=6.0)

    row = row_of(NOTE, now, before, now_s=1_060.0)

    assert row.name == "recommender/1"
    assert row.state == "ready"
    assert row.in_per_s == 100.0  # two topics
    assert row.errors == 3.0
    assert row.errors_per_s == 0.0
    assert row.lag == 12.0
    assert row.p99_s == pytest.approx(0.091)
    assert row.epoch_s == 10.0
    assert row.cpu == 0.5
    assert row.model == "trees 01234567"
    assert row.model_age_s == 160.0
    assert row.up_s == 60.0
    assert row.out_per_s is None  # it serves none


def test_first_look_tells_rates_since_the_start() -> None:
    row = row_of(NOTE, at(0.0, read=300, quick=0, all=0, cpu=6.0), None, now_s=1_060.0)

    assert row.in_per_s == 10.0
    assert row.cpu == 0.1
    assert row.p99_s is None


def test_quiet_second_tells_the_latency_of_before() -> None:
    both = at(0.0, read=0, quick=100, all=100, cpu=0.0), at(1.0, read=0, quick=100, all=100, cpu=0)

    assert row_of(NOTE, both[1], both[0]).p99_s == pytest.approx(0.0099)


def test_process_that_does_not_answer_is_shown_as_such() -> None:
    assert row_of(NOTE, None, None).state == "does not answer"


def test_values_above_all_bounds_are_told_by_the_last_bound() -> None:
    assert quantile(0.99, {1.0: 0.0, float("inf"): 5.0}) == 1.0
    assert quantile(0.99, {}) is None
