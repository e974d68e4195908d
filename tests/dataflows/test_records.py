"""The step `decode` of any topic: Avro of one's own, JSON and bytes; and clicks, as their own."""

import json
import pickle
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from streamrec import (
    CLICKS,
    Between,
    EventTime,
    OneOf,
    PaperJob,
    Reason,
    Rule,
    ShardClicks,
    ShardRecords,
    StartError,
    TextLength,
    Topic,
    batch_of,
    decode_clicks,
    decode_records,
)
from streamrec.connectors.log import NO_TIMESTAMP_MS, Detail, RawBatch
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.steps.decode import BROKEN, RULES
from streamrec.dataflows.steps.shards import shard_name
from streamrec.schemas.columns import Bytes, Column, Numbers, strings
from streamrec.schemas.hashing import partitions
from streamrec.schemas.json_codec import JsonDecoder
from tests.dataflows.click_batches import START_MS, click, raw_batch

FIELDS = [
    {"name": "shop", "type": "string"},
    {"name": "note", "type": ["null", "string"], "default": None},
    {"name": "cents", "type": ["null", "long"], "default": None},
    {"name": "rate", "type": "double", "default": 0.5},
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["sale", "return"]}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "blob", "type": "bytes", "default": ""},
    {"name": "lines", "type": {"type": "array", "items": "int"}, "default": []},
    {
        "name": "till",
        "type": {"type": "record", "name": "T", "fields": [{"name": "no", "type": "int"}]},
        "default": {"no": 0},
    },
]
JOB = PaperJob("records", settings=load_settings(shards=4, max_ahead_s=300))
STOCK = Topic("stock", format="json", key_field="shop")
IMAGES = Topic("images", format="bytes")


@pytest.fixture
def sales(tmp_path: Path) -> Topic:
    path = tmp_path / "sales.avsc"
    path.write_text(json.dumps({"type": "record", "name": "Sale", "fields": FIELDS}))
    return Topic("sales", path, "shop")


def sale(**fields: Any) -> dict[str, Any]:
    whole = {"shop": "s1", "note": None, "cents": 5, "rate": 0.5, "kind": "sale", "at": START_MS}
    return {**whole, "blob": "", "lines": [], "till": {"no": 0}, **fields}


def parts(found: Sequence[Any]) -> tuple[list[ShardRecords], list[Failed]]:
    good = [item for item in found if isinstance(item, ShardRecords)]
    return good, [item for item in found if isinstance(item, Failed)]


def read(good: list[ShardRecords]) -> list[tuple[int, int, Any]]:
    """Partition, offset and record of all, in order of place."""
    found = []
    for part in good:
        places = part.batch.places(part.rows).tolist()
        found += [(*place, record) for place, (_, record) in zip(places, part, strict=True)]
    return sorted(found, key=lambda each: each[:2])


def keys(part: ShardRecords) -> list[bytes]:
    return [part.batch.keys.bytes_at(row) for row in part.rows.tolist()]


def with_times(batch: RawBatch, times_ms: list[int]) -> RawBatch:
    return RawBatch(
        batch.topic, batch.partition, batch.offsets, batch.values, batch.detail, np.array(times_ms)
    )


def test_records_are_split_by_shard_as_clicks_are(sales: Topic) -> None:
    records = [sale(shop=f"s{n % 13}", cents=n, lines=[n, -n], blob="\xff") for n in range(100)]
    batches = [
        batch_of(sales, [*records[:60], b"broken"], partition=3, first_offset=7),
        batch_of(sales, records[60:], partition=1),
    ]
    good, failed = parts(decode_records(JOB, sales)(batches))
    assert [(f.partition, f.offset, f.reason) for f in failed] == [(3, 67, "not_wire_format")]
    # As `receive` reads them from the very same bytes.
    decoder = JsonDecoder(lambda _: sales.schema)
    expected = [
        (batch.partition, int(offset), decoder.decode(value))
        for batch in (batches[1], batches[0])
        for offset, value in zip(batch.offsets, batch.values, strict=True)
        if value is not None and value != b"broken"
    ]
    assert read(good) == expected
    for part in good:
        assert part.rows.tolist() == sorted(part.rows.tolist())
        shards = partitions(strings(keys(part)), 4)
        assert {shard_name(shard) for shard in shards.tolist()} == {part.shard}
        assert part.batch.topic == "sales"
        assert part.batch.times_ms[part.rows].tolist() == [START_MS] * len(part.rows)
    assert sum(len(part.rows) for part in good) == 100 == len(good[0].batch)


RULES_OF_SALES = (
    TextLength("shop", 1, 8),
    TextLength("note", 0, 3),
    Between("cents", 0, 100),
    Between("rate", 0.0, 1.0),
    OneOf("kind", ("sale",)),
    OneOf("till.no", (0, 1)),
    EventTime("at"),
)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shop": ""}, "field shop expected a string of 1 to 8 bytes, got ''"),
        ({"note": "four"}, "field note expected a string of 0 to 3 bytes, got 'four'"),
        ({"cents": 101}, "field cents expected an integer from 0 to 100, got 101"),
        ({"rate": 1.5}, "field rate expected a number from 0.0 to 1.0, got 1.5"),
        ({"rate": float("nan")}, "field rate expected a number from 0.0 to 1.0, got nan"),
        ({"kind": "return"}, "field kind expected one of sale, got 'return'"),
        ({"till": {"no": 2}}, "field till.no expected one of 0, 1, got 2"),
        (
            {"at": START_MS // 1_000},
            "field at expected Unix milliseconds, got 1767225600, which looks like seconds",
        ),
        (
            {"at": START_MS + 300_001},
            "field at expected a time at most 300 s ahead of the record's own in the log, "
            f"got {START_MS + 300_001}",
        ),
        # The first rule that is broken is named.
        ({"cents": -1, "rate": 2.0}, "field cents expected an integer from 0 to 100, got -1"),
    ],
)
def test_a_record_that_breaks_a_rule_is_named_and_its_neighbours_go_on(
    sales: Topic, fields: dict[str, Any], message: str
) -> None:
    records = [sale(), sale(**fields), sale(cents=None, note="ok")]
    batch = with_times(batch_of(sales, records, partition=2), [START_MS] * 3)
    good, failed = parts(decode_records(JOB, sales, rules=RULES_OF_SALES)([batch]))
    assert [place[1] for place in read(good)] == [0, 2]
    (one,) = failed
    assert one.message == f"{message} (topic 'sales', partition 2, offset 1)"
    assert (one.reason, one.value) == ("invalid_value", batch.values[1])
    assert one.key == fields.get("shop", "s1").encode()


def test_a_rule_names_its_reason(sales: Topic) -> None:
    rules = (Between("cents", 0, 1, Reason.TOO_LATE),)
    _, failed = parts(decode_records(JOB, sales, rules=rules)([batch_of(sales, [sale()])]))
    assert [(f.reason, f.exception) for f in failed] == [("too_late", "TooLateError")]


def test_the_key_may_be_another_field_and_must_be_there(sales: Topic) -> None:
    records = [sale(note="n1"), sale(note=None), sale(note="")]
    good, failed = parts(decode_records(JOB, sales, key="note")([batch_of(sales, records)]))
    assert sorted(key for part in good for key in keys(part)) == [b"", b"n1"]
    (one,) = failed
    assert one.message.startswith("field note expected a string, got null (")


def test_the_time_is_the_only_timestamp_another_field_or_the_logs(sales: Topic) -> None:
    batch = with_times(batch_of(sales, [sale(cents=7), sale(cents=None)]), [11, 12])
    times = {
        name: [
            int(part.batch.times_ms[row])
            for part in parts(decode_records(JOB, sales, time=name)([batch]))[0]
            for row in part.rows
        ]
        for name in (None, "at", "", "cents")
    }
    assert times == {None: [START_MS] * 2, "at": [START_MS] * 2, "": [11, 12], "cents": [7]}
    _, (failed,) = parts(decode_records(JOB, sales, time="cents")([batch]))
    assert failed.message.startswith("field cents expected Unix milliseconds, got null (")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"key": "no"}, "key 'no' expected a field of type string in sales.avsc, got no such"),
        ({"key": "cents"}, "key 'cents' expected a field of type string in sales.avsc, got null"),
        ({"time": "rate"}, "time 'rate' expected a field of type long in sales.avsc, got double"),
        (
            {"rules": (TextLength("cents", 0, 1),)},
            "TextLength 'cents' expected a field of type string or bytes or enum in sales.avsc, ",
        ),
        ({"rules": (Between("lines", 0, 1),)}, "Between 'lines' expected a field of type int or"),
        ({"rules": (OneOf("kind", ("sale", "sold")),)}, "symbols of sale, return, got 'sold'"),
        ({"rules": (EventTime("till.no"),)}, "EventTime 'till.no' expected a field of type long"),
    ],
)
def test_a_field_that_does_not_fit_is_told_before_anything_is_read(
    sales: Topic, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(StartError) as raised:
        decode_records(JOB, sales, **given)
    assert str(raised.value).startswith("topic 'sales': ")
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ("no JSON", "not an Avro schema: JSONDecodeError("),
        ('"string"', "schema expected a record, got string"),
        (
            '{"type": "record", "name": "M", "fields": ['
            '{"name": "m", "type": {"type": "map", "values": "int"}}]}',
            "field m expected a type that columns can hold, got map of int",
        ),
    ],
)
def test_a_schema_that_cannot_be_decoded_is_told_before_anything_is_read(
    tmp_path: Path, schema: str, told: str
) -> None:
    (tmp_path / "x.avsc").write_text(schema)
    with pytest.raises(StartError) as raised:
        decode_records(JOB, Topic("x", tmp_path / "x.avsc"))
    start = "topic 'x' expected an Avro record in x.avsc that columns can hold: "
    assert str(raised.value).startswith(start + told)


@dataclass(frozen=True)
class Even:
    """A rule of somebody's own."""

    field: str
    kinds: ClassVar[tuple[str, ...]] = ("long",)
    reason = Reason.INVALID_VALUE
    expected = ("an even number",)

    def broken(self, column: Column, written_ms: Any) -> Any:
        assert isinstance(column, Numbers)
        return (column.values.astype(np.int64) % 2).astype(np.int8)

    def judge(self, value: Any, written_ms: int) -> int:
        return int(not isinstance(value, int) or value % 2)


def test_a_rule_may_be_ones_own(sales: Topic) -> None:
    rules: tuple[Rule, ...] = (Even("cents"), EventTime("at"))
    for topic, make in ((sales, sale), (STOCK, dict)):
        records = [make(shop="a", cents=cents, at=START_MS) for cents in (2, 3, 4)]
        good, (one,) = parts(decode_records(JOB, topic, rules=rules)([batch_of(topic, records)]))
        assert [record["cents"] for _, _, record in read(good)] == [2, 4]
        assert one.message.startswith("field cents expected an even number, got 3 (topic ")


def test_microseconds_are_no_event_time(tmp_path: Path) -> None:
    path = tmp_path / "t.avsc"
    fields = [{"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}}]
    path.write_text(json.dumps({"type": "record", "name": "T", "fields": fields}))
    told = r"time 'at' expected a field in milliseconds in t.avsc, got long \(timestamp-micros\)"
    with pytest.raises(StartError, match=told):
        decode_records(JOB, Topic("t", path), rules=(EventTime("at"),))


def test_a_topic_without_a_key_field_is_sharded_by_the_records_own_keys(sales: Topic) -> None:
    keyless = Topic("sales", sales.schema_file)
    given = [b"\xff", None, b"b", b""]
    batches = [
        batch_of(keyless, [sale(cents=n) for n in range(2)], keys=given[:2]),
        batch_of(keyless, [sale(cents=n) for n in range(2)], 1, keys=given[2:]),
    ]
    good, (failed,) = parts(decode_records(JOB, keyless)(batches))
    assert sorted(key for part in good for key in keys(part)) == [b"", b"b", b"\xff"]
    assert failed.message == "key expected bytes, got null (topic 'sales', partition 0, offset 1)"
    assert failed.reason == "invalid_value"


JSON_RULES = (TextLength("shop", 1, 4), Between("n", 0, 9), EventTime("at"))
GOOD = {"shop": "s1", "n": 3, "at": START_MS}


@pytest.mark.parametrize(
    ("value", "reason", "message"),
    [
        (None, "undecodable", "value expected JSON, got null (a tombstone)"),
        (b"{nope", "undecodable", "value expected JSON, got '{nope': Expecting property name enc"),
        (b"\xff", "undecodable", r"value expected JSON, got '\xff': 'utf-8' codec can't decode"),
        (
            b'{"shop": "a", "shop": "b"}',
            "undecodable",
            """value expected JSON, got '{"shop": "a", "shop": "b"}': expected each field once, """
            "got 'shop' again",
        ),
        (
            b'{"n": 1e999}',
            "undecodable",
            """value expected JSON, got '{"n": 1e999}': expected a number that a double holds, """
            "got 1e999",
        ),
        (b"[1, 2]", "invalid_value", "value expected a JSON object, got [1, 2]"),
        ({**GOOD, "shop": 7}, "invalid_value", "field shop expected a string, got 7"),
        ({"n": 3, "at": 1}, "invalid_value", "field shop expected a string, got null"),
        ({**GOOD, "shop": "12345"}, "invalid_value", "field shop expected a string of 1 to 4 byte"),
        ({**GOOD, "n": 10}, "invalid_value", "field n expected an integer from 0 to 9, got 10"),
        ({**GOOD, "n": "3"}, "invalid_value", "field n expected an integer from 0 to 9, got '3'"),
        ({"shop": "a", "n": 1}, "invalid_value", "field at expected Unix milliseconds > 0, got nu"),
        ({**GOOD, "at": 1e11 + 0.5}, "invalid_value", "field at expected Unix milliseconds > 0, g"),
    ],
)
def test_a_record_of_json_that_is_none_or_breaks_a_rule_is_named(
    value: Any, reason: str, message: str
) -> None:
    content = json.dumps(value).encode() if isinstance(value, dict) else value
    encoded = json.dumps(GOOD).encode()
    batch = raw_batch([encoded, content, encoded], partition=2)
    batch = RawBatch("stock", 2, batch.offsets, batch.values, batch.detail, batch.times_ms)
    good, (failed,) = parts(decode_records(JOB, STOCK, time="at", rules=JSON_RULES)([batch]))
    assert read(good) == [(2, 0, GOOD), (2, 2, GOOD)]
    assert failed.reason == reason
    assert failed.message.startswith(message)
    assert failed.message.endswith(" (topic 'stock', partition 2, offset 1)")
    assert (failed.value, failed.key) == (content, b"2:1")


@pytest.mark.parametrize("time", [2**63, -(2**63) - 1, "x", None, True, 0.5])
def test_a_time_of_json_that_is_none_is_named_without_a_rule_too(time: Any) -> None:
    batch = batch_of(STOCK, [{"shop": "a", "at": time}, {"shop": "a", "at": -(2**63)}])
    good, (failed,) = parts(decode_records(JOB, STOCK, time="at")([batch]))
    assert failed.message.startswith("field at expected Unix milliseconds, got ")
    assert [int(part.batch.times_ms[row]) for part in good for row in part.rows] == [-(2**63)]


def test_json_without_a_key_field_may_be_any_value() -> None:
    topic = Topic("any", format="json")
    records = [1, "ü", None, [True, {"a": 2.5}], {"b": 10**30}]
    batch = batch_of(topic, records, keys=[b"%d" % n for n in range(5)])
    good, failed = parts(decode_records(JOB, topic)([batch]))
    assert failed == []
    assert [record for _, _, record in read(good)] == records
    assert {int(t) for part in good for t in part.batch.times_ms} == {NO_TIMESTAMP_MS}


def test_what_logic_does_to_a_record_of_json_stays_with_it() -> None:
    (part,), _ = parts(decode_records(JOB, STOCK)([batch_of(STOCK, [GOOD])]))
    part.batch.record(0)["n"] = 99
    assert part.batch.record(0) == GOOD


def test_bytes_are_taken_as_they_are_by_their_own_keys() -> None:
    values = [b"", b"\0\xff", None, b"x" * 9]
    batch = raw_batch(values, partition=1)
    batch = RawBatch("images", 1, batch.offsets, batch.values, batch.detail, batch.times_ms)
    good, (failed,) = parts(decode_records(JOB, IMAGES)([batch]))
    assert read(good) == [(1, 0, b""), (1, 1, b"\0\xff"), (1, 3, b"x" * 9)]
    assert sorted(key for part in good for key in keys(part)) == [b"1:0", b"1:1", b"1:3"]
    for part in good:
        value = part.batch.columns["value"]
        assert isinstance(value, Bytes)
        assert [value.bytes_at(row) for row in part.rows] == [record for _, record in part]
        assert part.batch.times_ms.tolist() == [START_MS, START_MS + 1, START_MS + 3]
    assert failed.reason == "undecodable"
    assert failed.message.startswith("value expected bytes, got null (a tombstone) (topic 'images'")


@pytest.mark.parametrize("given", [{"key": "a"}, {"time": "a"}, {"rules": (Between("a", 0, 1),)}])
def test_bytes_have_no_fields(given: dict[str, Any]) -> None:
    told = "topic 'images' expected no fields of its values, which are bytes, got 'a'"
    with pytest.raises(StartError, match=told):
        decode_records(JOB, IMAGES, **given)


@pytest.mark.parametrize("kind", ["avro", "json", "bytes"])
def test_between_processes_a_shard_takes_its_own_rows_only(sales: Topic, kind: str) -> None:
    topics = {"avro": sales, "json": STOCK, "bytes": IMAGES}
    topic = topics[kind]
    records: list[Any] = [
        sale(shop=f"s{n % 10}", cents=None if n % 3 else n, lines=[n] * (n % 4), blob="\x00")
        for n in range(200)
    ]
    if kind == "bytes":
        records = [b"%d" % n * 9 for n in range(200)]
    records[11] = None if kind == "bytes" else b"\xff"
    if kind == "bytes":
        batch = raw_batch(records, partition=1)
        batches = [RawBatch("images", 1, batch.offsets, records, batch.detail, batch.times_ms)]
    else:
        batches = [batch_of(topic, records[:90], 4, 100), batch_of(topic, records[90:], 1)]
    good, _ = parts(decode_records(JOB, topic)(batches))
    assert len(good) > 2
    for part in good:
        content = pickle.dumps(part)
        copy: ShardRecords = pickle.loads(content)
        assert len(content) < 500 * len(part.rows)
        assert copy.shard == part.shard
        assert copy.rows.tolist() == list(range(len(part.rows)))
        assert len(copy.batch) == len(part.rows) == sum(map(len, copy.batch.origins.batches))
        assert [record for _, record in copy] == [record for _, record in part]
        assert keys(copy) == keys(part)
        assert copy.batch.places(copy.rows).tolist() == part.batch.places(part.rows).tolist()
        assert copy.batch.times_ms.tolist() == part.batch.times_ms[part.rows].tolist()
        for row, own in zip(part.rows.tolist(), copy.rows.tolist(), strict=True):
            there = copy.batch.fail(own, Reason.TOO_LATE, "m")
            assert there == part.batch.fail(row, Reason.TOO_LATE, "m")


def strange_clicks(rng: random.Random, n: int) -> list[bytes | None]:
    """Clicks of which many break a rule, some two."""
    wrong: list[Callable[[], dict[str, Any]]] = [
        lambda: {"user_id": rng.choice(["", "x" * 257, "ü" * 129])},
        lambda: {"item_id": rng.choice(["", "y" * 300])},
        lambda: {"timestamp": rng.choice([0, -5, 10**8, 10**11 - 1, START_MS * 1_000, 2**62])},
        lambda: {"timestamp": START_MS + rng.choice([299_000, 301_000, 400_000])},
        lambda: {"price_cents": rng.choice([-1, -2, 10**12 + 1, 10**12, 0])},
    ]
    values: list[bytes | None] = []
    for _ in range(n):
        fields: dict[str, Any] = {"user_id": f"u{rng.randrange(50)}", "session_id": "s"}
        for make in rng.sample(wrong, rng.choice([0, 0, 1, 1, 2])):
            fields |= make()
        values.append(rng.choice([b"", None]) if rng.random() < 0.05 else click(**fields))
    return values


@pytest.mark.parametrize("seed", range(5))
def test_clicks_by_their_rules_are_those_of_their_kernel(seed: int) -> None:
    """One place says what a valid click is: the rules as data, checked in general, and the kernel
    agree on every click, in its message too."""
    values = strange_clicks(random.Random(seed), 600)
    unknown = [NO_TIMESTAMP_MS] * 350  # so that the end of time is seen too
    batches = [raw_batch(values[:250], 3), raw_batch(values[250:], 5, times_ms=unknown)]
    clicks = decode_clicks(JOB)(batches)
    good, failed = parts(decode_records(JOB, CLICKS, rules=RULES)(batches))

    kernel_failed = [item for item in clicks if isinstance(item, Failed)]
    assert [f.offset for f in failed] == [f.offset for f in kernel_failed], f"seed {seed}"
    assert len({f.message.split(", got")[0] for f in failed}) > len(BROKEN)
    for mine, kernels in zip(failed, kernel_failed, strict=True):
        if mine != kernels:  # of a click that breaks two, the kernel looks at the price earlier
            assert "price_cents" in kernels.message and "timestamp" in mine.message
    by_shard = [item for item in clicks if isinstance(item, ShardClicks)]
    assert [part.shard for part in good] == [part.shard for part in by_shard]
    for part, other in zip(good, by_shard, strict=True):
        assert part.rows.tolist() == other.rows.tolist()
        copy: ShardClicks = pickle.loads(pickle.dumps(other))
        expected = [record for _, record in part]
        assert [other.batch.record(row) for row in other.rows.tolist()] == expected
        assert [copy.batch.record(row) for row in copy.rows.tolist()] == expected
        assert keys(part) == [other.batch.keys.bytes_at(row) for row in other.rows.tolist()]
        for name in ("times_ms", "partitions", "offsets"):
            mine_of = getattr(part.batch, name)[part.rows].tolist()
            assert mine_of == getattr(other.batch, name)[other.rows].tolist()
            assert mine_of == getattr(copy.batch, name).tolist()


def test_no_detail_is_fetched_where_the_key_is_a_field(sales: Topic) -> None:
    def refuse(index: int) -> Detail:
        raise AssertionError("a call a message on Kafka")

    batch = batch_of(sales, [sale()])
    decode = decode_records(JOB, sales, rules=RULES_OF_SALES[:2])
    decode([batch])  # a schema id that is new has headers looked at
    batch = RawBatch("sales", 0, batch.offsets, batch.values, refuse, batch.times_ms)
    good, failed = parts(decode([batch]))
    assert (len(good), failed) == (1, [])
