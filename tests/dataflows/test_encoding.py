"""The steps that encode: records land on the right partition, in order, and bad ones fall out."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace

import fastavro
import numpy as np
import pytest

from streamrec.connectors.log import NO_TIMESTAMP_MS
from streamrec.connectors.out import Out, Sources, by_partition
from streamrec.connectors.partitioner import partition_for_key
from streamrec.dataflows.errors.encode import EncodeErrors
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.encoding import Encode, EncodeOptions, Records
from streamrec.dataflows.steps.batches import ShardClicks
from streamrec.dataflows.steps.encode import recommendation_columns, session_columns
from streamrec.dataflows.steps.recommend import Learned, Recommended
from streamrec.models.contract import ModelInfo, Ranking
from streamrec.schemas import load
from streamrec.schemas.columns import Bytes, join_bytes, strings
from streamrec.schemas.wire import WireDecoder, WireEncoder
from tests.dataflows.click_batches import START_MS, click, make_decode, raw_batch

INFO = ModelInfo("m", "v1", ("knn", "popular"), (), ())
PARTITIONS, LANES = 5, 2


def encode_recommendations(max_bytes: int = 1_000_000) -> Encode:
    encoder = WireEncoder(load("recommendations"), 3)
    options = EncodeOptions("user_id", max_bytes, reads_back=True, keeps_failed=True)
    return Encode(recommendation_columns, lambda: encoder, lambda: PARTITIONS, options)


def recommended(users: list[str], items: list[list[bytes]]) -> list[Recommended]:
    """Recommendations of `items` for one click of each user, as their shards answer them."""
    values = [click(user_id=user, timestamp=START_MS + n) for n, user in enumerate(users)]
    found = []
    for part in make_decode(shards=3)([raw_batch(values, partition=9)]):
        assert isinstance(part, ShardClicks)
        mine = [items[row] for row in part.rows.tolist()]
        bounds = np.cumsum([0, *map(len, mine)])
        ranks = np.concatenate([np.arange(len(each), dtype=np.float32) for each in mine])
        ids = strings([item for each in mine for item in each])
        ranking = Ranking(ids, bounds, -ranks, np.full(len(ranks), 3, np.int32))
        found.append(Recommended(part.shard, part.clicks, part.rows, ranking, INFO))
    return found


def records(outs: list[Out], schema_name: str) -> list[dict[str, object]]:
    schema = fastavro.parse_schema(json.loads(load(schema_name)))
    found = []
    for out in outs:
        for value in out.values:
            record = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)
            assert isinstance(record, dict)
            found.append(record)
    return found


def parts(emitted: list[Out | Failed]) -> tuple[list[Out], list[Failed]]:
    outs = [item for item in emitted if isinstance(item, Out)]
    return outs, [item for item in emitted if isinstance(item, Failed)]


def test_shards_of_a_batch_are_joined_and_each_click_has_one_record() -> None:
    users = [f"u{n % 7}" for n in range(30)]
    items = [[b"a%d" % n] * (n % 4) for n in range(30)]

    outs, failed = parts(encode_recommendations()(recommended(users, items)))

    assert failed == []
    assert len({out.partition for out in outs}) == len(outs)
    seen = {}
    for out in outs:
        assert out.sources is not None
        for key, source, record in zip(
            out.keys, out.sources.places.tolist(), records([out], "recommendations"), strict=True
        ):
            assert source == [9, record["source_offset"]]
            assert key == str(record["user_id"]).encode()
            assert out.partition == partition_for_key(key, PARTITIONS)
            seen[source[1]] = record
    assert sorted(seen) == list(range(30))
    for n, record in seen.items():
        assert record["user_id"] == users[n]
        assert record["items"] == [
            {"item_id": f"a{n}", "score": -float(rank), "methods": 3} for rank in range(n % 4)
        ]
        assert (record["model_name"], record["method_names"]) == ("m", "knn,popular")


def test_record_that_cannot_be_encoded_falls_out_and_its_neighbours_stay() -> None:
    items = [[b"fine"], [b"\xff\xfe"], [b"x" * 2_000], [b"fine"]]

    outs, failed = parts(encode_recommendations(1_000)(recommended(["u1"] * 4, items)))

    assert [record["source_offset"] for record in records(outs, "recommendations")] == [0, 3]
    found = [out.sources.places.tolist() for out in outs if out.sources is not None]
    assert found == [[[9, 0], [9, 3]]]
    assert [(f.offset, f.reason) for f in failed] == [
        (1, "output_unencodable"),
        (2, "output_too_large"),
    ]
    assert failed[0].value == click(user_id="u1", timestamp=START_MS + 1)
    assert "record expected at most 1000 bytes, got 2" in failed[1].message


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (
            lambda r: replace(r, rows=np.zeros_like(r.rows)),
            "a topic with `answers` expected one record for an input, a kind and a number, got 3 "
            "for partition 9, offset 0",
        ),
        (lambda r: replace(r, inputs=None), "expected the inputs that they answer, got none"),
        (lambda r: replace(r, rows=r.rows[:1]), "rows expected 3, one for each record, got 1"),
    ],
)
def test_records_that_could_not_be_read_back_are_refused(
    broken: Callable[[Records], Records], told: str
) -> None:
    step = encode_recommendations()
    step._columns_of = lambda batch: map(broken, recommendation_columns(batch))
    with pytest.raises(ValueError, match=re.escape(told)):
        step(recommended(["u1"] * 3, [[b"a"]] * 3))


def places(n: int) -> Sources:
    return Sources(np.zeros((n, 2), np.int64), "clicks")


def test_order_is_kept_in_each_partition() -> None:
    targets = np.array([2, 0, 2, 2, 0], np.int32)
    keys: list[bytes | None] = [b"a", b"b", b"c", b"d", None]
    outs = by_partition(targets, keys, [b"0", b"1", b"2", b"3", b"4"], places(5))
    assert [(out.partition, out.keys, out.values) for out in outs] == [
        (0, [b"b", None], [b"1", b"4"]),
        (2, [b"a", b"c", b"d"], [b"0", b"2", b"3"]),
    ]
    assert by_partition(np.zeros(0, np.int32), [], [], places(0)) == []


def test_columns_over_one_buffer_share_it_and_others_are_joined() -> None:
    whole = strings([b"ab", b"c", b"def"])
    first, last = (
        Bytes(whole.data, whole.starts[rows], whole.lengths[rows])
        for rows in (slice(0, 1), slice(2, 3))
    )
    shared = join_bytes([last, first])
    assert shared.data is whole.data
    assert [shared.bytes_at(row) for row in range(2)] == [b"def", b"ab"]
    joined = join_bytes([last, strings([b"", b"x"])])
    assert [joined.bytes_at(row) for row in range(3)] == [b"def", b"", b"x"]


def test_sessions_of_several_shards_are_one_record_of_the_writer() -> None:
    encoder = WireEncoder(load("sessions"), 4)
    options = EncodeOptions("writer", 1_000_000, reads_back=False, keeps_failed=False)
    step = Encode(session_columns, lambda: encoder, lambda: PARTITIONS, options)
    learned = [
        Learned("a", "run-1", np.array([7, 8]), np.array([1, 2]), strings([b"i1", b"i2"])),
        Learned("b", "run-1", np.array([9]), np.array([3]), strings([b"i3"])),
    ]
    (out,) = step(learned)
    assert isinstance(out, Out)
    assert (out.partition, out.keys) == (partition_for_key(b"run-1", PARTITIONS), [b"run-1"])
    assert records([out], "sessions") == [
        {
            "writer": "run-1",
            "session_keys": [7, 8, 9],
            "timestamps": [1, 2, 3],
            "item_ids": ["i1", "i2", "i3"],
        }
    ]


def failure(offset: int, key: bytes | None, **fields: object) -> Failed:
    given = {
        "stage": "decode",
        "reason": "undecodable",
        "exception": "E",
        "message": "m",
        "topic": "clicks",
        "partition": 1,
        "offset": offset,
        "key": key,
        "value": b"v",
        "headers": [],
        "timestamp_ms": 5,
        **fields,
    }
    return Failed(**given)  # type: ignore[arg-type]  # the fields above, one by one


LARGEST_ERROR = 20_000


def encode_errors() -> EncodeErrors:
    encoder = WireEncoder(load("errors"), 2)
    return EncodeErrors(
        lambda: encoder, lambda: PARTITIONS, lambda: LARGEST_ERROR, "flow", lambda: 1_000.5
    )


def test_original_too_large_for_the_topic_is_left_out_and_its_neighbours_are_whole() -> None:
    large = failure(1, b"k", value=b"v" * LARGEST_ERROR, headers=[("h", b"x" * 100)])
    encoded = encode_errors()([failure(0, b"k"), large])
    values = [value for out in encoded for value in out.values]
    assert sum(len(out.values) for out in encoded) == 2
    assert all(len(value) < LARGEST_ERROR for value in values)
    decoder = WireDecoder(load("errors"), {2: load("errors")}.__getitem__)
    columns = decoder.decode(list(values)).columns
    kept, message = columns["value"], columns["message"]
    assert isinstance(kept, Bytes) and isinstance(message, Bytes)
    assert kept.valid is not None and sorted(kept.valid.tolist()) == [False, True]
    left_out = kept.valid.tolist().index(False)
    expected = f"at most {LARGEST_ERROR} bytes, got {LARGEST_ERROR} of value, 1 of key"
    assert expected in message.bytes_at(left_out).decode()


def test_errors_go_by_key_and_those_without_one_are_spread() -> None:
    failures = [failure(n, b"k%d" % n if n % 2 else None) for n in range(20)]

    outs = encode_errors()(failures)

    placed = {}
    for out in outs:
        assert out.sources is not None and out.headers is not None
        for source, key in zip(out.sources.places.tolist(), out.keys, strict=True):
            placed[source[1]] = out.partition
            assert source[0] == 1
            if key is not None:
                assert out.partition == partition_for_key(key, PARTITIONS)
    assert sorted(placed) == list(range(20))
    assert {placed[n] for n in range(0, 20, 2)} == set(range(PARTITIONS))


def test_error_holds_nulls_as_nulls_and_counts_by_reason() -> None:
    step = encode_errors()
    odd = failure(
        0,
        None,
        value=None,
        timestamp_ms=NO_TIMESTAMP_MS,
        headers=[("h", None), ("", b"\xff")],
        stacktrace="trace \udcff",
        message="lone \ud800",
    )

    (out,) = step([odd])

    (record,) = records([out], "errors")
    assert record["key"] is record["value"] is record["timestamp"] is None
    assert record["headers"] == [{"name": "h", "value": None}, {"name": "", "value": b"\xff"}]
    assert (record["message"], record["stacktrace"]) == ("lone \\ud800", "trace \\udcff")
    assert record["failed_at"].timestamp() == 1_000.5  # type: ignore[attr-defined]  # a datetime
    assert out.headers is not None
    assert ("__streams.errors.message", b"lone \\ud800") in out.headers[0]
