"""The step `decode`: which clicks are valid, which shard owns them, and where they stood."""

import uuid
from typing import Any

import numpy as np
import pytest

from streamrec.connectors.log import NO_TIMESTAMP_MS, Detail, Headers, RawBatch
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.steps.batches import ShardClicks
from streamrec.dataflows.steps.click_rules import MAX_ID_BYTES, MAX_PRICE_CENTS
from streamrec.dataflows.steps.decode import DecodeClicks, Decoded
from streamrec.dataflows.steps.rules import MAX_TIME_MS
from streamrec.models.users import kernels
from streamrec.schemas import load
from streamrec.schemas.wire import WireDecoder
from tests.dataflows.click_batches import AHEAD_S, START_MS, click, make_decode, raw_batch

LATEST_MS = START_MS + AHEAD_S * 1000


def parts(decoded: list[Decoded]) -> tuple[list[ShardClicks], list[Failed]]:
    good = [item for item in decoded if isinstance(item, ShardClicks)]
    return good, [item for item in decoded if isinstance(item, Failed)]


def places(good: list[ShardClicks]) -> list[tuple[int, int]]:
    found = []
    for part in good:
        matrix, rows = part.clicks.matrix, part.rows
        partitions = matrix[kernels.PARTITION, rows].tolist()
        found += list(zip(partitions, part.clicks.offsets[rows].tolist(), strict=True))
    return found


def test_users_are_split_by_shard_and_keep_their_order() -> None:
    users = [f"u{n % 13}" for n in range(200)]
    values = [click(user_id=user, timestamp=START_MS + n) for n, user in enumerate(users)]
    decoded = make_decode(shards=4)([raw_batch(values)])

    good, failed = parts(decoded)

    assert failed == []
    assert decoded == good
    assert len({part.shard for part in good}) == len(good) <= 4
    assert sorted(places(good)) == [(0, n) for n in range(200)]
    shard_of: dict[bytes, str] = {}
    for part in good:
        assert part.rows.tolist() == sorted(part.rows.tolist())
        for row in part.rows.tolist():
            user = part.clicks.user_ids.bytes_at(row)
            assert shard_of.setdefault(user, part.shard) == part.shard
    assert len(shard_of) == 13


def test_rows_know_their_partition_and_offset_whatever_failed_before_them() -> None:
    batches = [
        raw_batch([click(), b"", click(item_id=""), click()], partition=5, offsets=[7, 8, 9, 12]),
        raw_batch([None, click()], partition=2, offsets=[100, 3_000_000_000]),
    ]

    good, failed = parts(make_decode()(batches))

    assert sorted(places(good)) == [(2, 3_000_000_000), (5, 7), (5, 12)]
    assert [(f.partition, f.offset, f.reason) for f in failed] == [
        (5, 8, "not_wire_format"),
        (2, 100, "not_wire_format"),
        (5, 9, "invalid_value"),
    ]
    for f in failed:
        name = b"%d:%d" % (f.partition, f.offset)
        assert (f.key, f.headers, f.timestamp_ms) == (name, [("at", name)], START_MS + f.offset)
        assert f.message.endswith(f"(topic 'clicks', partition {f.partition}, offset {f.offset})")
    assert good[0].clicks.partition_count == 6


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"user_id": ""}, "field user_id expected a string of 1 to 256 bytes, got ''"),
        ({"user_id": "ü" * 129}, "field user_id expected a string of 1 to 256 bytes, got 'üüü"),
        ({"item_id": ""}, "field item_id expected a string of 1 to 256 bytes, got ''"),
        ({"timestamp": 0}, "field timestamp expected Unix milliseconds > 0, got 0"),
        (
            {"timestamp": LATEST_MS + 1},
            f"300 s ahead of the record's own in the log, got {LATEST_MS + 1}",
        ),
        (
            {"timestamp": START_MS * 1_000},
            f"got {START_MS * 1_000}, which looks like microseconds",
        ),
        (
            {"timestamp": START_MS * 1_000_000},
            f"got {START_MS * 1_000_000}, which looks like nanoseconds",
        ),
        (
            {"timestamp": START_MS // 1_000},
            "field timestamp expected Unix milliseconds, got 1767225600, which looks like seconds",
        ),
        ({"timestamp": 10**8}, "got 100000000, which looks like seconds"),
        ({"timestamp": 10**11 - 1}, "got 99999999999, which looks like seconds"),
        (
            {"price_cents": -1},
            "field price_cents expected an integer from 0 to 1000000000000, got -1",
        ),
        (
            {"price_cents": -2},
            "field price_cents expected an integer from 0 to 1000000000000, got -2",
        ),
    ],
)
def test_value_out_of_range_is_named(fields: dict[str, object], expected: str) -> None:
    good, failed = parts(make_decode()([raw_batch([click(**fields)])]))
    assert good == []
    assert [f.exception for f in failed] == ["InvalidValueError"]
    assert expected in failed[0].message


@pytest.mark.parametrize(
    "fields",
    [
        {"user_id": "x" * MAX_ID_BYTES},
        {"item_id": "ü" * (MAX_ID_BYTES // 2)},
        {"timestamp": 1},
        {"timestamp": 10**8 - 1},
        {"timestamp": 10**11},
        {"timestamp": LATEST_MS},
        {"price_cents": 0},
        {"price_cents": MAX_PRICE_CENTS},
        {"price_cents": None, "session_id": ""},
        {"event_type": "other", "session_id": "s"},
    ],
)
def test_value_at_the_edge_of_its_range_is_good(fields: dict[str, object]) -> None:
    good, failed = parts(make_decode()([raw_batch([click(**fields)])]))
    assert failed == []
    assert len(good) == 1


def test_null_price_and_empty_session_mean_none() -> None:
    values = [click(), click(session_id=""), click(session_id="s", price_cents=5)]
    (part,), _ = parts(make_decode(shards=1)([raw_batch(values)]))
    matrix = part.clicks.matrix
    assert matrix[kernels.PRICE_CENTS].tolist() == [kernels.NO_PRICE, kernels.NO_PRICE, 5]
    sessions = matrix[kernels.SESSION]
    assert (sessions == kernels.NO_SESSION).tolist() == [True, True, False]


def test_batch_of_nothing_but_bad_records_emits_errors_only() -> None:
    good, failed = parts(make_decode()([raw_batch([None, b"x", click()[:-1]])]))
    assert good == []
    assert [f.reason for f in failed] == ["not_wire_format", "not_wire_format", "undecodable"]


def test_values_whose_schema_stands_in_a_header_are_read_from_several_batches() -> None:
    guid = uuid.UUID(int=7)
    schemas: dict[Any, str] = {1: load("clicks"), str(guid): load("clicks")}
    decoder = WireDecoder(load("clicks"), schemas.__getitem__)
    values = [click(user_id="a"), click(user_id="b")[5:], click(user_id="c")]
    headers: list[Headers] = [[], [("__value_schema_id", b"\1" + guid.bytes)], []]
    batches = [
        RawBatch(
            "clicks",
            partition,
            np.arange(3),
            list(values),
            lambda index: Detail(None, headers[index], START_MS),
            np.full(3, START_MS),
        )
        for partition in range(2)
    ]
    good, failed = parts(DecodeClicks(lambda: decoder, 3, 1, AHEAD_S)(batches))
    assert failed == []
    assert places(good) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    [part] = good
    assert [part.clicks.user_ids.bytes_at(row) for row in range(6)] == [b"a", b"b", b"c"] * 2


def test_split_is_the_same_for_every_batch_size() -> None:
    values = [click(user_id=f"u{n}") for n in range(64)]
    whole, _ = parts(make_decode(shards=8)([raw_batch(values)]))
    single: dict[str, list[int]] = {}
    for n, value in enumerate(values):
        (part,), _ = parts(make_decode(shards=8)([raw_batch([value], offsets=[n])]))
        single.setdefault(part.shard, []).append(n)
    assert {part.shard: part.clicks.offsets[part.rows].tolist() for part in whole} == single
    assert np.array([len(part.rows) for part in whole]).sum() == 64


def test_click_is_judged_by_when_it_was_written_not_by_its_batch() -> None:
    """Far ahead of its own log time is an error; beside later neighbours it is still its own."""
    times = [START_MS, START_MS + 500_000, START_MS + 299_000, START_MS + 301_000, START_MS + 10]
    written = [START_MS, START_MS + 400_000, START_MS, START_MS, START_MS + 400_000]
    batch = raw_batch([click(timestamp=time) for time in times], times_ms=written)
    good, failed = parts(make_decode(shards=1)([batch]))
    assert places(good) == [(0, 0), (0, 1), (0, 2), (0, 4)]
    assert [f.offset for f in failed] == [3]
    assert f"got {START_MS + 301_000}" in failed[0].message


def test_a_time_that_no_date_can_say_is_named() -> None:
    """Where the log's own time says the same, or none, nothing else would refuse it."""
    times = [MAX_TIME_MS, MAX_TIME_MS + 1, 2**63 - 1, MAX_TIME_MS + 1]
    written = [*times[:3], NO_TIMESTAMP_MS]
    good, failed = parts(
        make_decode()([raw_batch([click(timestamp=time) for time in times], times_ms=written)])
    )
    assert places(good) == [(0, 0)]
    assert [f.offset for f in failed] == [1, 2, 3]
    assert "field timestamp expected Unix milliseconds before the year 10000" in failed[0].message
