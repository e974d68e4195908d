"""Topics without a schema, on paper: what is read of them, and what is written to them."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main

from streamrec import (
    ERRORS,
    Between,
    ByKey,
    PaperJob,
    Records,
    ShardRecords,
    Topic,
    batch_of,
    by_shard,
    decode_records,
    each_batch,
    strings,
)
from streamrec.connectors.out import Out
from streamrec.connectors.partitioner import partition_for_key
from streamrec.dataflows.job.encoding import UnencodableError
from streamrec.schemas.json_codec import MisfitError

STOCK = Topic("stock", format="json", key_field="shop")
LEFT = Topic("left", format="json")
IMAGES = Topic("images", format="bytes")
SIZES = Topic("sizes", format="bytes", key_field="name")


class Count(ByKey):
    """How many came for each shop."""

    def update(self, batches: list[ShardRecords]) -> list[Any]:
        out: list[Any] = []
        for part in batches:
            for row, stock in part:
                shop, at_ms = stock["shop"], stock["at"]
                count = self.get(shop, at_ms, 0) + stock["n"]
                self.put(shop, count, at_ms)
                out.append((part.batch, row, shop, {"shop": shop, "count": count}))
        return out


def left_columns(items: list[Any]) -> Iterator[Records]:
    for batch, row, shop, value in items:
        text = value if isinstance(value, bytes) else json.dumps(value)
        columns = {"key": strings([shop]), "value": strings([text])}
        yield Records({**columns}, batch, np.array([row]))


def run(flow: Dataflow) -> None:
    run_main(flow)  # type: ignore[no-untyped-call]  # bytewax leaves it so


def counting(job: PaperJob, columns_of: Any = left_columns, failing: str | None = "bad") -> None:
    flow = Dataflow("counting")
    rules = (Between("n", 0, 9),)
    decode = decode_records(job, STOCK, time="at", rules=rules)
    read = each_batch("decode", job.read(flow, STOCK), decode, failing="broken")
    counted = by_shard("count", read.good, job.keep(Count), failing="late")
    unencodable = job.write(counted.good, LEFT, columns_of, failing=failing)
    job.write_errors(read.failed, counted.failed, unencodable)
    run(flow)


def stock(shop: str, n: Any, at: int = 1_000) -> dict[str, Any]:
    return {"shop": shop, "n": n, "at": at}


def test_json_is_counted_and_written_and_what_is_broken_is_an_error() -> None:
    records = [stock("a", 1), stock("b", 2), b"{", stock("a", 10), stock("a", 3)]
    job = PaperJob("counting", {"stock": [batch_of(STOCK, records, partition=2)]})
    counting(job)
    found = sorted((each["shop"], each["count"]) for each in job.records(LEFT))
    assert found == [("a", 1), ("a", 4), ("b", 2)]
    outs: list[Out] = [out for _, out in job.written["left"]]
    keys = {(out.partition, key) for out in outs for key in out.keys}
    assert keys == {(partition_for_key(key, 8), key) for key in (b"a", b"b")}
    errors = {each["offset"]: each for each in job.records(ERRORS)}
    assert {offset: each["reason"] for offset, each in errors.items()} == {
        2: "undecodable",
        3: "invalid_value",
    }
    assert errors[2]["value"] == b"{"
    assert errors[3]["key"] == b"a"
    assert errors[3]["message"] == (
        "step 'decode': field n expected an integer from 0 to 9, got 10 "
        "(topic 'stock', partition 2, offset 3)"
    )


def broken_columns(items: list[Any]) -> Iterator[Records]:
    """What is written of the second is no JSON."""
    for batch, row, shop, value in items:
        yield from left_columns([(batch, row, shop, b'{"a": NaN}' if row == 1 else value)])


def test_what_is_no_json_is_not_written_and_named_by_its_input() -> None:
    batch = batch_of(STOCK, [stock("a", 1), stock("a", 1), stock("a", 1)])
    job = PaperJob("counting", {"stock": [batch]})
    counting(job, broken_columns)
    assert [each["count"] for each in job.records(LEFT)] == [1, 3]
    (error,) = job.records(ERRORS)
    assert (error["offset"], error["reason"]) == (1, "output_unencodable")
    assert error["message"].startswith(
        """step 'encode left': field value expected JSON, got '{"a": NaN}': expected a number, """
    )


def test_without_failing_what_is_no_json_stops_the_flow() -> None:
    batch = batch_of(STOCK, [stock("a", 1), stock("a", 1)])
    job = PaperJob("counting", {"stock": [batch]})
    with pytest.raises(Exception) as raised:
        counting(job, broken_columns, failing=None)
    causes, error = [], raised.value
    while error is not None:
        causes.append(type(error))
        error = error.__cause__  # type: ignore[assignment]  # until there is none
    assert UnencodableError in causes


def measuring(job: PaperJob, null: bool = False) -> None:
    def measure(parts: list[ShardRecords]) -> Iterator[Any]:
        for part in parts:
            for row, image in part:
                yield part.batch.keys.bytes_at(row), len(image)

    def columns_of(items: list[Any]) -> Iterator[Records]:
        names = strings([name for name, _ in items])
        sizes = strings([None if null else b"%d" % size for _, size in items])
        yield Records({"name": names, "value": sizes})

    flow = Dataflow("measuring")
    decoded = each_batch("decode", job.read(flow, IMAGES), decode_records(job, IMAGES), failing="b")
    measured = each_batch("measure", decoded.good, measure, failing="failed")
    job.write(measured.good, SIZES, columns_of)
    job.write_errors(decoded.failed, measured.failed)
    run(flow)


def test_bytes_are_read_by_their_keys_and_written() -> None:
    images = [b"\0\xff", b"", b"\x89PNG"]
    batch = batch_of(IMAGES, images, keys=[b"one", None, b"two"])
    job = PaperJob("measuring", {"images": [batch]})
    measuring(job)
    assert sorted(job.records(SIZES)) == [b"2", b"4"]
    written = {
        key: value
        for _, out in job.written["sizes"]
        for key, value in zip(out.keys, out.values, strict=True)
    }
    assert written == {b"one": b"2", b"two": b"4"}
    (error,) = job.records(ERRORS)
    assert error["message"] == (
        "step 'decode': key expected bytes, got null (topic 'images', partition 0, offset 1)"
    )


def test_a_value_that_is_null_is_not_written() -> None:
    job = PaperJob("measuring", {"images": [batch_of(IMAGES, [b"x"], keys=[b"k"])]})
    with pytest.raises(Exception) as raised:
        measuring(job, null=True)
    told = []
    error: BaseException | None = raised.value
    while error is not None:
        told.append(str(error))
        error = error.__cause__
    assert any("field value expected bytes, got null" in text for text in told), told


def test_a_record_of_bytes_on_paper_is_bytes() -> None:
    with pytest.raises(MisfitError, match="topic 'images' expected bytes, got "):
        batch_of(IMAGES, [{"a": 1}])
