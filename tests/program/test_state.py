"""`state show` and `state export` on the files of a shard, as a dataflow leaves them."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bytewax.dataflow import Dataflow
from typer.testing import CliRunner

from streamrec import (
    ByKey,
    InEventTime,
    Output,
    PaperJob,
    TimedRecord,
    Topic,
    batch_of,
    decode_records,
    load_settings,
    strings,
)
from streamrec.connectors.ticks.tick import LaneTick
from streamrec.dataflows.job.kept import Keep
from streamrec.dataflows.job.packed import pack, unpack
from streamrec.dataflows.steps.shards import shard_name
from streamrec.models.keyed.table import KeyedTable
from streamrec.program import app
from streamrec.schemas.hashing import hash128
from tests.connectors.test_leases import held_by_another
from tests.dataflows.click_batches import START_MS, click
from tests.dataflows.test_recovery import decoding, shards, take


@pytest.fixture
def recovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recovery directory with two users, one of whom changed after the first snapshot."""
    monkeypatch.delenv("STREAMREC_STATE_DIR", raising=False)
    decode = decoding()
    shard = shards(tmp_path / "state")(None)
    take(shard, decode, click(user_id="u1"), click(user_id="u2"))
    shard.snapshot()
    take(shard, decode, click(user_id="u2", timestamp=START_MS + 1_000))
    shard.snapshot()
    return tmp_path


def test_user_is_shown_as_of_the_last_snapshot(recovery: Path) -> None:
    result = CliRunner().invoke(app, ["state", "show", "u2", "-r", str(recovery)])

    assert result.exit_code == 0, result.output
    shown = json.loads(result.output)
    assert shown["shard"] == shard_name(0)
    assert shown["session_clicks"] == 2
    assert shown["newest_ms"] == "2026-01-01T00:00:01+00:00"


def test_user_that_is_not_saved_is_named(recovery: Path) -> None:
    result = CliRunner().invoke(app, ["state", "show", "nobody", "-r", str(recovery)])

    assert result.exit_code == 1
    assert "expected a user that is saved, got 'nobody'" in result.output


def test_every_user_is_exported_once(recovery: Path, tmp_path: Path) -> None:
    out = tmp_path / "users.parquet"

    result = CliRunner().invoke(app, ["state", "export", str(out), "-r", str(recovery)])

    assert result.exit_code == 0, result.output
    table = pq.read_table(out)
    clicks = zip(table["user_id"].to_pylist(), table["session_clicks"].to_pylist(), strict=True)
    assert sorted(clicks) == [(b"u1", 1), (b"u2", 2)]


def test_damaged_file_is_named_and_not_shown(recovery: Path) -> None:
    [base] = (recovery / "state" / "user-features" / shard_name(0)).glob("*base*.arrow")
    base.write_bytes(base.read_bytes()[:-1])

    result = CliRunner().invoke(app, ["state", "show", "u1", "-r", str(recovery)])

    assert result.exit_code == 1
    assert base.name in result.output
    assert "torn or altered" in result.output


def test_reset_puts_all_that_is_saved_aside(recovery: Path) -> None:
    (recovery / "part-0.sqlite3").write_bytes(b"")

    result = CliRunner().invoke(app, ["state", "reset", "-r", str(recovery)])

    assert result.exit_code == 0, result.output
    [aside] = recovery.glob("replaced-*")
    assert str(aside) in result.output
    assert {path.name for path in aside.iterdir()} == {"part-0.sqlite3", "state"}
    assert not (recovery / "state").exists()
    again = CliRunner().invoke(app, ["state", "reset", "-r", str(recovery)])
    assert again.exit_code == 1
    assert "expected saved state in" in again.output


def test_reset_is_refused_while_a_dataflow_runs_there(
    recovery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMREC_LEASE_S", "1")
    with held_by_another(recovery / "leases", 0, 1.0):
        result = CliRunner().invoke(app, ["state", "reset", "-r", str(recovery)])

    assert result.exit_code == 1
    assert f"recovery directory {recovery} is in use by host" in result.output
    assert (recovery / "state").exists()


class Counts(ByKey):
    def update(self, items: list[Any]) -> list[Any]:
        for item in items:
            self.put(item.key, {"count": item.number}, item.time_ms)
        return []


class Counted(NamedTuple):
    shard: str
    key: str
    number: int
    time_ms: int


class Remind(InEventTime):
    def on_record(self, record: TimedRecord) -> Iterator[Output]:
        self.values.put(record.key, {"seen": self.values.get(record.key, {"seen": 0})["seen"] + 1})
        self.call(record, record.time_ms + 3_600_000, "remind")
        return iter(())


class Prices:
    """A step with state of its own: one row a key, in arrays."""

    def __init__(self) -> None:
        self.table = KeyedTable({"cents": np.dtype(np.float32)})

    def update(self, items: list[Counted]) -> list[Any]:
        for item in items:
            keys = hash128(strings([item.key]))
            cents = {"cents": np.array([item.number / 2], np.float32)}
            self.table.put(keys, cents, np.array([item.time_ms]))
        return []

    def changed(self, whole: bool) -> tuple[pa.Table, dict[str, Any]]:
        return pack({"prices": self.table.changed(whole)}), {}

    def restore(self, tables: Sequence[pa.Table], facts: dict[str, Any]) -> None:
        self.table.restore(unpack(tables, "prices"))


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recovery directory of a dataflow with one step, whose values are by key."""
    monkeypatch.delenv("STREAMREC_STATE_DIR", raising=False)
    count(tmp_path)
    return tmp_path


def count(recovery: Path) -> None:
    for number, first in enumerate(("u1", "u2")):
        name = shard_name(number)
        shard = Keep(Counts, recovery / "state")("count carts", None)
        shard.on_batch([Counted(name, first, 1, START_MS), Counted(name, f"{first}x", 5, START_MS)])
        shard.snapshot()
        shard.on_batch([Counted(name, first, 2, START_MS + 1_000)])
        assert isinstance(shard.logic, Counts)
        shard.logic.remove(f"{first}x")
        shard.snapshot()


def remind(recovery: Path) -> None:
    """Three users of one topic: one is called and waits for its timer, one came too late for the
    last tick."""
    topic = Topic("baskets", format="json", key_field="user_id")
    job = PaperJob("reminders", settings=load_settings(lanes=1, shards=1))
    job.read(Dataflow("reminders"), topic, timed=True)
    decode = decode_records(job, topic, time="at")
    shard = Keep(lambda: Remind(job, late_ms=0), recovery / "state")("remind", None)
    baskets = [{"user_id": u, "at": START_MS + at} for u, at in (("u1", 0), ("u1", 5), ("u2", 9))]
    ticks = [LaneTick("baskets", 0, 1, START_MS), LaneTick("baskets", 0, 2, START_MS)]
    shard.on_batch(decode([batch_of(topic, baskets), *ticks]))
    shard.snapshot()
    shard.on_batch(decode([batch_of(topic, [{"user_id": "u3", "at": START_MS}], first_offset=3)]))
    shard.snapshot()


def invoke(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["state", *arguments])
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return result.output


def test_values_by_key_are_shown_and_exported(counted: Path, tmp_path: Path) -> None:
    shown = json.loads(invoke("show", "u2", "-r", str(counted)))
    assert shown == {
        "shard": shard_name(1),
        "key": "u2",
        "value": {"count": 2},
        "time_ms": "2026-01-01T00:00:01+00:00",
    }
    out = tmp_path / "counts.parquet"
    assert invoke("export", str(out), "-r", str(counted)) == f"{out}: 2 rows of 2 shards\n"
    rows = pq.read_table(out).to_pylist()
    assert [(row["shard"], row["key"], row["value"]) for row in rows] == [
        (shard_name(0), "u1", '{"count": 2}'),
        (shard_name(1), "u2", '{"count": 2}'),
    ]


def test_a_key_that_was_removed_is_not_shown(counted: Path) -> None:
    told = invoke("show", "u1x", "-r", str(counted), status=1)
    assert told.endswith("step 'count-carts': expected a key that is saved, got 'u1x'\n")


def test_what_waits_and_the_timers_of_a_key_are_shown_with_its_values(counted: Path) -> None:
    remind(counted)
    shown = json.loads(invoke("show", "u1", "-r", str(counted), "--step", "remind"))
    assert (shown["shard"], shown["values"]) == (shard_name(0), {"seen": 2})
    first, second = shown["rows"]
    assert first | {"id": 0} == {
        "id": 0,
        "due_ms": "2026-01-01T01:00:00+00:00",
        "what": "timer",
        "topic": "baskets",
        "partition": 0,
        "offset": 0,
        "time_ms": "2026-01-01T00:00:00+00:00",
        "log_ms": -1,
        "at_ms": "2026-01-01T01:00:00+00:00",
        "after": -1,
        "shard_key": "u1",
        "key": "u1",
        "value": json.dumps({"user_id": "u1", "at": START_MS}),
        "headers": "",
        "name": "remind",
    }
    assert (second["offset"], second["what"]) == (1, "timer")
    (waits,) = json.loads(invoke("show", "u2", "-r", str(counted), "--step", "remind"))["rows"]
    assert waits["what"] == "waits"
    late = json.loads(invoke("show", "u3", "-r", str(counted), "--step", "remind"))
    assert [(row["what"], row["after"], row["due_ms"]) for row in late["rows"]] == [
        ("arrived", 2, None)
    ]
    assert "values" not in late


def test_a_step_with_parts_is_exported_to_a_folder(counted: Path, tmp_path: Path) -> None:
    remind(counted)
    out = tmp_path / "out"
    told = invoke("export", str(out), "-r", str(counted), "--step", "remind")
    rows, values = out / "rows.parquet", out / "values.parquet"
    assert told == f"{rows}: 4 rows of 1 shards\n{values}: 1 rows of 1 shards\n"
    held = pq.read_table(rows)
    assert sorted(held["offset"].to_pylist()) == [0, 1, 2, 3]
    assert pq.read_table(values).to_pylist() == [
        {"shard": shard_name(0), "key": "u1", "value": '{"seen": 2}'}
    ]
    for arguments in (
        [str(rows), "--step", "remind"],  # a file
        [str(tmp_path / "new.parquet"), "--step", "remind"],
    ):
        told = invoke("export", *arguments, "-r", str(counted), status=1)
        assert "expected a folder for its parts rows, values, got the file" in told
    told = invoke("export", str(out), "-r", str(counted), "--step", "count carts", status=1)
    assert f"step 'count-carts': expected a file to write, got the folder {out}" in told


def test_numbers_of_a_table_are_shown_by_their_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STREAMREC_STATE_DIR", raising=False)
    shard = Keep(Prices, tmp_path / "state")("prices", None)
    for count_of in (3, 5):
        shard.on_batch([Counted(shard_name(0), "i1", count_of, START_MS + count_of)])
        shard.snapshot()
    shown = json.loads(invoke("show", "i1", "-r", str(tmp_path)))
    assert [row["cents"] for row in shown["prices"]] == [2.5]
    told = invoke("show", "i2", "-r", str(tmp_path), status=1)
    assert "step 'prices': expected a key that is saved, got 'i2'" in told


def test_of_several_steps_one_must_be_named(counted: Path) -> None:
    remind(counted)
    told = invoke("show", "u1", "-r", str(counted), status=1)
    assert "expected --step with one of count-carts, remind, got none" in told
    told = invoke("show", "u1", "-r", str(counted), "--step", "reminders", status=1)
    assert "--step expected one of count-carts, remind, got 'reminders'" in told
    told = invoke("export", "x.parquet", "-r", str(counted), status=1)
    assert "expected --step with one of" in told
    assert json.loads(invoke("show", "u1", "-r", str(counted), "--step", "count carts"))["value"]


def test_state_without_keys_that_are_known_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Strange(Prices):
        def changed(self, whole: bool) -> tuple[pa.Table, dict[str, Any]]:
            return pa.table({"a": [1], "b": [2]}), {}

    monkeypatch.delenv("STREAMREC_STATE_DIR", raising=False)
    told = invoke("show", "u1", "-r", str(tmp_path), status=1)
    assert f"expected saved state in {tmp_path / 'state'}, got none yet" in told
    shard = Keep(Strange, tmp_path / "state")("strange", None)
    shard.on_batch([Counted(shard_name(0), "i1", 1, START_MS)])
    shard.snapshot()
    told = invoke("show", "u1", "-r", str(tmp_path), status=1)
    assert "step 'strange': expected users, rows, or a column key, got a, b" in told
